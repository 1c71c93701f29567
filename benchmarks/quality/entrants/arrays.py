"""Models that need arrays: numbers are standardised, categories one-hot encoded.

Holes in numbers are filled with medians, and marked in columns of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.quality.entrants.columns import categories
from benchmarks.quality.entrants.entrant import Conditions, Predict
from benchmarks.quality.tables.splits import Rows

if TYPE_CHECKING:
    import pandas as pd

# Of a column with more categories, the rarest share a column of the array.
_MOST_CATEGORIES = 100


def as_arrays(X: pd.DataFrame) -> Any:
    """A transformer that learns from a frame how to make arrays of such frames."""
    words = categories(X)
    numbers = [name for name in X if name not in words]
    fill_and_scale = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encode = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=_MOST_CATEGORIES, sparse_output=False, dtype=np.float64
    )
    return make_column_transformer((fill_and_scale, numbers), (encode, words))


def fitted(model: Any, rows: Rows) -> Predict:
    """Fit an estimator on arrays. What a regression learns is standardised."""
    if rows.task == "regression":
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    pipeline = make_pipeline(as_arrays(rows.X), model).fit(rows.X, rows.y)

    def predict(X: pd.DataFrame) -> np.ndarray:
        return np.asarray(pipeline.predict(X) if rows.task == "regression" else pipeline.predict_proba(X))

    return predict


def mlp(rows: Rows, conditions: Conditions) -> Predict:
    """scikit-learn's multilayer perceptron with its defaults."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if rows.task == "regression" else MLPClassifier
    return fitted(kind(random_state=conditions.seed), rows)


def linear(rows: Rows, conditions: Conditions) -> Predict:
    """Logistic regression and ridge regression with scikit-learn's defaults, and iterations enough."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return fitted(Ridge() if rows.task == "regression" else LogisticRegression(max_iter=1000), rows)
