"""Parts of a data set to train on and to test on, by a seed: 70 % and 30 %, the classes in equal proportions.

A data set with a column of groups is split by groups, so that no person, say, is in both parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from benchmarks.quality.tables.loading import Data

if TYPE_CHECKING:
    import pandas as pd

# A result is a mean over this many splits, whose seeds are 0, 1, ...
SPLITS = 5
TEST_SHARE = 0.3
# Of larger data sets, this many rows are drawn with the split's seed.
MOST_ROWS = 30_000


class Rows(NamedTuple):
    """Rows of a data set.

    Attributes
    ----------
    task : {"binary", "multiclass", "regression"}
        What is predicted.
    n_classes : int
        The number of classes, 0 for a regression.
    X : DataFrame
        The columns: float64 for numbers and ``category`` for everything else.
    y : ndarray, shape (n,)
        The rows' numbers, or the indices of their classes.
    """

    task: str
    n_classes: int
    X: pd.DataFrame
    y: np.ndarray


class Split(NamedTuple):
    """The rows to train on, and those to test on."""

    train: Rows
    test: Rows


def split(data: Data, seed: int, most_rows: int = MOST_ROWS) -> Split:
    """The data set's split of a seed. Classes are numbered anew if the rows drawn don't have all of them."""
    train, test = _parts(data, _drawn(len(data.y), seed, most_rows), seed)
    y, y_test, n_classes = data.y[train], data.y[test], 0
    if data.task != "regression":
        # A class without rows to learn it from cannot be predicted: a split by groups may leave one over.
        classes = np.unique(y)
        seen = np.isin(y_test, classes)
        test, y_test = test[seen], y_test[seen]
        y, y_test, n_classes = np.searchsorted(classes, y), np.searchsorted(classes, y_test), len(classes)
    return Split(
        Rows(data.task, n_classes, _own_categories(data.X.iloc[train]), y),
        Rows(data.task, n_classes, _own_categories(data.X.iloc[test]), y_test),
    )


def _drawn(n: int, seed: int, most_rows: int) -> np.ndarray:
    """The rows that are used, in their own order."""
    if n <= most_rows:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:most_rows])


def _parts(data: Data, kept: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on and those to test on, both in a random order."""
    if data.groups is not None:
        splitter = GroupShuffleSplit(1, test_size=TEST_SHARE, random_state=seed)
        train, test = next(splitter.split(kept, groups=data.groups[kept]))
        return np.random.default_rng(seed).permutation(kept[train]), kept[test]
    stratify = None if data.task == "regression" else data.y[kept]
    train, test = train_test_split(kept, test_size=TEST_SHARE, random_state=seed, stratify=stratify)
    return train, test


def _own_categories(X: pd.DataFrame) -> pd.DataFrame:
    """The rows with a fresh index, and with the categories that occur in them only, as from a file of their own."""
    X = X.reset_index(drop=True)
    words = X.select_dtypes("category").columns
    return X.assign(**{name: X[name].cat.remove_unused_categories() for name in words})
