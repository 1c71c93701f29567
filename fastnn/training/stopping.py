"""The rule by which training stops before its last epoch: nothing has improved for too long."""

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
    """What a rule says after an epoch.

    Attributes
    ----------
    plateau : bool
        Whether nothing has improved for too long.
    validation_loss, validation_score : float or None
        The measures on held-out samples, if there are any.
    """

    plateau: bool
    validation_loss: float | None = None
    validation_score: float | None = None


class Stopping:
    """Stops training after more than `n_iter_no_change` epochs in a row without an improvement.

    Parameters
    ----------
    tol : float
        The least improvement that counts.
    n_iter_no_change : int or inf
        The number of epochs in a row that may pass without an improvement.
    schedule : Schedule, optional
        The schedule of the step size. "adaptive" lowers the step size before training is stopped.
    validation : Validation, optional
        Held-out samples, on which the network is measured after each epoch.
    watch : {"loss", "validation loss", "validation score"}
        The measure that has to improve. A rule that watches held-out samples keeps the weights of the best epoch;
        `restore_best` puts them back.

    Attributes
    ----------
    stopped : bool
        Whether the rule has stopped a training.
    idle : int
        The number of epochs since the last improvement.
    best : float
        The least value of the watched measure so far, where a score counts with the opposite sign.
    best_score : float
        The score of the best epoch.
    best_params : ndarray or None
        The parameters of the best epoch, if the rule watches held-out samples.
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
        self.best = np.inf
        self.best_score = -np.inf
        self.best_params: NDArray[Any] | None = None

    def judge(self, net: Trainable, loss: float) -> Verdict:
        """Measure the network after an epoch whose mean training loss is `loss`."""
        validation_loss = score = None
        if self.validation is not None:
            validation_loss, score = self.validation.measure(net)
        values = {LOSS: loss, VALIDATION_LOSS: validation_loss, VALIDATION_SCORE: None if score is None else -score}
        value = values[self.watch]
        assert value is not None, "a rule without held-out samples watches the loss"
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
        """Give the network the weights of its best epoch, if the rule has kept them."""
        if self.best_params is not None:
            net.params[:] = self.best_params

    def go_on_from(self, earlier: Stopping) -> None:
        """Take over what the rule of an earlier fit has seen, if both watch the same measure."""
        if earlier.watch == self.watch:
            self.best, self.idle, self.best_score = earlier.best, earlier.idle, earlier.best_score
            self.best_params = earlier.best_params

    def memory(self) -> dict[str, list[float]]:
        """What the rule has seen so far, except `best_params`, as numbers for a checkpoint."""
        return {"seen": [self.best, self.idle, self.best_score], "stopped": [self.stopped]}

    def restore(self, memory: Mapping[str, NDArray[np.float64]], best_params: NDArray[Any] | None) -> None:
        """Bring the rule back to where it was when `memory` returned these numbers.

        If something is missing, a KeyError, an IndexError or a ValueError is raised, and the rule stays as it is.
        """
        best, idle, best_score = memory["seen"].tolist()
        self.stopped = bool(memory["stopped"][0])
        self.best, self.idle, self.best_score, self.best_params = best, idle, best_score, best_params

    def settings(self) -> str:
        """The rule's settings in words: those of two rules differ if the rules do."""
        return f"{self.watch} by {self.tol} in {self.n_iter_no_change} epochs, {self.schedule}"

    def watched(self) -> list[Any]:
        """The arrays of the held-out samples, as they were given, if there are any."""
        held_out = self.validation
        return [] if held_out is None else [held_out.X, held_out.targets, held_out.weight]
