"""The options of a training, checked."""

from __future__ import annotations

from dataclasses import dataclass

from fastnn.training.option_table import checked


@dataclass(frozen=True)
class TrainOptions:
    """How to train: the keywords of `fastnn.train` (which describes them) except epochs, callbacks and checkpoints.

    A value that isn't accepted raises a TypeError or a ValueError.
    """

    solver: str = "sgd"
    step_size: float = 0.1
    batch_size: int = 256
    shuffle: bool = True
    seed: int = 0
    momentum: float = 0.0
    nesterovs_momentum: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    alpha: float = 0.0
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        for name, value in [*vars(self).items()]:
            object.__setattr__(self, name, checked(name, value))
        if self.weight_decay and self.solver != "adamw":
            raise ValueError(f"weight_decay is adamw's, not {self.solver}'s: alpha is the L2 penalty of all solvers.")
        if self.step_size * self.weight_decay >= 1:
            raise ValueError("step_size * weight_decay must be below 1: a step takes that share of each weight away.")

    @property
    def kernel(self) -> str:
        """The solver's name in `fastnn.kernels.equations.solver`, which has names of its own for SGD with momentum."""
        if self.solver != "sgd":
            return "adam"
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"
