"""What a model keeps of each column that it has learnt, and how a model file describes it.

`statistics` learns these from a table; `encoding` makes the network's inputs with them, and `drift` compares with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.errors import is_whole
from fastnn.kernels.arrays import Array
from fastnn.pipeline.columns.values import codes_of, numbers_of


@dataclass(frozen=True)
class _Column:
    """What a model keeps of a column of any kind.

    Attributes
    ----------
    name : str
        The column's name.
    indicator : bool
        Whether an additional input says that the value is missing.
    shares : tuple of float
        The share of training's rows in each of the column's bins, for `drift`. The last bin is that of missing values.
    """

    name: str
    indicator: bool
    shares: tuple[float, ...]


@dataclass(frozen=True)
class NumberColumn(_Column):
    """A number, a date or a boolean, which becomes the input ``(x - centre) * (1 / scale)``.

    Attributes
    ----------
    kind : {"number", "date", "boolean"}
        How the column is used.
    centre, scale : float
        The mean and the standard deviation; 0 and 1 if the column isn't standardised.
    fill : float
        The value that replaces a missing one, before standardisation.
    edges : tuple of float
        The numbers that divide the column's range into bins: up to the first edge, up to the second, ..., above the
        last edge.
    knots : tuple of float
        The ends of the bins of the piecewise-linear encoding, which rise; empty if the column has no such encoding.
    """

    kind: Literal["number", "date", "boolean"]
    centre: float
    scale: float
    fill: float
    edges: tuple[float, ...]
    knots: tuple[float, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs that the column makes."""
        bins = [f"{self.name}, bin {i + 1}" for i in range(self.n_bins)]
        return [self.name, *bins] + [f"{self.name} is missing"] * self.indicator

    @property
    def n_bins(self) -> int:
        """The number of bins of the piecewise-linear encoding."""
        return max(0, len(self.knots) - 1)

    def values(self, values: pa.Array) -> Array:
        """The values as numbers, NaN where they are missing."""
        return numbers_of(values)

    def bins(self, values: Array) -> NDArray[np.intp]:
        """The bin of each of these numbers, as an index of `shares`."""
        return bins_of(self.edges, values)


@dataclass(frozen=True)
class CategoryColumn(_Column):
    """A category, which is one-hot encoded. Its bins are its categories, and one more for all other categories.

    Attributes
    ----------
    categories : tuple of str
        The categories that have inputs of their own.
    other : bool
        Whether all other categories share an input.
    """

    kind: ClassVar[Literal["category"]] = "category"

    categories: tuple[str, ...]
    other: bool

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs that the column makes."""
        known = [f"{self.name}={category}" for category in self.categories]
        return known + [f"{self.name} is rare"] * self.other + [f"{self.name} is missing"] * self.indicator

    def values(self, values: pa.Array) -> Array:
        """The index of each value's category: -1 for other categories, NaN where the value is missing."""
        return codes_of(values, self.categories)

    def bins(self, values: Array) -> NDArray[np.intp]:
        """The bin of each of these category indices, as an index of `shares`."""
        n = len(self.categories)
        found: NDArray[np.intp] = np.where(np.isnan(values), n + 1, np.where(values < 0, n, values)).astype(np.intp)
        return found


LearntColumn = NumberColumn | CategoryColumn


def bins_of(edges: Sequence[float] | Array, values: Array) -> NDArray[np.intp]:
    """The bin of each value: up to the first edge, up to the second, ..., above the last edge, missing."""
    # NaN is sorted after everything.
    found: NDArray[np.intp] = np.searchsorted([*edges, np.inf], values)
    return found


def description_of(columns: Sequence[LearntColumn]) -> list[dict[str, Any]]:
    """The columns as JSON can express them, without what is in `tensors_of`."""
    described: list[dict[str, Any]] = []
    for column in columns:
        entry = {"kind": column.kind, "name": column.name, "indicator": column.indicator}
        if isinstance(column, NumberColumn):
            knots = {"n_knots": len(column.knots)} if column.knots else {}  # which earlier versions didn't have
            described.append({**entry, "n_edges": len(column.edges), **knots})
        else:
            described.append({**entry, "categories": list(column.categories), "other": column.other})
    return described


