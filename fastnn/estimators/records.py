"""The fitted attributes that both estimators share: what a training has recorded, and the network's own."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastnn.callbacks import Epoch
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.training.stopping import LOSS, Stopping

Array = NDArray[Any]


class Records:
    """Fitted attributes under scikit-learn's names."""

    network_: Network | Ensemble
    n_iter_: int
    # The weights of the last epoch, where the network has those of the best one: training goes on from them.
    _last_params: Array | None = None

    def _begin_records(self) -> None:
        """Empty records, for a new network."""
        self._last_params = None
        self.t_ = 0
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = None
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None
        self.best_loss_: float | None = None

    def _record(self, epoch: Epoch, n_samples: int, watched: str) -> None:
        """Write an epoch into the attributes, and print the epoch if `verbose` is set."""
        verbose = getattr(self, "verbose", False)
        self.n_iter_ += 1
        self.t_ += n_samples
        self.loss_ = epoch.loss
        self.loss_curve_.append(epoch.loss)
        if verbose:
            print(f"Iteration {self.n_iter_}, loss = {epoch.loss:.8f}")
        if watched == LOSS:
            self.best_loss_ = epoch.loss if self.best_loss_ is None else min(self.best_loss_, epoch.loss)
        if epoch.validation_loss is not None and epoch.validation_score is not None:
            if self.validation_scores_ is None or self.validation_loss_curve_ is None:
                self.validation_scores_, self.validation_loss_curve_ = [], []
            self.validation_loss_curve_.append(epoch.validation_loss)
            self.validation_scores_.append(epoch.validation_score)
            if verbose:
                print(f"Validation score: {epoch.validation_score:f}")

    def _show_best(self, rule: Stopping) -> None:
        """Give the network its best weights, where the rule keeps them, and keep the last ones to go on from."""
        if rule.best_params is not None:
            self._last_params = self.network_.params.copy()
            rule.restore_best(self.network_)
        if self.validation_scores_:
            self.best_validation_score_ = max(self.validation_scores_) if rule.watch == LOSS else rule.best_score

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, as read-only copies. An ensemble doesn't have them: its members do."""
        return [_read_only(W) for W in self.network_.weights]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, as read-only copies. An ensemble doesn't have them: its members do."""
        return [_read_only(b) for b in self.network_.biases]

    @property
    def n_layers_(self) -> int:
        """The number of layers, including the input layer."""
        return len(self.network_.sizes)

    @property
    def n_outputs_(self) -> int:
        """The number of the network's outputs."""
        return self.network_.n_classes

    @property
    def out_activation_(self) -> str:
        """The name of the output layer's activation."""
        return self.network_.output


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array
