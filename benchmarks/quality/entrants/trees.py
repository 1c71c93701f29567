"""Gradient-boosted trees with the defaults of their libraries, and with their own handling of categories and holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.quality.entrants.columns import categories, with_few_categories, with_known_categories, with_plain_names
from benchmarks.quality.entrants.entrant import Conditions, Predict
from benchmarks.quality.tables.splits import Rows

if TYPE_CHECKING:
    import pandas as pd

# The most categories that scikit-learn's histograms can tell apart.
_MOST_OF_SKLEARN = 255


def lightgbm(rows: Rows, conditions: Conditions) -> Predict:
    """LightGBM, which treats columns of categories as such."""
    import lightgbm as library

    kind = library.LGBMRegressor if rows.task == "regression" else library.LGBMClassifier
    return _fitted(kind(random_state=conditions.seed, n_jobs=conditions.threads, verbosity=-1), rows)


def xgboost(rows: Rows, conditions: Conditions) -> Predict:
    """XGBoost, asked to treat columns of categories as such."""
    import xgboost as library

    kind = library.XGBRegressor if rows.task == "regression" else library.XGBClassifier
    return _fitted(kind(random_state=conditions.seed, n_jobs=conditions.threads, enable_categorical=True), rows)


def hist_gradient_boosting(rows: Rows, conditions: Conditions) -> Predict:
    """scikit-learn's trees, which treat columns of categories as such; of more than 255 the rarest count as missing."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if rows.task == "regression" else HistGradientBoostingClassifier
    few = rows._replace(X=with_few_categories(rows.X, _MOST_OF_SKLEARN))
    return _fitted(kind(random_state=conditions.seed), few)


def _fitted(model: Any, rows: Rows) -> Predict:
    """Fit an estimator that takes frames with categories."""
    X = with_plain_names(rows.X)
    model.fit(X, rows.y)

    def predict(X_new: pd.DataFrame) -> np.ndarray:
        known = with_known_categories(with_plain_names(X_new), X)
        return np.asarray(model.predict(known) if rows.task == "regression" else model.predict_proba(known))

    return predict


def catboost(rows: Rows, conditions: Conditions) -> Predict:
    """CatBoost, which learns numbers for categories, also for those of text that it hasn't seen."""
    import catboost as library

    kind = library.CatBoostRegressor if rows.task == "regression" else library.CatBoostClassifier
    model = kind(random_seed=conditions.seed, thread_count=conditions.threads, verbose=False, allow_writing_files=False)
    words = categories(rows.X)
    model.fit(_as_text(rows.X, words), rows.y, cat_features=words)

    def predict(X: pd.DataFrame) -> np.ndarray:
        text = _as_text(X, words)
        return np.asarray(model.predict(text) if rows.task == "regression" else model.predict_proba(text))

    return predict


def _as_text(X: pd.DataFrame, words: list[str]) -> pd.DataFrame:
    """The frame with text in place of categories, among them one for missing values, as CatBoost wants it."""
    return X.assign(**{name: X[name].astype(object).where(X[name].notna(), "(missing)") for name in words})
