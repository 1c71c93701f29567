"""The journal of a training: what is read from a checkpoint at the beginning, and written into it now and then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from fastnn.callbacks import Epoch
from fastnn.files.modelfile import ModelFileError
from fastnn.kernels.equations import solver as solvers
from fastnn.network.samples import Checked, Parts
from fastnn.training.checkpoint import Checkpoint, Progress, differing, fingerprint
from fastnn.training.options import TrainOptions
from fastnn.training.state import Snapshot, TrainingState
from fastnn.training.stopping import Stopping

_CURVES = {"losses": "loss", "validation_losses": "validation_loss", "validation_scores": "validation_score"}
_NONE = np.empty(0)


class Journal:
    """The epochs of a training, from its first on, and the checkpoint that keeps them.

    Parameters
    ----------
    state : TrainingState
        The training's state before its first epoch. `resume` brings it to where the checkpoint is.
    samples : Checked or Parts
    stopping : Stopping or None
    checkpoint : Checkpoint

    Attributes
    ----------
    epochs : list of Epoch
        All epochs so far, those before a restart included.
    finished : bool
        Whether the training ended, with its last epoch or by the stopping rule.
    """

    def __init__(
        self, state: TrainingState, samples: Checked | Parts, stopping: Stopping | None, checkpoint: Checkpoint
    ) -> None:
        self.state, self.stopping, self.checkpoint = state, stopping, checkpoint
        self.epochs: list[Epoch] = []
        self.finished = False
        self._n_saved = 0
        self._epochs_before = state.epochs_done
        self._identity = {
            # The result doesn't depend on the number of threads.
            "options": {name: value for name, value in asdict(state.options).items() if name != "n_threads"},
            "stopping rule": None if stopping is None else stopping.settings(),
            "data": (
                samples.fingerprint()
                if isinstance(samples, Parts)
                else fingerprint(samples.X, samples.y, samples.sample_weight)
            ),
            "held-out data": None if stopping is None else fingerprint(*stopping.watched()),
            "initial weights": fingerprint(state.net.params),
        }

    def resume(self, n_epochs: int) -> Iterator[Epoch]:
        """Bring the state and the stopping rule to where the checkpoint is; yields the epochs up to there.

        Raises
        ------
        ModelFileError
            If the file is damaged, or holds the unfinished progress of another training.
        """
        progress = self.checkpoint.load(self.state.net)
        if progress is None:
            return
        if self.state.net.params.tobytes() == progress.vectors.get("params", _NONE).tobytes():
            # The training was interrupted in this process, and the network is where it was then.
            self._identity["initial weights"] = progress.identity.get("initial weights")
        if isinstance(options := progress.identity.get("options"), dict):
            # A checkpoint of an earlier version lacks newer options: its training had their defaults.
            progress.identity["options"] = asdict(TrainOptions()) | options
        difference = differing(progress.identity, self._identity)
        if difference is None and progress.numbers.get("losses", _NONE).size > n_epochs:
            difference = f"more epochs than the {n_epochs} asked for"
        if difference is not None:
            if not progress.finished:
                self.checkpoint.refuse(difference)
            return  # nobody needs the checkpoint of a finished training: this training will replace it
        try:
            self._restore(progress)
        except (KeyError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, ModelFileError):
                raise
            self.checkpoint.refuse(f"parts missing ({error})")
        yield from self.epochs

    def _restore(self, progress: Progress) -> None:
        state, numbers, vectors = self.state, progress.numbers, progress.vectors
        curves = [[None if np.isnan(value) else value for value in numbers[name].tolist()] for name in _CURVES]
        epochs = [Epoch(number, *values) for number, values in enumerate(zip(*curves, strict=True), 1)]
        epochs_done, samples_seen = (int(count) for count in numbers["counts"])
        slots = [vectors[f"state.{slot}"] for slot in range(solvers.SLOTS[state.options.kernel])]
        # Everything is read before anything is changed: a part that is missing leaves the training as it was.
        snapshot = Snapshot(
            vectors["params"],
            state.joined_slots(slots),
            numbers["solver"].reshape(state.numbers.shape),
            epochs_done,
            samples_seen,
        )
        if self.stopping is not None:
            self.stopping.restore(numbers, vectors.get("best"))
            self.finished = self.stopping.stopped
        state.restore(snapshot)
        self.epochs, self._n_saved = epochs, len(epochs)
        self._epochs_before = epochs_done - len(epochs)

    def add(self, epoch: Epoch, finished: bool) -> None:
        """Note a finished epoch, and write the checkpoint if it is due."""
        self.epochs.append(epoch)
        self.finished = finished
        if finished or epoch.number % self.checkpoint.every == 0:
            self.save()

    def save(self) -> None:
        """Write the checkpoint, unless the file holds all epochs already."""
        state, stopping = self.state, self.stopping
        # An exception may have come between the end of an epoch and its entry here: the weights and the stopping rule
        # belong to different epochs then.
        if self._n_saved == len(self.epochs) or state.epochs_done != self._epochs_before + len(self.epochs):
            return
        vectors = {"params": state.net.params}
        vectors |= {f"state.{slot}": vector for slot, vector in enumerate(state.slot_vectors())}
        # As float64, a measure that an epoch doesn't have (None) is NaN.
        numbers = {
            "solver": state.numbers,
            "counts": [state.epochs_done, state.samples_seen],
            **{name: [getattr(epoch, measure) for epoch in self.epochs] for name, measure in _CURVES.items()},
        }
        if stopping is not None:
            numbers |= stopping.memory()
            if stopping.best_params is not None:
                vectors["best"] = stopping.best_params
        as_floats = {name: np.array(values, np.float64) for name, values in numbers.items()}
        self.checkpoint.save(state.net, Progress(self._identity, vectors, as_floats, self.finished))
        self._n_saved = len(self.epochs)
