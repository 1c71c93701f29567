"""The thin trainer: epochs of compiled mini-batches, and what happens between them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.callbacks import Epoch, called
from fastnn.files.modelfile import ModelFileError
from fastnn.kernels.arrays import flat
from fastnn.kernels.epoch import team
from fastnn.kernels.epoch.general import FROM_SPARSE, WITH_EXTRAS, Extras, extras
from fastnn.kernels.epoch.lanes import method
from fastnn.kernels.epoch.members import Members, members_kernel
from fastnn.kernels.epoch.panels import POWER_1, POWER_2, SQUARES_BLOCK, STEP, Method, Run
from fastnn.kernels.equations import activation as activations
from fastnn.kernels.equations import solver as solvers
from fastnn.kernels.forward.sparse import Csr, transposed
from fastnn.kernels.layout import aligned_zeros
from fastnn.network.network import Network
from fastnn.network.samples import Parts, Samples, SumsOverflowError
from fastnn.runtime.compiler import late
from fastnn.runtime.launch import check_n_threads, each_share, launch, pace, sharing, usable_threads
from fastnn.training.checkpoint import Checkpoint, Progress, differing, fingerprint
from fastnn.training.interrupts import held_back
from fastnn.training.stopping import Stopping

Array = NDArray[Any]

# A call of compiled code aims at this many seconds, so that Ctrl-C and progress needn't wait. The first call knows
# no speed and supposes one that any machine reaches.
_SECONDS_PER_CALL = 0.1
_SUPPOSED_OPERATIONS_PER_SECOND = 5e9
_MOST_EPOCHS_A_CALL = 4096
_SECONDS_PER_TRIAL = 0.003
# From the seed of one part's shuffle to the next one's; odd, so that no two of 2**64 parts share one.
_NEXT_PART = 0xD1342543DE82EF95

_INTERRUPTED = "training interrupted in epoch {}: the network keeps the weights of epoch {}."
# What a step of Adam takes of one weight, which isn't little beside a sparse product.
_OPERATIONS_PER_STEP = 40.0


class TrainingDivergedError(ValueError):
    """The loss or the weights stopped being finite; the network keeps its last finite weights."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train: the solver, its rates, the mini-batches. The names are scikit-learn's, except `step_size`, `seed`.

    Parameters
    ----------
    solver : {"sgd", "adam", "adamw"}
    step_size : float
        scikit-learn's ``learning_rate_init``.
    batch_size : int
        Samples of a mini-batch; the last one of an epoch may be shorter. One that holds all rows isn't shuffled.
    shuffle : bool
        A new order for each epoch; otherwise the rows' own.
    seed : int
        Of the shuffle, from 0 to 2**64 - 1.
    momentum, nesterovs_momentum
        For ``solver="sgd"``.
    beta_1, beta_2, epsilon
        For ``solver="adam"``.
    alpha : float
        The L2 penalty is ``alpha / 2 * sum W**2``, divided by the batch's samples.
    weight_decay : float
        For ``solver="adamw"``: each step first takes ``step_size * weight_decay`` of every weight away (not of biases).
    dropout : float
        The probability that a hidden unit's output is left out of a sample.
    label_smoothing : float
        This share of each target is spread over all classes.
    clip_norm : float, optional
        A batch's gradient is made no longer than this.
    n_threads : int, optional
        The most threads to use; by default all that the process may. The result is the same.
    """

    solver: str = "sgd"
    step_size: float = 0.1
    batch_size: int = 256
    shuffle: bool = True
    seed: int = 0
    momentum: float = 0.0
    nesterovs_momentum: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    alpha: float = 0.0
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        if self.solver not in ("sgd", "adam", "adamw"):
            raise ValueError(f"solver must be 'sgd', 'adam' or 'adamw', got {self.solver!r}.")
        # Plain Python numbers: NumPy's are other types to Numba, and the kernels would be compiled again.
        object.__setattr__(self, "batch_size", _check_whole("batch_size", self.batch_size, 1))
        object.__setattr__(self, "seed", _check_whole("seed", self.seed, 0))
        for name in ("shuffle", "nesterovs_momentum"):
            object.__setattr__(self, name, _check_boolean(name, getattr(self, name)))
        if self.seed >= 2**64:
            raise ValueError(f"seed must be below 2**64, got {self.seed}.")
        positive = {"step_size": self.step_size, "epsilon": self.epsilon}
        if self.clip_norm is not None:
            positive["clip_norm"] = self.clip_norm
        below_one = {name: getattr(self, name) for name in ("beta_1", "beta_2", "dropout", "label_smoothing")}
        _check_range(positive, lambda x: 0 < x < np.inf, "a finite number above 0")
        decays = {"alpha": self.alpha, "weight_decay": self.weight_decay}
        _check_range(decays, lambda x: 0 <= x < np.inf, "a finite number of at least 0")
        _check_range({"momentum": self.momentum}, lambda x: 0 <= x <= 1, "a number from 0 to 1")
        _check_range(below_one, lambda x: 0 <= x < 1, "a number of at least 0 and below 1")
        if self.weight_decay and self.solver != "adamw":
            raise ValueError(f"weight_decay is adamw's, not {self.solver}'s: alpha is the L2 penalty of all solvers.")
        if self.step_size * self.weight_decay >= 1:
            raise ValueError("step_size * weight_decay must be below 1: a step takes that share of each weight away.")
        for name in (*positive, *below_one, *decays, "momentum"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.n_threads is not None:
            check_n_threads(self.n_threads)

    @property
    def kernel(self) -> str:
        """The solver's name in ``kernels.solver``: sgd with momentum is one of its own."""
        if self.solver != "sgd":
            return "adam"
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"


