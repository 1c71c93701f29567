"""Entrants of the package pytabkit: trees and networks with defaults that were tuned on many other data sets (TD).

They stop early by the loss that the benchmark measures. (Without asking, classifiers stop by accuracy, which is worse
for log-loss; so is RealMLP's label smoothing, as its authors say.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.quality.entrants.columns import categories
from benchmarks.quality.entrants.entrant import Conditions, Predict
from benchmarks.quality.tables.splits import Rows

if TYPE_CHECKING:
    import pandas as pd


def lightgbm(rows: Rows, conditions: Conditions) -> Predict:
    """LightGBM with tuned defaults: up to 1,000 trees, stopped early on a fifth of the rows."""
    return _fitted("LGBM_TD", rows, conditions)


def catboost(rows: Rows, conditions: Conditions) -> Predict:
    """CatBoost with tuned defaults: up to 1,000 trees, stopped early on a fifth of the rows."""
    return _fitted("CatBoost_TD", rows, conditions)


def realmlp(rows: Rows, conditions: Conditions) -> Predict:
    """RealMLP with tuned defaults: one network, 256 epochs."""
    return _fitted("RealMLP_TD", rows, conditions, **({} if rows.task == "regression" else {"use_ls": False}))


def tabm(rows: Rows, conditions: Conditions) -> Predict:
    """TabM-mini with piecewise-linear embeddings, the variant that its authors recommend."""
    return _fitted("TabM_D", rows, conditions, arch_type="tabm-mini", num_emb_type="pwl", batch_size="auto")


def _fitted(family: str, rows: Rows, conditions: Conditions, **further: Any) -> Predict:
    """Fit pytabkit's estimator of a family, on frames whose holes in numbers are filled."""
    import pytabkit

    regression = rows.task == "regression"
    kind = getattr(pytabkit, f"{family}_{'Regressor' if regression else 'Classifier'}")
    if not regression:
        further["val_metric_name"] = "cross_entropy"
    model = kind(device="cpu", random_state=conditions.seed, n_threads=conditions.threads, **further)
    medians = rows.X.select_dtypes("number").median()
    model.fit(_without_holes(rows.X, medians), rows.y, cat_col_names=categories(rows.X))

    def predict(X: pd.DataFrame) -> np.ndarray:
        full = _without_holes(X, medians)
        return np.asarray(model.predict(full) if regression else model.predict_proba(full))

    return predict


def _without_holes(X: pd.DataFrame, medians: pd.Series) -> pd.DataFrame:
    """The frame with medians in the holes of numbers, which pytabkit refuses, and with marks where they were."""
    import pandas as pd

    marks = X[medians.index].isna().add_prefix("missing: ").astype(np.float64)
    return pd.concat([X.fillna(medians.fillna(0.0).to_dict()), marks], axis=1)
