"""fastnn, by each of its doors: tables in Python, the command line's defaults, and scikit-learn's estimators.

`fastnn.TableClassifier` and `fastnn.TableRegressor` belong here when they are there: a function for each effort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.quality.entrants.entrant import Conditions, Predict
from benchmarks.quality.tables.splits import Rows

if TYPE_CHECKING:
    import pandas as pd

_TARGET = "target of the benchmark"


def tables(rows: Rows, conditions: Conditions) -> Predict:
    """`fastnn.pipeline.train_batches` with the defaults of its `Plan`."""
    return _trained(rows, conditions)


def command_line(rows: Rows, conditions: Conditions) -> Predict:
    """The same with the defaults of ``fastnn train``."""
    return _trained(rows, conditions, solver="adam", step_size=1e-3, alpha=1e-4)


def _trained(rows: Rows, conditions: Conditions, **options: Any) -> Predict:
    """Train on a table, with some `TrainOptions`."""
    from fastnn.pipeline import Plan, train_batches
    from fastnn.training.options import TrainOptions

    plan = Plan(
        task="regression" if rows.task == "regression" else "classification",
        options=TrainOptions(seed=conditions.seed, n_threads=conditions.threads, **options),
    )
    model = train_batches(rows.X.assign(**{_TARGET: rows.y}), _TARGET, plan).model

    def predict(X: pd.DataFrame) -> np.ndarray:
        return np.asarray(model.predict(X) if rows.task == "regression" else model.predict_proba(X))

    return predict


def estimator(rows: Rows, conditions: Conditions) -> Predict:
    """`MLPClassifier` and `MLPRegressor` with their defaults, on arrays as scikit-learn's MLP gets them."""
    from benchmarks.quality.entrants.arrays import fitted
    from fastnn import MLPClassifier, MLPRegressor

    kind: Any = MLPRegressor if rows.task == "regression" else MLPClassifier
    return fitted(kind(random_state=conditions.seed), rows)
