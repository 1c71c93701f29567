"""How the step size changes between epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass

# scikit-learn's: "adaptive" divides by this much, down to the least.
_ADAPTIVE_DIVISOR = 5.0
_ADAPTIVE_LEAST = 1e-6


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule: scikit-learn's, and half a cosine from the initial step size down to nothing.

    Parameters
    ----------
    kind : {"constant", "invscaling", "adaptive", "cosine"}
    initial : float
        The first step size; with `warmup_epochs` the one after them.
    power_t : float
        The exponent of "invscaling".
    epochs : int
        Those of the cosine, its warm-up included.
    warmup_epochs : int
        Epochs whose step size rises by equal parts to the initial one.
    """

    kind: str = "constant"
    initial: float = 1e-3
    power_t: float = 0.5
    epochs: int = 0
    warmup_epochs: int = 0

    def first(self) -> float:
        """The step size of the first epoch."""
        return self.after_epoch(self.initial, 0, 0) if self.warmup_epochs else self.initial

    def after_epoch(self, step_size: float, samples_seen: int, epochs_done: int) -> float:
        """The step size of the next epoch, after so many samples and epochs in all."""
        if epochs_done < self.warmup_epochs:
            return self.initial * (epochs_done + 1) / (self.warmup_epochs + 1)
        if epochs_done == self.warmup_epochs > 0:
            step_size = self.initial
        if self.kind == "cosine":
            share = (epochs_done - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
            # Never 0, which would be no step at all: after the last epoch the step size is that of the last one.
            return self.initial * (1 + math.cos(math.pi * min(share, 1.0))) / 2 or step_size
        if self.kind == "invscaling":
            return float(self.initial / (samples_seen + 1) ** self.power_t)
        return step_size

    def after_plateau(self, step_size: float) -> float | None:
        """The step size to go on with when nothing improves any more, or None to stop."""
        if self.kind == "adaptive" and step_size > _ADAPTIVE_LEAST:
            return step_size / _ADAPTIVE_DIVISOR
        return None
