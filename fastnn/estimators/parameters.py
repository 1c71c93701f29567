"""The parameters of both estimators: names, defaults, and what each may be.

A dataclass declares each parameter once, as a field with its default, and makes the explicit constructor that
scikit-learn reads. A subclass that is a dataclass, too, may add parameters and give others another default.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state

from fastnn.estimators.constraints import constraints
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.option_table import REGRESSOR
from fastnn.training.options import TrainOptions
from fastnn.training.schedule import Schedule


@dataclass(eq=False, repr=False)
class Parameters:
    """The parameters that `MLPClassifier` and `MLPRegressor` share; `MLPClassifier` says what each means."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(REGRESSOR)

    hidden_layer_sizes: Any = (100,)
    activation: Any = "tanh"
    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: Any = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.002
    power_t: float = 0.5
    warmup_epochs: int = 0
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: Any = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: Any = "auto"
    validation_fraction: float = 0.1
    scoring: Any = "loss"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    max_fun: int = 15000
    weight_decay: float = 0.01
    dropout: float = 0.0
    clip_norm: float | None = None
    layer_norm: bool = False
    n_ensemble: int = 1
    dtype: str = "float32"
    n_threads: int | None = None

    def _seed(self, checkpoint: Checkpoint | None = None) -> int:
        """The 64-bit seed of everything that is random.

        The seed is `random_state` itself, or one number drawn from it. Without a `random_state`, a checkpoint that
        exists gives its own seed.
        """
        if self.random_state is None and checkpoint is not None:
            kept = checkpoint.seed()
            if kept is not None:
                return kept
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        random = check_random_state(self.random_state)
        return int(random.randint(0, np.iinfo(np.int64).max, dtype=np.int64))

    def _seed_to_go_on_with(self, earlier: int) -> int:
        """The seed of a training that goes on: `random_state` if it is a number, otherwise the earlier one."""
        return self._seed() if isinstance(self.random_state, Integral) else earlier

    def _options(self, seed: int, n_samples: int | None) -> TrainOptions:
        """The options of a training on this many samples (None if the number isn't known)."""
        if self.batch_size == "auto":
            batch_size = auto_batch_size(n_samples)
        else:
            batch_size = int(self.batch_size)
            if n_samples is not None and batch_size > n_samples:
                warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        for name in ("tol", "power_t"):  # checkpoints know these as they are given
            self._float(name)
        floats = ("momentum", "beta_1", "beta_2", "epsilon", "alpha", "dropout", "clip_norm")
        return TrainOptions(
            **{name: self._float(name) for name in floats},
            solver=self.solver,
            n_threads=self.n_threads,
            step_size=self._float("learning_rate_init"),
            batch_size=batch_size,
            shuffle=bool(self.shuffle),
            seed=seed,
            nesterovs_momentum=bool(self.nesterovs_momentum),
            weight_decay=self._float("weight_decay") if self.solver == "adamw" else 0.0,
            label_smoothing=self._float("label_smoothing") if hasattr(self, "label_smoothing") else 0.0,
        )

    def _float(self, name: str) -> Any:
        """A parameter that is a number, as a float; None stays None."""
        value = getattr(self, name)
        try:
            return None if value is None else float(value)
        except OverflowError:
            raise ValueError(f"{name} is too large for a float: it has {value.bit_length()} bits.") from None

    def _schedule(self) -> Schedule:
        """The schedule of the step size."""
        return Schedule.of_solver(
            self.solver, self.learning_rate, self.learning_rate_init, self.power_t, self.max_iter, self.warmup_epochs
        )


def auto_batch_size(n_samples: int | None) -> int:
    """The meaning of ``batch_size="auto"``: a fiftieth of the samples, from 32 to 200 (docs/quality.md)."""
    return 200 if n_samples is None else min(200, max(32, n_samples // 50), n_samples)


# A warning is about the line that called into these packages; joblib runs the fits of scikit-learn's searches.
_WITHIN = ("fastnn", "sklearn", "joblib")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the caller's own code, however deep within fastnn and scikit-learn the reason is found."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _WITHIN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
