"""The calls of compiled code that train for one or more epochs: how long they are, their threads, their failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import flat
from fastnn.kernels.epoch import team
from fastnn.kernels.epoch.members import Members
from fastnn.kernels.epoch.run import NUMBERS, General, Run
from fastnn.kernels.epoch.weights import squares_of_gradient, squares_of_layers
from fastnn.kernels.equations import solver as solvers
from fastnn.kernels.forward.rows import OUTPUTS
from fastnn.kernels.forward.sparse import Csr, transposed
from fastnn.kernels.programs import kind_of, program
from fastnn.network.samples import Checked
from fastnn.network.trainable import Trainable
from fastnn.runtime.launch import launch
from fastnn.runtime.threads import each_share, pace, sharing, usable_threads
from fastnn.training.state import TrainingState

Array = NDArray[Any]

MOST_EPOCHS_A_CALL = 4096
# The time that a call of compiled code shall take: Ctrl-C and progress bars wait for its end.
_SECONDS_PER_CALL = 0.1
_SECONDS_PER_TRIAL = 0.003
# The first call is sized by a speed that any machine reaches, since nothing has been measured yet.
_SUPPOSED_OPERATIONS_PER_SECOND = 5e9
# The cost of Adam's step for one weight. It matters beside a sparse product.
_OPERATIONS_PER_STEP = 40.0
# The distance between the shuffle seeds of one part and the next. It is odd, so that no two of 2**64 parts share one.
_NEXT_PART = 0xD1342543DE82EF95


class TrainingDivergedError(ValueError):
    """The loss or the weights are no longer finite. The network keeps its last finite weights."""


def interruption(epochs_done: int) -> KeyboardInterrupt:
    """The exception for a Ctrl-C after which the network has the weights of epoch `epochs_done`."""
    return KeyboardInterrupt(
        f"training interrupted in epoch {epochs_done + 1}: the network keeps the weights of epoch {epochs_done}."
    )


class Calls:
    """The calls of compiled code that train for some epochs. Each takes about `_SECONDS_PER_CALL`.

    Parameters
    ----------
    state : TrainingState
        Training changes it in place. After a failure it is what it was at the end of the last finished epoch.
    samples : Checked
    n_epochs : int
    part : int
        The number of these samples among the parts of an epoch, from 0. Each part has its own shuffle.
    """

    def __init__(self, state: TrainingState, samples: Checked, n_epochs: int, part: int = 0) -> None:
        net, options = state.net, state.options
        self.state = state
        self.n_epochs, self.n_rows, self.n_members = int(n_epochs), len(samples.y), net.n_members
        self.samples_before = state.samples_seen
        self.batch_size = batch_size = min(options.batch_size, self.n_rows)
        self.n_batches = -(-self.n_rows // batch_size)
        self.epoch_losses = np.zeros((self.n_members, min(self.n_epochs, MOST_EPOCHS_A_CALL)))
        operations = _operations_per_batch(net, samples, batch_size)
        self.seconds_per_batch = operations / _SUPPOSED_OPERATIONS_PER_SECOND
        self.kind = kind_of(net, options, isinstance(samples.X, Csr))
        self.program = program(self.kind)
        together = self.kind.members
        self.most_threads = usable_threads(options.n_threads)
        parts = self.n_members if together else self.program.chunks(batch_size, self.most_threads)
        total = operations * self.n_batches * self.n_epochs
        self.pace = pace(operations, 0 if together else self.program.phases, total, parts, options.n_threads)
        # Each member of an ensemble is trained by one thread, in that thread's memory.
        self.workers = self.pace.n_threads if together else 1
        seed = np.uint64((options.seed + part * _NEXT_PART) % 2**64)
        self.seeds = seed + np.arange(self.n_members, dtype=np.uint64)
        # Compiled code writes the state at the end of each epoch into these arrays.
        self._good = state.snapshot()
        self._run = self._arguments(samples, seed)

    def _arguments(self, samples: Checked, seed: np.uint64) -> Run:
        """What compiled code reads and writes, in all calls alike."""
        state, net, options, good = self.state, self.state.net, self.state.options, self._good
        members, batch_size = self.n_members, self.batch_size
        memory = self.program.memory(net.layout, batch_size, 1 if members > 1 else self.pace.n_threads)
        if members > 1:
            memory = memory.times(self.workers)
        shuffled = options.shuffle and batch_size < self.n_rows
        sparse, n_squares = self.kind.sparse, squares_of_layers(net.layout.layers)
        further_squares = squares_of_gradient(net.layout.n_params) if self.kind.general else 0
        return Run(
            X=samples.X if sparse else flat(samples.X),
            y=samples.y if net.output == "softmax" else np.zeros(self.n_rows, np.int64),
            sample_weight=samples.sample_weight,
            order=np.empty(members * self.n_rows if shuffled else 0, np.int64),
            batch_size=batch_size,
            shuffled=shuffled,
            seed=seed,
            first_epoch=state.epochs_done,
            params=net.params,
            layers=memory.layers,
            general=self._general(samples) if self.kind.general else (),
            solver=solvers.CODES[options.kernel],
            state=state.slots,
            numbers=state.numbers.view(NUMBERS),
            buffer=memory.buffer,
            grads=memory.grads,
            scratch=memory.scratch,
            scratch_size=memory.scratch_size,
            losses=np.zeros(members * batch_size, net.dtype),
            targets=np.zeros(members * batch_size, net.dtype),
            squares=np.zeros(members * (n_squares + further_squares)),
            n_squares=n_squares,
            epoch_losses=self.epoch_losses.reshape(-1),
            transposed=transposed(samples.X, batch_size, net.n_features, self.workers) if sparse else (),
            good_params=good.params,
            good_state=good.slots,
            good_numbers=good.numbers.view(NUMBERS),
            team=np.zeros(members * team.SIZE, np.int64),
        )

    def _general(self, samples: Checked) -> General:
        net, options = self.state.net, self.state.options
        return General(
            output=OUTPUTS[net.output],
            targets=np.empty(0, net.dtype) if net.output == "softmax" else samples.y.reshape(-1),
            dropout=options.dropout,
            label_smoothing=options.label_smoothing,
            clip_norm=np.inf if options.clip_norm is None else options.clip_norm,
        )

    def run(self, interrupted: Callable[[], bool], stride: int, counted: int) -> Generator[list[float], None, None]:
        """Train; yields, after each call, the losses of the epochs that it has finished.

        Parameters
        ----------
        interrupted : callable
            Whether Ctrl-C was pressed; see `interrupts.held_back`.
        stride : int
            A call ends at the latest when the number of epochs is a multiple of this.
        counted : int
            The number of epochs that were trained before. They count towards `stride`, too.
        """
        state = self.state
        done, last = 0, self.n_epochs * self.n_batches
        if self.n_members > 1:  # calls end with an epoch, so that all members can fall back to the same one
            stride = 1
        try:
            with sharing(self):
                while done < last:
                    epoch = done // self.n_batches
                    boundary = ((counted + epoch) // stride + 1) * stride - counted
                    before = self._good.copy() if self.n_members > 1 else self._good
                    end, reached = self._call(done, min(last, boundary * self.n_batches))
                    if reached < end:
                        # Other members may have reached the end of the epoch before one diverged.
                        self._good.assign(before)
                        self._fall_back()
                    finished = np.arange(epoch, reached // self.n_batches) % self.epoch_losses.shape[1]
                    self._count()
                    yield self.epoch_losses[:, finished].mean(axis=0).tolist()
                    if reached < end:
                        raise TrainingDivergedError(
                            f"training diverged in epoch {state.epochs_done + 1}: the loss or the weights are no "
                            "longer finite. The network keeps the weights of the epoch before. Standardise X, or lower "
                            "the step size."
                        )
                    done = end
                    if interrupted():
                        raise interruption(state.epochs_done)
        except GeneratorExit:  # the consumer wants no more epochs: the weights are those of the last one it took
            raise
        except BaseException:
            self._fall_back()
            raise

    def _call(self, first: int, last: int) -> tuple[int, int]:
        """Train from batch `first` on, to batch `last` at most.

        Returns
        -------
        end : int
            The batch that the call was to reach.
        reached : int
            The batch that it reached: less than `end` if training diverged.
        """
        threads, trial = self.pace.choose()
        if threads > 1 and self.state.options.n_threads is None and threads > each_share(self.most_threads):
            # Other trainings are at work. A short trial with another number of threads would tell nothing.
            threads, trial = each_share(self.most_threads), False
        batches = int((_SECONDS_PER_TRIAL if trial else _SECONDS_PER_CALL) / self.seconds_per_batch)
        end = min(first + max(1, batches), last)
        if end // self.n_batches > first // self.n_batches:
            end -= end % self.n_batches  # when an epoch is yielded, the weights are those of its end
        phases = self.program.phases
        chunks = self.program.chunks(self.batch_size, 1 if self.n_members > 1 else threads)
        began = time.perf_counter()
        work: Any = team.Phases(self._run, phases * first, phases * end, chunks)
        if self.n_members > 1:
            work = Members(self._run, self.seeds, self.workers, *work[1:])
        threads = launch(self.program.kernel, work, threads)
        reached = self._reached()
        self.seconds_per_batch = max((time.perf_counter() - began) / max(1, reached - first), 1e-9)
        self.pace.record(1 if threads == 1 else self.pace.n_threads, self.seconds_per_batch)
        return end, reached

    def _reached(self) -> int:
        """The number of batches that are done; in an ensemble, by the member that has done the fewest."""
        places = self._run.team.reshape(self.n_members, -1)[:, team.REACHED]
        return int(places.min()) // self.program.phases

    def _counts(self) -> tuple[int, int]:
        """The epochs that compiled code has finished, and their samples, those of earlier trainings included."""
        finished = self._reached() // self.n_batches
        return self._run.first_epoch + finished, self.samples_before + finished * self.n_rows

    def _count(self) -> None:
        self.state.epochs_done, self.state.samples_seen = self._counts()

    def _fall_back(self) -> None:
        """Bring the state back to the end of the last finished epoch, or to the start."""
        step_size = self.state.step_size
        self._good.epochs_done, self._good.samples_seen = self._counts()
        self.state.restore(self._good)
        self.state.step_size = step_size  # a schedule may have set it since that epoch


def _operations_per_batch(net: Trainable, samples: Checked, batch_size: int) -> float:
    """An estimate of the operations of a mini-batch: two for each weight and sample, in the forward pass, B4 and B2."""
    operations = 6.0 * batch_size * net.params.size
    if isinstance(samples.X, Csr):  # a sample has few entries, but each weight of the first layer takes a step
        first = net.n_members * net.layout.weights(net.params, 1).size
        filled = samples.X.values.size / (len(samples.y) * net.n_features)
        operations += first * (_OPERATIONS_PER_STEP - 6.0 * batch_size * (1 - filled))
    return operations