def tensors_of(columns: Sequence[LearntColumn]) -> dict[str, np.ndarray]:
    """The columns' numbers, in order, as float64 arrays.

    Columns of numbers, dates and booleans have ``centre``, ``scale``, ``fill`` and ``edges``, and some have ``knots``;
    all have ``shares``.
    """
    numbers = [column for column in columns if isinstance(column, NumberColumn)]
    knots = np.array([knot for column in numbers for knot in column.knots], np.float64)
    return {
        **({"knots": knots} if len(knots) else {}),
        "centre": np.array([column.centre for column in numbers], np.float64),
        "scale": np.array([column.scale for column in numbers], np.float64),
        "fill": np.array([column.fill for column in numbers], np.float64),
        "edges": np.array([edge for column in numbers for edge in column.edges], np.float64),
        "shares": np.array([share for column in columns for share in column.shares], np.float64),
    }


def columns_from_parts(
    tensors: Mapping[str, np.ndarray], description: Sequence[Mapping[str, Any]]
) -> tuple[LearntColumn, ...]:
    """The columns that `tensors_of` and `description_of` described.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the parts don't describe columns, or don't fit together.
    """
    if "shares" not in tensors:
        raise ValueError("there are no reference statistics: another version of fastnn wrote the file, train again")
    parts = {name: _Reader(name, tensors[name]) for name in ("centre", "scale", "fill", "edges", "shares")}
    parts["knots"] = _Reader("knots", tensors.get("knots", np.empty(0)))
    columns = tuple(_read_column(entry, parts) for entry in description)
    for part in parts.values():
        part.finish()
    if not columns or len({column.name for column in columns}) < len(columns):
        raise ValueError("there are no columns, or two with the same name")
    return columns


class _Reader:
    """The numbers of a tensor, which are taken from front to back.

    Raises
    ------
    ValueError
        If the tensor isn't one row of finite float64 numbers, or has too few or too many of them.
    """

    def __init__(self, name: str, tensor: np.ndarray) -> None:
        if tensor.dtype != np.float64 or tensor.ndim != 1 or not np.isfinite(tensor).all():
            raise ValueError(f"{name!r} isn't a row of finite numbers of float64")
        self._name = name
        self._left = tensor.tolist()[::-1]

    def take(self, n: int) -> tuple[float, ...]:
        """The next `n` numbers."""
        if n > len(self._left):
            raise ValueError(f"{self._name!r} has too few numbers")
        return tuple(self._left.pop() for _ in range(n))

    def finish(self) -> None:
        """Check that no number is left."""
        if self._left:
            raise ValueError(f"{self._name!r} has too many numbers")


def _read_column(entry: Mapping[str, Any], parts: Mapping[str, _Reader]) -> LearntColumn:
    values = dict(entry)
    kind, name, indicator = values.pop("kind"), values.pop("name"), values.pop("indicator")
    if not isinstance(name, str) or not isinstance(indicator, bool):
        raise TypeError("a column has no name, or no indicator")
    column: LearntColumn
    if kind == "category":
        categories, other = values.pop("categories"), values.pop("other")
        if not isinstance(categories, list) or not all(isinstance(each, str) and each for each in categories):
            raise TypeError(f"the categories of {name!r} aren't a list of words")
        if not categories or len(set(categories)) < len(categories) or not isinstance(other, bool):
            raise ValueError(f"{name!r} has no categories, or one twice, or no word on whether others share an input")
        shares = parts["shares"].take(len(categories) + 2)
        column = CategoryColumn(name, indicator, shares, tuple(categories), other)
    elif kind in ("number", "date", "boolean"):
        n_edges, n_knots = values.pop("n_edges"), values.pop("n_knots", 0)
        if not is_whole(n_edges, least=0) or not is_whole(n_knots, least=0):
            raise TypeError(f"{name!r} has no number of edges, or of knots")
        (centre,), (scale,), (fill,) = (parts[part].take(1) for part in ("centre", "scale", "fill"))
        edges, shares = parts["edges"].take(n_edges), parts["shares"].take(n_edges + 2)
        knots = parts["knots"].take(n_knots)
        if scale < np.finfo(np.float64).tiny or not all(np.diff(edges) > 0) or not all(np.diff(knots) > 0):
            raise ValueError(f"the scale of {name!r} isn't positive, or its edges or knots don't increase")
        column = NumberColumn(name, indicator, shares, kind, centre, scale, fill, edges, knots)
    else:
        raise ValueError(f"{name!r} is of unknown kind {kind!r}")
    if values:
        raise TypeError(f"{name!r} has unknown parts: {sorted(values)}")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"the shares of {name!r} don't add up to 1")
    return column
