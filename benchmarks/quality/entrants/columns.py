"""What several entrants do with a frame's columns before they learn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def categories(X: pd.DataFrame) -> list[str]:
    """The names of the columns that are categories."""
    return list(X.select_dtypes("category").columns)


def with_plain_names(X: pd.DataFrame) -> pd.DataFrame:
    """The frame with the names c0, c1, ...: LightGBM and XGBoost refuse some characters in names."""
    return X.set_axis([f"c{i}" for i in range(X.shape[1])], axis=1)


def with_known_categories(X: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The frame with another frame's categories: what that one doesn't have is a missing value."""
    changed = {name: X[name].cat.set_categories(known[name].cat.categories) for name in categories(known)}
    return X.assign(**changed)


def with_few_categories(X: pd.DataFrame, most: int) -> pd.DataFrame:
    """The frame with at most so many categories a column: the most frequent ones. Others are missing values."""
    changed = {}
    for name in categories(X):
        if len(X[name].cat.categories) > most:
            changed[name] = X[name].cat.set_categories(list(X[name].value_counts().index[:most]))
    return X.assign(**changed)
