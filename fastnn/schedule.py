"""How the step size changes between epochs."""

from __future__ import annotations

from dataclasses import dataclass

# scikit-learn's: "adaptive" divides by this much, down to the least.
_ADAPTIVE_DIVISOR = 5.0
_ADAPTIVE_LEAST = 1e-6


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule, as scikit-learn defines it.

    Parameters
    ----------
    kind : {"constant", "invscaling", "adaptive"}
    initial : float
        The first step size.
    power_t : float
        The exponent of "invscaling".
    """

    kind: str = "constant"
    initial: float = 1e-3
    power_t: float = 0.5

    def after_epoch(self, step_size: float, samples_seen: int) -> float:
        """The step size of the next epoch, after `samples_seen` samples in all."""
        if self.kind == "invscaling":
            return float(self.initial / (samples_seen + 1) ** self.power_t)
        return step_size

    def after_plateau(self, step_size: float) -> float | None:
        """The step size to go on with when nothing improves any more, or None to stop."""
        if self.kind == "adaptive" and step_size > _ADAPTIVE_LEAST:
            return step_size / _ADAPTIVE_DIVISOR
        return None
