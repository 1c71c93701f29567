"""The loop of epochs, and what happens between two of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from fastnn.callbacks import Epoch, called
from fastnn.network.conversion import SumsOverflowError
from fastnn.network.samples import Checked, Parts, Samples
from fastnn.network.trainable import Trainable
from fastnn.training.calls import MOST_EPOCHS_A_CALL, Calls, TrainingDivergedError, interruption
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.interrupts import held_back
from fastnn.training.journal import Journal
from fastnn.training.option_table import checked
from fastnn.training.options import TrainOptions
from fastnn.training.state import TrainingState
from fastnn.training.stopping import Stopping

__all__ = ["History", "TrainOptions", "Trainer", "TrainingDivergedError", "train"]


@dataclass(frozen=True)
class History:
    """What `train` returns.

    Attributes
    ----------
    loss_curve : list of float
        The mean loss of each epoch, in nats. The loss of a mini-batch is measured before the mini-batch's step.
    """

    loss_curve: list[float] = field(default_factory=list)


class Trainer(TrainingState):
    """Trains one network. `epochs` may be called several times: the solver's state lasts from one call to the next.

    Parameters
    ----------
    net : Network or Ensemble
        The network to train. Training changes its parameters in place.
    options : TrainOptions
    """

    def epochs(
        self,
        samples: Samples | Checked | Parts,
        n_epochs: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        one_by_one: bool = False,
    ) -> Generator[Epoch, None, None]:
        """Train for `n_epochs` epochs, or until `stopping` says so; yields each epoch when it is done.

        If you may stop iterating early, close the generator: while it is open, Ctrl-C is held back.

        Parameters
        ----------
        samples : Samples, Checked or Parts
        n_epochs : int
        stopping : Stopping, optional
        checkpoint : Checkpoint, optional
            The file that keeps the progress. If it holds progress of this training, the training goes on from there, to
            the same bits: the epochs that are done are yielded again, and then the others.
        one_by_one : bool
            Whether the network must have the weights of each epoch when that epoch is yielded. With a stopping rule it
            has them anyway.

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
        if not isinstance(samples, Parts):
            samples = self.net.checked(samples)
        # A stopping rule looks at the weights of each epoch. Without one, several short epochs share a call.
        stride = MOST_EPOCHS_A_CALL if stopping is None and not one_by_one else 1
        journal = None
        if checkpoint is not None:
            stride = min(stride, checkpoint.every)
            journal = Journal(self, samples, stopping, checkpoint)
            yield from journal.resume(n_epochs)
            if journal.finished or len(journal.epochs) == n_epochs:
                return
        try:
            yield from self._epochs(samples, n_epochs, stride, stopping, journal)
        except KeyboardInterrupt:
            if journal is not None:
                journal.save()
            raise

    def _epochs(
        self, samples: Checked | Parts, n_epochs: int, stride: int, stopping: Stopping | None, journal: Journal | None
    ) -> Generator[Epoch, None, None]:
        """Train from the journal's last epoch on; yields each epoch when the journal has noted it."""
        done = 0 if journal is None else len(journal.epochs)
        # Closed at once, whatever happens, since the generator holds Ctrl-C back.
        with closing(self._run(samples, n_epochs - done, stride, done)) as losses:
            for number, loss in enumerate(chain.from_iterable(losses), done + 1):
                epoch = Epoch(number, loss) if stopping is None else self._judged(number, loss, stopping)
                stopped = stopping is not None and stopping.stopped
                if journal is not None:
                    journal.add(epoch, finished=stopped or number == n_epochs)
                yield epoch
                if stopped:
                    return

    def losses(self, samples: Samples, n_epochs: int) -> Iterator[list[float]]:
        """Train as `epochs` does; yields lists with the losses of the epochs that each call has finished."""
        return self._run(self.net.checked(samples), n_epochs, MOST_EPOCHS_A_CALL, 0)

    def _run(
        self, samples: Checked | Parts, n_epochs: int, stride: int, counted: int
    ) -> Generator[list[float], None, None]:
        """Train; yields lists of the losses of finished epochs. See `Calls.run` for the parameters."""
        with held_back() as interrupted:
            if not isinstance(samples, Parts):
                yield from Calls(self, samples, n_epochs).run(interrupted, stride, counted)
            else:
                for _ in range(n_epochs):
                    yield [self._epoch_of_parts(samples, interrupted)]

    def _epoch_of_parts(self, samples: Parts, interrupted: Callable[[], bool]) -> float:
        """Train for one epoch on samples that come in parts; returns the mean loss."""
        before = self.snapshot()
        number, seen = before.epochs_done, before.samples_seen
        losses: list[float] = []
        rows: list[int] = []
        try:
            # Closed at once, since a thread may be reading ahead.
            with closing(samples.parts(number)) as parts:
                for part in parts:
                    calls = Calls(self, part, 1, part=len(rows))
                    losses += chain.from_iterable(calls.run(interrupted, 1, 0))
                    rows.append(len(part.y))
                    # To the shuffle and to the schedule, all parts belong to one epoch.
                    self.epochs_done, self.samples_seen = number, seen
                    if interrupted():
                        raise KeyboardInterrupt
        except BaseException as error:
            self.restore(before)
            if isinstance(error, KeyboardInterrupt):
                raise interruption(number) from None
            raise
        self.epochs_done, self.samples_seen = number + 1, seen + sum(rows)
        return losses[0] if len(losses) == 1 else float(np.average(losses, weights=rows))

    def _judged(self, number: int, loss: float, stopping: Stopping) -> Epoch:
        """The epoch with the rule's measures. The rule may set the next step size, or end the training."""
        try:
            verdict = stopping.judge(self.net, loss)
        except SumsOverflowError as error:
            raise TrainingDivergedError(
                f"training diverged in epoch {number}: on the held-out samples, the network's outputs overflow. "
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


def train(
    net: Trainable,
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
    """Train a network in place by mini-batch gradient descent.

    With ``solver="sgd"`` and without momentum, `train` draws mini-batches without replacement in each epoch. For each
    mini-batch it evaluates the gradient (F1 to F4, B1 to B4) and steps against it (U1).

    Parameters
    ----------
    net : Network or Ensemble
        The network to train. Its parameters are changed in place.
    X : array_like or sparse matrix of shape (n, n_features)
        The samples, which are converted to the network's dtype if necessary. The time that sparse samples take depends
        on the number of their entries.
    y : array_like of shape (n,) or (n, n_outputs)
        Labels if the network has classes, otherwise class indices. Where the output isn't softmax: the numbers that the
        outputs should have.
    epochs : int
        The number of passes over the samples.
    batch_size : int
        The number of samples in a mini-batch. The last mini-batch of an epoch may be smaller. If one mini-batch holds
        all samples, they aren't shuffled.
    step_size : float
        The step size (learning rate).
    solver : {"sgd", "adam", "adamw"}
        The optimiser: stochastic gradient descent, Adam, or Adam with decoupled weight decay.
    shuffle : bool
        Whether each epoch takes the samples in a new random order. Otherwise it takes them as they are given.
    seed : int
        The seed of the shuffle.
    momentum : float
        The momentum of ``solver="sgd"``: the share of the last step that is added to the next one.
    nesterovs_momentum : bool
        Whether the momentum of ``solver="sgd"`` is Nesterov's.
    alpha : float
        The L2 penalty's strength. The penalty is ``alpha / 2 * sum(W**2)``, divided by the number of samples in the
        mini-batch.
    beta_1 : float
        The decay rate of the mean of gradients in ``solver="adam"`` and "adamw".
    beta_2 : float
        The decay rate of the mean of squared gradients in ``solver="adam"`` and "adamw".
    epsilon : float
        The number that keeps the denominator of a step above 0 in ``solver="adam"`` and "adamw".
    weight_decay : float
        The weight decay of ``solver="adamw"``. Each step first multiplies every weight (not the biases) by
        ``1 - step size * weight_decay``.
    dropout : float
        The probability that the output of a hidden unit is left out (set to 0) for a training sample.
    label_smoothing : float
        The share of each target that is spread evenly over all classes.
    clip_norm : float or None
        The largest norm of a mini-batch's gradient. A longer gradient is scaled down to it. None: gradients of any
        length are taken.
    n_threads : int or None
        The most threads to use. The result is the same for any number. None: all threads that the process may use.
    callbacks : iterable of callable
        Functions that are called with every finished `Epoch`; see `fastnn.callbacks`. Training stops when one of them
        returns something true.
    checkpoint : str, path-like or None
        The file that keeps the progress. After a kill, the same call with the same data goes on from there, and ends in
        the bytes of a training that wasn't interrupted.
    checkpoint_every : int
        The number of epochs from one checkpoint to the next.

    Returns
    -------
    History
        The mean loss of each epoch.

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
    given = dict(locals())
    epochs = checked("epochs", epochs)
    options = TrainOptions(**{name: given[name] for name in TrainOptions.__match_args__})
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
