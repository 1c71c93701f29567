"""When training stops by itself: no improvement of what it watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.network.trainable import Trainable
from fastnn.training.schedule import Schedule
from fastnn.training.validation import Validation

LOSS, VALIDATION_LOSS, VALIDATION_SCORE = "loss", "validation loss", "validation score"


@dataclass(frozen=True)
class Verdict:
    """After an epoch: whether nothing has improved for too long, and what held-out samples say, if there are any."""

    plateau: bool
    validation_loss: float | None = None
    validation_score: float | None = None


class Stopping:
    """Stop when nothing has improved by `tol` for more than `n_iter_no_change` epochs.

    Parameters
    ----------
    tol : float
    n_iter_no_change : int or inf
    schedule : Schedule, optional
        May lower the step size instead of stopping.
    validation : Validation, optional
        Held-out samples, which are measured after each epoch.
    watch : {"loss", "validation loss", "validation score"}
        What has to improve. The weights of the best epoch on held-out samples are kept: `restore_best` puts them back.
    """

    def __init__(
        self,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        schedule: Schedule | None = None,
        validation: Validation | None = None,
        watch: str = LOSS,
    ) -> None:
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.schedule = schedule or Schedule()
        self.validation = validation
        self.watch = watch
        self.stopped = False
        self.idle: float = 0
        # The least value so far of what is watched (a score's negative), and the best epoch's score.
        self.best = np.inf
        self.best_score = -np.inf
        self.best_params: NDArray[Any] | None = None

    def judge(self, net: Trainable, loss: float) -> Verdict:
        """Look at the network after an epoch of this mean training loss."""
        validation_loss = score = None
        if self.validation is not None:
            validation_loss, score = self.validation.measure(net)
        values = {LOSS: loss, VALIDATION_LOSS: validation_loss, VALIDATION_SCORE: None if score is None else -score}
        value = values[self.watch]
        assert value is not None, "only a rule with a validation set can watch it"
        improved = value <= self.best - self.tol
        if value < self.best:
            self.best = value
            if score is not None:
                self.best_score = score
            if self.watch != LOSS:
                self.best_params = net.params.copy()
        self.idle = 0 if improved else self.idle + 1
        plateau = self.idle > self.n_iter_no_change
        if plateau:
            self.idle = 0
        return Verdict(plateau, validation_loss, score)

    def restore_best(self, net: Trainable) -> None:
        """Give the network the weights of its best epoch, if the rule keeps them."""
        if self.best_params is not None:
            net.params[:] = self.best_params

    def go_on_from(self, earlier: Stopping) -> None:
        """Take over what the rule of an earlier fit has seen, if it watched the same."""
        if earlier.watch == self.watch:
            self.best, self.idle, self.best_score = earlier.best, earlier.idle, earlier.best_score
            self.best_params = earlier.best_params

    def memory(self) -> dict[str, list[float]]:
        """What the rule has seen so far, in numbers; `best_params` comes on top."""
        return {"seen": [self.best, self.idle, self.best_score], "stopped": [self.stopped]}

    def restore(self, memory: Mapping[str, NDArray[np.float64]], best_params: NDArray[Any] | None) -> None:
        """Take over what `memory` gave, and the best parameters of that time.

        Raises a KeyError, an IndexError or a ValueError, before anything is changed, if something is missing.
        """
        best, idle, best_score = memory["seen"].tolist()
        self.stopped = bool(memory["stopped"][0])
        self.best, self.idle, self.best_score, self.best_params = best, idle, best_score, best_params

    def settings(self) -> str:
        """What the rule goes by, in words that tell two rules apart."""
        return f"{self.watch} by {self.tol} in {self.n_iter_no_change} epochs, {self.schedule}"

    def watched(self) -> list[Any]:
        """The held-out samples, if there are any."""
        held_out = self.validation
        return [] if held_out is None else [held_out.X, held_out.targets, held_out.weight]