def _check_boolean(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def _check_whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return int(value)


def _check_range(numbers: dict[str, Any], fits: Any, wanted: str) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be {wanted}, got {value!r}.")
        if not fits(value):
            raise ValueError(f"{name} must be {wanted}, got {value}.")


@dataclass(frozen=True)
class History:
    """What `train` returns.

    Attributes
    ----------
    loss_curve : list of float
        The mean loss of each epoch, in nats, each batch's measured before its step.
    """

    loss_curve: list[float] = field(default_factory=list)


class Trainer:
    """Trains one network, over as many calls as one likes: it keeps the solver's state between them.

    Parameters
    ----------
    net : Network
        Changed in place.
    options : TrainOptions
    """

    def __init__(self, net: Network, options: TrainOptions) -> None:
        self.net = net
        self.epochs_done = 0
        self.samples_seen = 0
        self._begin(options)

    def _begin(self, options: TrainOptions) -> None:
        net, o = self.net, options
        self.options = options
        self._state = aligned_zeros(solvers.SLOTS[options.kernel] * net.params.size, net.dtype)
        in_dtype = {name: net.dtype.type(getattr(o, name)) for name in ("epsilon", "beta_1", "beta_2")}
        if in_dtype["epsilon"] == 0 or in_dtype["beta_1"] == 1 or in_dtype["beta_2"] == 1:
            raise ValueError(f"epsilon must be above 0 and the betas below 1 in {net.dtype}, too: got {in_dtype}.")
        # In the order of the entries that kernels.epoch names.
        rates = [o.step_size, o.momentum, o.beta_1, o.beta_2, o.epsilon, o.alpha]
        numbers = [*rates, 1, 1, o.step_size, 0, o.weight_decay]
        # Each member of an ensemble has its own, and its own state, one after the other.
        self._numbers = np.tile(np.array(numbers, np.float64), net.n_members)

    def go_on_with(self, options: TrainOptions) -> None:
        """Take other options for the epochs to come. State and step size last, unless solver or first step changed."""
        earlier, step_size, state = self.options, self.step_size, self._state
        powers = self._each(self._numbers)[:, [POWER_1, POWER_2]]
        self._begin(options)
        if options.step_size == earlier.step_size:
            self.step_size = step_size
        if options.kernel == earlier.kernel:
            self._state = state
            self._each(self._numbers)[:, [POWER_1, POWER_2]] = powers

    def _each(self, numbers: Array) -> Array:
        """A row for each member of an ensemble."""
        return numbers.reshape(self.net.n_members, -1)

    def slots(self) -> list[Array]:
        """The solver's state: vectors that lie as the network's parameters do."""
        by_member = self._state.reshape(self.net.n_members, -1, self.net.layout.n_params)
        return [by_member[:, slot].reshape(-1) for slot in range(by_member.shape[1])]

    def set_slots(self, slots: list[Array]) -> None:
        """Take over what `slots` gave."""
        by_member = self._state.reshape(self.net.n_members, -1, self.net.layout.n_params)
        for slot, vector in enumerate(slots):
            by_member[:, slot] = vector.reshape(self.net.n_members, -1)

    @property
    def step_size(self) -> float:
        """The step size from the next epoch on; a schedule sets it."""
        return float(self._numbers[STEP])  # that of all members

    @step_size.setter
    def step_size(self, value: float) -> None:
        self._each(self._numbers)[:, STEP] = value

    def epochs(
        self,
        samples: Samples | Parts,
        n_epochs: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        one_by_one: bool = False,
    ) -> Generator[Epoch, None, None]:
        """Train for `n_epochs` epochs, or until `stopping` says so; yields each epoch when it is done.

        Who may stop asking before the end should close the generator: until then it holds Ctrl-C back.

        Parameters
        ----------
        samples : Samples or Parts
        n_epochs : int
        stopping : Stopping, optional
        checkpoint : Checkpoint, optional
            Where progress is kept. A training whose progress is there goes on from it, to the same bits: the epochs
            that are done are yielded again, and then the others.
        one_by_one : bool
            Whether the network has each epoch's weights when that is yielded; with a rule it has them anyway.

        Yields
        ------
        Epoch

        Raises
        ------
        TrainingDivergedError
            If the loss or a weight stops being finite. The network keeps its last finite weights.
        KeyboardInterrupt
            Between two calls of compiled code, a tenth of a second after Ctrl-C. The network has the weights of the
            last epoch that was yielded, and the checkpoint is written.
        ModelFileError
            If the checkpoint's file is damaged, or holds the unfinished progress of another training.
        """
        # A rule wants to see the weights of each epoch; without one, short epochs share a call.
        if isinstance(samples, Samples):
            samples = self.net.checked(samples)
        stride = _MOST_EPOCHS_A_CALL if stopping is None and not one_by_one else 1
        journal = None
        if checkpoint is not None:
            stride = min(stride, checkpoint.every)
            journal = _Journal(self, samples, stopping, checkpoint)
            yield from journal.resume(n_epochs)
            if journal.finished or len(journal.epochs) == n_epochs:
                return
        done = 0 if journal is None else len(journal.epochs)
        try:
            # Closed at once, whatever happens: it holds Ctrl-C back.
            with closing(self._run(samples, n_epochs - done, stride, done)) as losses:
                for number, loss in enumerate(chain.from_iterable(losses), done + 1):
                    epoch = Epoch(number, loss) if stopping is None else self._judged(number, loss, stopping)
                    stopped = stopping is not None and stopping.stopped
                    if journal is not None:
                        journal.add(epoch, finished=stopped or number == n_epochs)
                    yield epoch
                    if stopped:
                        return
        except KeyboardInterrupt:
            if journal is not None:
                journal.save()
            raise

    def _run(
        self, samples: Samples | Parts, n_epochs: int, stride: int, counted: int
    ) -> Generator[list[float], None, None]:
        """Yield the losses of the epochs that are done, one after the other; see `_Slices.run`."""
        with held_back() as interrupted:
            if isinstance(samples, Samples):
                yield from _Slices(self, samples, n_epochs).run(interrupted, stride, counted)
            else:
                for _ in range(n_epochs):
                    yield [self._epoch_of_parts(samples, interrupted)]

    def _epoch_of_parts(self, samples: Parts, interrupted: Callable[[], bool]) -> float:
        """Train for one epoch on samples that come in parts; the mean loss."""
        number, seen = self.epochs_done, self.samples_seen
        vectors = (self.net.params, self._state, self._numbers)
        before = [vector.copy() for vector in vectors]
        losses: list[float] = []
        rows: list[int] = []
        try:
            # Closed at once: a thread may be reading what comes next.
            with closing(samples.parts(number)) as parts:
                for part in parts:
                    slices = _Slices(self, part, 1, part=len(rows))
                    losses += chain.from_iterable(slices.run(interrupted, 1, 0))
                    rows.append(len(part.y))
                    # To the shuffle and to the schedule, all parts belong to one epoch.
                    self.epochs_done, self.samples_seen = number, seen
                    if interrupted():
                        raise KeyboardInterrupt
        except BaseException as error:
            for vector, good in zip(vectors, before, strict=True):
                vector[:] = good
            self.epochs_done, self.samples_seen = number, seen
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(_INTERRUPTED.format(number + 1, number)) from None
            raise
        self.epochs_done, self.samples_seen = number + 1, seen + sum(rows)
        return losses[0] if len(losses) == 1 else float(np.average(losses, weights=rows))

    def _judged(self, number: int, loss: float, stopping: Stopping) -> Epoch:
        """An epoch as the rule sees it, which may set the next one's step size, or stop."""
        try:
            verdict = stopping.judge(self.net, loss)
        except SumsOverflowError as error:
            raise TrainingDivergedError(
                f"training diverged in epoch {number}: its weights make sums of held-out samples that overflow. "
                "Standardise X, or lower the step size."
            ) from error
        self.step_size = stopping.schedule.after_epoch(self.step_size, self.samples_seen, self.epochs_done)
        if verdict.plateau:
            lower = stopping.schedule.after_plateau(self.step_size)
            if lower is None:
                stopping.stopped = True
            else:
                self.step_size = lower
        return Epoch(number, loss, verdict.validation_loss, verdict.validation_score)

    def losses(self, samples: Samples, n_epochs: int) -> Iterator[list[float]]:
        """Train as `epochs` does; yields the losses of some epochs, one after the other, when these are done."""
        return self._run(self.net.checked(samples), n_epochs, _MOST_EPOCHS_A_CALL, 0)


class _Journal:
    """A training's progress: taken from its checkpoint where there is one, and written into it now and then."""

    def __init__(
        self, trainer: Trainer, samples: Samples | Parts, stopping: Stopping | None, checkpoint: Checkpoint
    ) -> None:
        self.trainer, self.stopping, self.checkpoint = trainer, stopping, checkpoint
        self.epochs: list[Epoch] = []
        self.finished = False
        self._saved = 0
        self._epochs_before = trainer.epochs_done
        self._identity = {
            # The result doesn't depend on the number of threads.
            "options": {name: value for name, value in asdict(trainer.options).items() if name != "n_threads"},
            "stopping rule": None if stopping is None else stopping.settings(),
            "data": (
                samples.fingerprint()
                if isinstance(samples, Parts)
                else fingerprint(samples.X, samples.y, samples.sample_weight)
            ),
            "held-out data": None if stopping is None else fingerprint(*stopping.watched()),
            "initial weights": fingerprint(trainer.net.params),
        }

    def resume(self, n_epochs: int) -> Iterator[Epoch]:
        """Bring trainer and rule to where the checkpoint is; yields the epochs up to there."""
        progress = self.checkpoint.load(self.trainer.net)
        if progress is None:
            return
        if self.trainer.net.params.tobytes() == progress.vectors.get("params", _NONE).tobytes():
            # The training was interrupted in this process, and the network is where it was then.
            self._identity["initial weights"] = progress.identity.get("initial weights")
        difference = differing(progress.identity, self._identity)
        if difference is None and progress.numbers.get("losses", _NONE).size > n_epochs:
            difference = f"more epochs than the {n_epochs} asked for"
        if difference is not None:
            if not progress.finished:
                self.checkpoint.refuse(difference)
            return  # nobody needs the checkpoint of a training that was finished: it will be replaced
        try:
            self._restore(progress)
        except (KeyError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, ModelFileError):
                raise
            self.checkpoint.refuse(f"parts missing ({error})")
        yield from self.epochs

    def _restore(self, progress: Progress) -> None:
        trainer, stopping, numbers, vectors = self.trainer, self.stopping, progress.numbers, progress.vectors
        curves = [
            [None if np.isnan(value) else value for value in numbers[name].tolist()]
            for name in ("losses", "validation_losses", "validation_scores")
        ]
        epochs = [Epoch(number, *values) for number, values in enumerate(zip(*curves, strict=True), 1)]
        epochs_done, samples_seen = (int(count) for count in numbers["counts"])
        slots = [vectors[f"state.{slot}"] for slot in range(solvers.SLOTS[trainer.options.kernel])]
        if stopping is not None:
            seen = dict(zip(stopping.SEEN, numbers["seen"].tolist(), strict=True))
            stopped = bool(numbers["stopped"][0])
            vars(stopping).update(seen, stopped=stopped, best_params=vectors.get("best"))
            self.finished = stopped
        # Last, since nothing may change before all is known to be there.
        params, trainer._numbers[:] = vectors["params"], numbers["solver"].reshape(trainer._numbers.shape)
        trainer.set_slots(slots)
        trainer.net.params[:] = params
        trainer.epochs_done, trainer.samples_seen = epochs_done, samples_seen
        self.epochs, self._saved = epochs, len(epochs)
        self._epochs_before = epochs_done - len(epochs)

    def add(self, epoch: Epoch, finished: bool) -> None:
        """Note a finished epoch, and write the checkpoint if it is time."""
        self.epochs.append(epoch)
        self.finished = finished
        if finished or epoch.number % self.checkpoint.every == 0:
            self.save()

    def save(self) -> None:
        """Write the checkpoint, unless it says all that there is to say."""
        trainer, stopping = self.trainer, self.stopping
        # An exception may have come between an epoch's end and its note: weights and rule are of different epochs then.
        if self._saved == len(self.epochs) or trainer.epochs_done != self._epochs_before + len(self.epochs):
            return
        vectors = {"params": trainer.net.params}
        vectors |= {f"state.{slot}": vector for slot, vector in enumerate(trainer.slots())}
        numbers = {
            "solver": trainer._numbers,
            "counts": [trainer.epochs_done, trainer.samples_seen],
            "losses": [epoch.loss for epoch in self.epochs],
            "validation_losses": [_or_nan(epoch.validation_loss) for epoch in self.epochs],
            "validation_scores": [_or_nan(epoch.validation_score) for epoch in self.epochs],
        }
        if stopping is not None:
            numbers |= {"seen": [getattr(stopping, name) for name in stopping.SEEN], "stopped": [stopping.stopped]}
            if stopping.best_params is not None:
                vectors["best"] = stopping.best_params
        as_floats = {name: np.array(values, np.float64) for name, values in numbers.items()}
        self.checkpoint.save(trainer.net, Progress(self._identity, vectors, as_floats, self.finished))
        self._saved = len(self.epochs)


_NONE = np.empty(0)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _method_with_extras(net: Network, sparse: bool) -> Method:
    plain_method, sparse_method = _normalised_methods() if net.layout.normalised else (WITH_EXTRAS, FROM_SPARSE)
    return sparse_method if sparse else plain_method


@late
def _normalised_methods() -> tuple[Method, Method]:
    from fastnn.kernels.epoch.normalised import NORMALISED, NORMALISED_FROM_SPARSE

    return NORMALISED, NORMALISED_FROM_SPARSE


class _Slices:
    """The calls of compiled code that make up some epochs, each about `_SECONDS_PER_CALL` long."""

    def __init__(self, trainer: Trainer, samples: Samples, n_epochs: int, part: int = 0) -> None:
        net, options = trainer.net, trainer.options
        self.n_rows = len(samples.y)
        self.samples_before = trainer.samples_seen
        batch_size = min(options.batch_size, self.n_rows)
        shuffled = options.shuffle and batch_size < self.n_rows
        self.n_batches = -(-self.n_rows // batch_size)
        self.n_epochs = int(n_epochs)
        self.trainer = trainer
        self.n_members = members = net.n_members
        self.epoch_losses = np.zeros((members, min(self.n_epochs, _MOST_EPOCHS_A_CALL)))
        sparse = isinstance(samples.X, Csr)
        # Forward, B4 and B2 are two operations each for every weight and sample.
        operations = 6.0 * batch_size * net.params.size
        if sparse:  # of the first layer's, a sample has few; each takes a step
            first = members * net.layout.weights(net.params, 1).size
            filled = samples.X.values.size / (self.n_rows * net.n_features)
            operations += first * (_OPERATIONS_PER_STEP - 6.0 * batch_size * (1 - filled))
        self.seconds_per_batch = operations / _SUPPOSED_OPERATIONS_PER_SECOND
        n_squares = sum(
            -(-net.layout.weights(net.params, layer).size // SQUARES_BLOCK) for layer in range(1, len(net.sizes))
        )
        regular = net.output == "softmax" and not activations.STORED.intersection(net.activations)
        regular = regular and not (sparse or options.dropout or options.label_smoothing or options.clip_norm)
        regular = regular and not net.layout.normalised
        self.method = method(net.sizes, net.dtype) if regular else _method_with_extras(net, sparse)
        together = members > 1
        self.kernel = members_kernel(self.method, not regular, sparse) if together else self.method.kernel
        self.most_threads = usable_threads(options.n_threads)
        parts = members if together else self.method.chunks(batch_size, self.most_threads)
        total = operations * self.n_batches * self.n_epochs
        self.pace = pace(operations, 0 if together else self.method.phases, total, parts, options.n_threads)
        # Each member is trained by one thread, in that thread's memory.
        self.workers = self.pace.n_threads if together else 1
        memory = self.method.memory(net.layout, batch_size, 1 if together else self.pace.n_threads)
        if together:
            memory = memory.times(self.workers)
        seed = np.uint64((options.seed + part * _NEXT_PART) % 2**64)
        self.seeds = seed + np.arange(members, dtype=np.uint64)
        self._run = Run(
            X=samples.X if sparse else flat(samples.X),
            y=samples.y if net.output == "softmax" else np.zeros(self.n_rows, np.int64),
            sample_weight=samples.sample_weight,
            order=np.empty(members * self.n_rows if shuffled else 0, np.int64),
            batch_size=batch_size,
            shuffled=shuffled,
            seed=seed,
            first_epoch=trainer.epochs_done,
            params=net.params,
            layers=memory.layers,
            extras=() if regular else self._extras(samples, batch_size),
            solver=solvers.CODES[options.kernel],
            state=trainer._state,
            numbers=trainer._numbers,
            buffer=memory.buffer,
            grads=memory.grads,
            scratch=memory.scratch,
            scratch_size=memory.scratch_size,
            losses=np.zeros(members * batch_size, net.dtype),
            targets=np.zeros(members * batch_size, net.dtype),
            squares=np.zeros(members * n_squares),
            epoch_losses=self.epoch_losses.reshape(-1),
            good_params=net.params.copy(),
            good_state=trainer._state.copy(),
            good_numbers=trainer._numbers.copy(),
            team=np.zeros(members * team.SIZE, np.int64),
        )

    def _extras(self, samples: Samples, batch_size: int) -> Extras:
        net, options = self.trainer.net, self.trainer.options
        further: dict[str, Any] = {}
        if net.output != "softmax":
            further["targets"] = samples.y.reshape(-1)
        if isinstance(samples.X, Csr):
            further["transposed"] = transposed(samples.X, batch_size, net.n_features, self.workers)
        return extras(
            net.output,
            net.layout.n_params,
            net.dtype,
            self.workers,
            dropout=options.dropout,
            label_smoothing=options.label_smoothing,
            clip_norm=np.inf if options.clip_norm is None else options.clip_norm,
            **further,
        )

    def run(self, interrupted: Callable[[], bool], stride: int, counted: int) -> Generator[list[float], None, None]:
        """Yield the losses of the epochs that each call has finished.

        Calls end at multiples of `stride` epochs, of which so many are `counted` before these.
        """
        trainer = self.trainer
        done, last = 0, self.n_epochs * self.n_batches
        if self.n_members > 1:  # a call ends with the epoch: what is good is of the same epoch in all
            stride = 1
        try:
            with sharing(self):
                while done < last:
                    epoch = done // self.n_batches
                    boundary = ((counted + epoch) // stride + 1) * stride - counted
                    good = self._good() if self.n_members > 1 else ()
                    end, reached = self._call(done, min(last, boundary * self.n_batches))
                    if reached < end:
                        # Of several, others may have come to the epoch's end before one diverged.
                        for now, before in zip(self._good(copied=False), good, strict=False):
                            now[:] = before
                        self._fall_back()
                    finished = np.arange(epoch, reached // self.n_batches) % self.epoch_losses.shape[1]
                    self._count()
                    yield self.epoch_losses[:, finished].mean(axis=0).tolist()
                    if reached < end:
                        raise TrainingDivergedError(
                            f"training diverged in epoch {trainer.epochs_done + 1}: the loss or the weights are no "
                            "longer finite. The network keeps the weights of the epoch before. Standardise X, or lower "
                            "the step size."
                        )
                    done = end
                    if interrupted():
                        raise KeyboardInterrupt(_INTERRUPTED.format(trainer.epochs_done + 1, trainer.epochs_done))
        except GeneratorExit:  # whoever took the last epoch wants no more: the weights are that epoch's
            raise
        except BaseException:
            self._fall_back()
            self._count()
            raise

    def _count(self) -> None:
        """Say how many epochs are done: those that compiled code has ended, wherever an exception came between."""
        finished = self._reached() // self.n_batches
        self.trainer.epochs_done = self._run.first_epoch + finished
        self.trainer.samples_seen = self.samples_before + finished * self.n_rows

    def _call(self, first: int, last: int) -> tuple[int, int]:
        """Train from one batch to another, `last` at most; returns the number it tried to reach, and that it did."""
        threads, trial = self.pace.choose()
        if threads > 1 and self.trainer.options.n_threads is None and threads > each_share(self.most_threads):
            # A trial of another number would tell nothing, and be short.
            threads, trial = each_share(self.most_threads), False
        batches = int((_SECONDS_PER_TRIAL if trial else _SECONDS_PER_CALL) / self.seconds_per_batch)
        end = min(first + max(1, batches), last)
        if end // self.n_batches > first // self.n_batches:
            end -= end % self.n_batches  # when an epoch is yielded, the weights are those of its end
        phases = self.method.phases
        chunks = self.method.chunks(self._run.batch_size, 1 if self.n_members > 1 else threads)
        began = time.perf_counter()
        work: Any = team.Phases(self._run, phases * first, phases * end, chunks)
        if self.n_members > 1:
            work = Members(self._run, self.seeds, self.workers, *work[1:])
        threads = launch(self.kernel, work, threads)
        reached = self._reached()
        self.seconds_per_batch = max((time.perf_counter() - began) / max(1, reached - first), 1e-9)
        self.pace.record(1 if threads == 1 else self.pace.n_threads, self.seconds_per_batch)
        return end, reached

    def _good(self, copied: bool = True) -> list[Array]:
        """What is good, or a copy of it."""
        good = [self._run.good_params, self._run.good_state, self._run.good_numbers]
        return [vector.copy() for vector in good] if copied else good

    def _reached(self) -> int:
        """The batches that are done: those of the member that did the fewest."""
        places = self._run.team.reshape(self.n_members, -1)[:, team.REACHED]
        return int(places.min()) // self.method.phases

    def _fall_back(self) -> None:
        """Give network and solver what they had at the end of the last epoch, or at the start."""
        step_size = self.trainer.step_size
        self._run.params[:] = self._run.good_params
        self._run.state[:] = self._run.good_state
        self._run.numbers[:] = self._run.good_numbers
        self.trainer.step_size = step_size  # a schedule's, which may be newer


def train(
    net: Network,
    X: Any,
    y: Any,
    *,
    epochs: int = 10,
    batch_size: int = 256,
    step_size: float = 0.1,
    solver: str = "sgd",
    shuffle: bool = True,
    seed: int = 0,
    momentum: float = 0.0,
    nesterovs_momentum: bool = False,
    alpha: float = 0.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    dropout: float = 0.0,
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    n_threads: int | None = None,
    callbacks: Iterable[Callable[[Epoch], Any]] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
) -> History:
    """Train a network in place by mini-batch gradient descent: the article's loop.

    With ``solver="sgd"`` and no momentum: for each epoch and each mini-batch of it, drawn without replacement,
    evaluate the gradient (F1 to F4, B1 to B4) and step against it (U1).

    Parameters
    ----------
    net : Network
        Changed in place.
    X : array_like or sparse matrix of shape (n, n_features)
        Converted to the network's dtype if need be. Sparse samples take less time, the fewer their entries are.
    y : array_like of shape (n,)
        Labels if the network has classes, otherwise class indices; of shape (n, n_outputs) where the output isn't
        softmax.
    epochs : int
        Passes over the samples.
    batch_size : int
        Samples of a mini-batch; the last one of an epoch may be shorter. One that holds all rows isn't shuffled.
    step_size : float
    solver : {"sgd", "adam", "adamw"}
    shuffle : bool
        A new order for each epoch; otherwise the rows' own.
    seed : int
        Of the shuffle.
    momentum : float
        For ``solver="sgd"``.
    nesterovs_momentum : bool
        For ``solver="sgd"`` with momentum.
    alpha : float
        Strength of the L2 penalty, ``alpha / 2 * sum W**2``, divided by a batch's samples.
    beta_1, beta_2, epsilon : float
        For ``solver="adam"`` and "adamw".
    weight_decay : float
        For ``solver="adamw"``: each step first takes ``step_size * weight_decay`` of every weight away (not of biases).
    dropout : float
        The probability that a hidden unit's output is left out of a sample.
    label_smoothing : float
        This share of each target is spread over all classes.
    clip_norm : float, optional
        A batch's gradient is made no longer than this.
    n_threads : int, optional
        The most threads to use; by default all that the process may. The result is the same.
    callbacks : iterable of callable, optional
        Each is called with every finished `Epoch`; training stops when one returns something true (see
        `fastnn.callbacks`).
    checkpoint : str or path-like, optional
        A file to keep the progress in. Called again with the same arguments after a kill, `train` goes on from there,
        and ends in the bytes of a training that wasn't killed.
    checkpoint_every : int
        Epochs from one checkpoint to the next.

    Returns
    -------
    History
        With the mean loss of each epoch.

    Raises
    ------
    TrainingDivergedError
        If the loss or a weight stops being finite. The network keeps its last finite weights.
    KeyboardInterrupt
        A tenth of a second after Ctrl-C: the network has the weights of the last finished epoch.
    ModelFileError
        If `checkpoint` is damaged, or holds the unfinished progress of another training.
    TypeError, ValueError
        If an argument doesn't fit; the message says what to do.
    """
    epochs = _check_whole("epochs", epochs, 0)
    options = TrainOptions(
        solver=solver,
        step_size=step_size,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        momentum=momentum,
        nesterovs_momentum=nesterovs_momentum,
        alpha=alpha,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        dropout=dropout,
        label_smoothing=label_smoothing,
        clip_norm=clip_norm,
        n_threads=n_threads,
    )
    trainer, samples = Trainer(net, options), Samples(X, y)
    callbacks = list(callbacks)
    if checkpoint is not None or callbacks:
        kept = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
        curve = []
        with (
            called(callbacks, epochs) as stops,
            closing(trainer.epochs(samples, epochs, None, kept, one_by_one=bool(callbacks))) as finished,
        ):
            for epoch in finished:
                curve.append(epoch.loss)
                if stops(epoch):
                    break
        return History(curve)
    return History(list(chain.from_iterable(trainer.losses(samples, epochs))))
