"""When training stops by itself: no improvement of the training loss, or of the accuracy on held-out samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn.network import Network
from fastnn.samples import Samples
from fastnn.schedule import Schedule


@dataclass(frozen=True)
class Verdict:
    """After an epoch: whether nothing has improved for too long, and the validation score if there is one."""

    plateau: bool
    score: float | None = None


class Stopping:
    """Stop when the training loss hasn't fallen by `tol` for more than `n_iter_no_change` epochs.

    Parameters
    ----------
    tol : float
    n_iter_no_change : int or inf
    schedule : Schedule, optional
        May lower the step size instead of stopping.
    """

    # What the rule has seen so far, in numbers.
    SEEN: ClassVar[tuple[str, ...]] = ("best_loss", "idle")
    # The weights that the rule keeps; only some do.
    best_params: NDArray[Any] | None = None

    def __init__(self, tol: float = 1e-4, n_iter_no_change: float = 10, schedule: Schedule | None = None) -> None:
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.schedule = schedule or Schedule()
        self.best_loss = np.inf
        self.stopped = False
        self.idle = 0

    def judge(self, net: Network, loss: float) -> Verdict:
        """Look at the network after an epoch of this mean loss."""
        improved = loss <= self.best_loss - self.tol
        self.best_loss = min(self.best_loss, loss)
        return Verdict(self._plateau(improved))

    def go_on_from(self, earlier: Stopping) -> None:
        """Take over what the rule of an earlier fit has seen, as scikit-learn's warm start does."""
        for name in self.SEEN:
            setattr(self, name, getattr(earlier, name, getattr(self, name)))

    def settings(self) -> str:
        """What the rule goes by, in words that tell two rules apart."""
        return f"{type(self).__name__}({self.tol}, {self.n_iter_no_change}, {self.schedule})"

    def watched(self) -> list[Any]:
        """The data that the rule goes by."""
        return []

    def _plateau(self, improved: bool) -> bool:
        self.idle = 0 if improved else self.idle + 1
        if self.idle <= self.n_iter_no_change:
            return False
        self.idle = 0
        return True


class BestWeightsStopping(Stopping):
    """A rule that keeps a copy of the best weights; `restore_best` puts them back."""

    def __init__(self, tol: float = 1e-4, n_iter_no_change: float = 10, schedule: Schedule | None = None) -> None:
        super().__init__(tol, n_iter_no_change, schedule)
        self.best_params = None

    def _remember(self, net: Network) -> None:
        self.best_params = net.params.copy()

    def restore_best(self, net: Network) -> None:
        """Give the network the weights of its best epoch."""
        if self.best_params is not None:
            net.params[:] = self.best_params


class ValidationStopping(BestWeightsStopping):
    """Stop when the accuracy on held-out samples hasn't risen by `tol` for more than `n_iter_no_change` epochs.

    Parameters
    ----------
    held_out : Samples
    tol, n_iter_no_change, schedule
        As in `Stopping`.
    n_threads : int, optional
        The most threads to score with.
    """

    SEEN = (*BestWeightsStopping.SEEN, "best_score")

    def __init__(
        self,
        held_out: Samples,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        schedule: Schedule | None = None,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(tol, n_iter_no_change, schedule)
        self.held_out = held_out
        self.n_threads = n_threads
        self.best_score = -np.inf

    def judge(self, net: Network, loss: float) -> Verdict:
        """Score the network on the held-out samples; remember its weights if it is the best so far."""
        right = net.predict(self.held_out.X, n_threads=self.n_threads) == np.asarray(self.held_out.y)
        score = float(np.average(right, weights=self.held_out.sample_weight))
        improved = score >= self.best_score + self.tol
        if score > self.best_score:
            self.best_score = score
            self._remember(net)
        return Verdict(self._plateau(improved), score)

    def go_on_from(self, earlier: Stopping) -> None:
        """Take over what the rule of an earlier fit has seen, the best weights included."""
        super().go_on_from(earlier)
        self.best_params = earlier.best_params

    def watched(self) -> list[Any]:
        """The held-out samples."""
        return [self.held_out.X, self.held_out.y, self.held_out.sample_weight]
