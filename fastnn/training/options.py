"""The options of training, and what each of them may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import check_boolean, check_whole
from fastnn.runtime.threads import check_n_threads


@dataclass(frozen=True)
class TrainOptions:
    """How to train: the solver, its rates, the mini-batches. The names are scikit-learn's, except `step_size`, `seed`.

    Parameters
    ----------
    solver : {"sgd", "adam", "adamw"}
    step_size : float
        scikit-learn's ``learning_rate_init``.
    batch_size : int
        Samples of a mini-batch; the last one of an epoch may be shorter. One that holds all rows isn't shuffled.
    shuffle : bool
        A new order for each epoch; otherwise the rows' own.
    seed : int
        Of the shuffle, from 0 to 2**64 - 1.
    momentum, nesterovs_momentum
        For ``solver="sgd"``.
    beta_1, beta_2, epsilon
        For ``solver="adam"``.
    alpha : float
        The L2 penalty is ``alpha / 2 * sum W**2``, divided by the batch's samples.
    weight_decay : float
        For ``solver="adamw"``: each step first takes ``step_size * weight_decay`` of every weight away (not of biases).
    dropout : float
        The probability that a hidden unit's output is left out of a sample.
    label_smoothing : float
        This share of each target is spread over all classes.
    clip_norm : float, optional
        A batch's gradient is made no longer than this.
    n_threads : int, optional
        The most threads to use; by default all that the process may. The result is the same.
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
        if self.solver not in ("sgd", "adam", "adamw"):
            raise ValueError(f"solver must be 'sgd', 'adam' or 'adamw', got {self.solver!r}.")
        # Plain Python numbers: NumPy's are other types to Numba, and the kernels would be compiled again.
        object.__setattr__(self, "batch_size", check_whole("batch_size", self.batch_size, 1))
        object.__setattr__(self, "seed", check_whole("seed", self.seed, 0))
        for name in ("shuffle", "nesterovs_momentum"):
            object.__setattr__(self, name, check_boolean(name, getattr(self, name)))
        if self.seed >= 2**64:
            raise ValueError(f"seed must be below 2**64, got {self.seed}.")
        positive = {"step_size": self.step_size, "epsilon": self.epsilon}
        if self.clip_norm is not None:
            positive["clip_norm"] = self.clip_norm
        below_one = {name: getattr(self, name) for name in ("beta_1", "beta_2", "dropout", "label_smoothing")}
        _check_range(positive, lambda x: 0 < x < np.inf, "a finite number above 0")
        decays = {"alpha": self.alpha, "weight_decay": self.weight_decay}
        _check_range(decays, lambda x: 0 <= x < np.inf, "a finite number of at least 0")
        _check_range({"momentum": self.momentum}, lambda x: 0 <= x <= 1, "a number from 0 to 1")
        _check_range(below_one, lambda x: 0 <= x < 1, "a number of at least 0 and below 1")
        if self.weight_decay and self.solver != "adamw":
            raise ValueError(f"weight_decay is adamw's, not {self.solver}'s: alpha is the L2 penalty of all solvers.")
        if self.step_size * self.weight_decay >= 1:
            raise ValueError("step_size * weight_decay must be below 1: a step takes that share of each weight away.")
        for name in (*positive, *below_one, *decays, "momentum"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.n_threads is not None:
            check_n_threads(self.n_threads)

    @property
    def kernel(self) -> str:
        """The solver's name in ``kernels.solver``: sgd with momentum is one of its own."""
        if self.solver != "sgd":
            return "adam"
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"


def _check_range(numbers: dict[str, Any], fits: Any, wanted: str) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be {wanted}, got {value!r}.")
        if not fits(value):
            raise ValueError(f"{name} must be {wanted}, got {value}.")
