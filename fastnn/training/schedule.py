"""How the step size changes between epochs."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, Self

# As in scikit-learn, "adaptive" divides the step size by this number, until it is no larger than the least.
_ADAPTIVE_DIVISOR = 5.0
_ADAPTIVE_LEAST = 1e-6


@dataclass(frozen=True)
class Schedule:
    """A schedule of the step size: one of scikit-learn's, or half a cosine from the initial step size to nothing.

    Parameters
    ----------
    kind : {"constant", "invscaling", "adaptive", "cosine"}
    initial : float
        The step size of the first epoch, or of the first one after the warm-up.
    power_t : float
        The exponent of "invscaling".
    epochs : int
        The number of epochs that the cosine takes, including the warm-up.
    warmup_epochs : int
        The number of epochs in which the step size rises, by equal steps, to the initial one.
    """

    kind: str = "constant"
    initial: float = 1e-3
    power_t: float = 0.5
    epochs: int = 0
    warmup_epochs: int = 0

    @classmethod
    def of_solver(cls, solver: str, kind: str, *further: Any) -> Self:
        """The schedule for a solver. As in scikit-learn, "invscaling" and "adaptive" are for sgd only."""
        return cls(kind if solver == "sgd" or kind == "cosine" else "constant", *further)

    def first(self) -> float:
        """The step size of the first epoch."""
        return self.after_epoch(self.initial, 0, 0) if self.warmup_epochs else self.initial

    def after_epoch(self, step_size: float, samples_seen: int, epochs_done: int) -> float:
        """The step size of the next epoch.

        Parameters
        ----------
        step_size : float
            The step size of the last epoch.
        samples_seen, epochs_done : int
            The samples and the epochs of the training so far.
        """
        if epochs_done < self.warmup_epochs:
            return self.initial * (epochs_done + 1) / (self.warmup_epochs + 1)
        if epochs_done == self.warmup_epochs > 0:
            step_size = self.initial
        if self.kind == "cosine":
            share = (epochs_done - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
            # A step size of 0 isn't allowed. After the last epoch, the step size stays that of the last one.
            return self.initial * (1 + math.cos(math.pi * min(share, 1.0))) / 2 or step_size
        if self.kind == "invscaling":
            try:
                return float(self.initial / (samples_seen + 1) ** float(self.power_t))
            except OverflowError:
                return sys.float_info.min  # a step size of 0 isn't allowed
        return step_size

    def after_plateau(self, step_size: float) -> float | None:
        """The step size to go on with when nothing has improved for too long; None means that training stops."""
        if self.kind == "adaptive" and step_size > _ADAPTIVE_LEAST:
            return step_size / _ADAPTIVE_DIVISOR
        return None
