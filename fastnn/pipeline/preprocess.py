"""From columns to the network's inputs: what is learnt of each column in training, and its application.

Numbers are standardised, and a missing one becomes the mean, with an input beside it that says so if the column had
holes in training. Strings are one-hot encoded: an input for each category learnt, one for all rarer ones
where there were too many, one for "missing" if there were holes. A category never seen is like a rare one, or, where
there were none, all zeros.

Learning takes blocks of rows one after another and never needs the whole data: each kind of column has a class
with `update` and `finish`. For the same bits from every source, cut the rows into blocks of `BLOCK_ROWS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastnn.pipeline.schema import Column, DataError, Schema, ignore_options

BLOCK_ROWS = 65_536
# Beyond that many, an identifier or free text is more likely than a category.
MOST_CATEGORIES = 255


@dataclass(frozen=True)
class NumberColumn:
    """A standardised number: ``(x - mean) / scale``, with an indicator of holes if training had some."""

    kind: ClassVar[str] = "number"

    name: str
    mean: float
    scale: float
    had_missing: bool

    @property
    def inputs(self) -> list[str]:
        return [self.name] + [f"{self.name} is missing"] * self.had_missing

    def write(self, values: pa.Array, out: np.ndarray) -> None:
        """Fill this column's inputs, `out` (n, len(inputs)), from its values."""
        numbers = _as_numbers(self.name, values)
        missing = np.isnan(numbers)
        # A value that float32 can't hold becomes infinite, which is looked for below.
        with np.errstate(over="ignore"):
            numbers = (numbers - self.mean) / self.scale
            numbers[missing] = 0.0  # the mean
            out[:, 0] = numbers
        if not np.isfinite(out[:, 0]).all():
            raise DataError(
                f"Column {self.name!r} holds a value too far from those of training for {out.dtype} "
                f"(mean {self.mean:g}, deviation {self.scale:g})."
            )
        if self.had_missing:
            out[:, 1] = missing


@dataclass(frozen=True)
class CategoryColumn:
    """A one-hot encoded string."""

    kind: ClassVar[str] = "category"

    name: str
    categories: tuple[str, ...]
    had_rare: bool
    had_missing: bool

    @property
    def inputs(self) -> list[str]:
        known = [f"{self.name}={category}" for category in self.categories]
        return known + [f"{self.name} is rare"] * self.had_rare + [f"{self.name} is missing"] * self.had_missing

    def write(self, values: pa.Array, out: np.ndarray) -> None:
        """Fill this column's inputs, `out` (n, len(inputs)), from its values."""
        strings = _as_strings(values)
        codes = pc.index_in(strings, value_set=pa.array(self.categories, pa.large_string()))
        place = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.intp)
        missing = strings.is_null().to_numpy(zero_copy_only=False)
        if self.had_rare:
            place[(place < 0) & ~missing] = len(self.categories)
        if self.had_missing:
            place[missing] = len(self.categories) + self.had_rare
        out[:] = 0
        rows = np.flatnonzero(place >= 0)
        out[rows, place[rows]] = 1


@dataclass
class NumberStatistics:
    """Count, mean, sum of squared deviations and range of a column of numbers, block by block.

    Blocks are merged as Chan, Golub and LeVeque do, and everything is measured from the first value, `pivot`: a mean of
    1e9 with a deviation of 1 has only seven digits left for the deviation.
    """

    name: str
    count: int = 0
    pivot: float = 0.0
    mean: float = 0.0  # from the pivot
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    had_missing: bool = False

    def update(self, values: pa.Array) -> None:
        """Take a block of the column into account."""
        numbers = _as_numbers(self.name, values)
        known = numbers[~np.isnan(numbers)]
        self.had_missing |= len(known) < len(numbers)
        if not len(known):
            return
        pivot = self.pivot if self.count else float(known[0])
        with np.errstate(over="ignore", invalid="ignore"):  # looked for in `finish`
            shifted = known - pivot
            mean = float(shifted.mean())
            deviations = shifted - mean
            # The second term makes up for the rounding of the mean.
            squares = float(np.sum(deviations**2) - np.sum(deviations) ** 2 / len(known))
        low, high = float(known.min()), float(known.max())
        self.merge(NumberStatistics(self.name, len(known), pivot, mean, squares, low, high))

    def merge(self, other: NumberStatistics) -> None:
        """Take what another object learnt of other rows into account."""
        self.had_missing |= other.had_missing
        if not other.count:
            return
        if not self.count:
            self.pivot = other.pivot
        count = self.count + other.count
        with np.errstate(over="ignore", invalid="ignore"):
            step = np.float64(other.pivot) - self.pivot + (np.float64(other.mean) - self.mean)
            self.mean = float(self.mean + step * (other.count / count))
            self.squares = float(self.squares + other.squares + step * step * (self.count * (other.count / count)))
        self.count = count
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def finish(self) -> NumberColumn:
        """What the model keeps; DataError if there was no value, or they are too large."""
        if not self.count:
            raise _no_values(self.name)
        if self.low == self.high:
            # Exactly: summing makes of a constant 0.1 something that varies.
            return NumberColumn(self.name, self.low, 1.0, self.had_missing)
        mean, scale = self.pivot + self.mean, float(np.sqrt(max(self.squares, 0.0) / self.count))
        if not np.isfinite(mean) or not np.isfinite(scale):
            largest = max(abs(self.low), abs(self.high))
            raise DataError(f"Column {self.name!r} holds numbers too large to standardise: up to {largest:g}.")
        return NumberColumn(self.name, mean, scale or 1.0, self.had_missing)


@dataclass
class CategoryStatistics:
    """How often each string of a column occurs, block by block."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    had_missing: bool = False

    def update(self, values: pa.Array) -> None:
        """Take a block of the column into account."""
        strings = _as_strings(values)
        self.had_missing |= strings.null_count > 0
        for entry in pc.value_counts(strings.drop_null()).to_pylist():
            self.counts[entry["values"]] += entry["counts"]

    def merge(self, other: CategoryStatistics) -> None:
        """Take what another object learnt of other rows into account."""
        self.had_missing |= other.had_missing
        self.counts.update(other.counts)

    def finish(self) -> CategoryColumn:
        """What the model keeps: the most frequent categories, in alphabetical order; DataError if there was none."""
        if not self.counts:
            raise _no_values(self.name)
        frequent = sorted(self.counts, key=lambda category: (-self.counts[category], category))[:MOST_CATEGORIES]
        return CategoryColumn(self.name, tuple(sorted(frequent)), len(frequent) < len(self.counts), self.had_missing)


@dataclass(frozen=True)
class Preprocessor:
    """The learnt columns of a schema, in its order; together they make the rows that the network reads."""

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @classmethod
    def learn(cls, schema: Schema, batches: Iterable[pa.RecordBatch]) -> Preprocessor:
        """Learn from batches of rows.

        Parameters
        ----------
        schema : Schema
            The columns to learn, all of which each batch has.
        batches : iterable of pyarrow.RecordBatch
            Read once.

        Raises
        ------
        DataError
            If a column holds infinite numbers, or no value at all.
        """
        learners: list[NumberStatistics | CategoryStatistics] = [
            NumberStatistics(column.name) if column.kind == "number" else CategoryStatistics(column.name)
            for column in schema.columns
        ]
        for batch in batches:
            for learner in learners:
                learner.update(batch.column(learner.name))
        return cls(tuple(learner.finish() for learner in learners))

    @property
    def inputs(self) -> list[str]:
        """The names of the network's inputs, in order."""
        return [name for column in self.columns for name in column.inputs]

    def transform(self, batch: pa.RecordBatch, dtype: np.dtype[Any]) -> np.ndarray:
        """The network's input rows.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Rows that the schema has checked.
        dtype : dtype
            float32 or float64.

        Returns
        -------
        ndarray, shape (n, n_inputs)

        Raises
        ------
        DataError
            If a number is infinite, or too large for the dtype.
        """
        out = np.empty((batch.num_rows, len(self.inputs)), dtype)
        start = 0
        for column in self.columns:
            stop = start + len(column.inputs)
            column.write(batch.column(column.name), out[:, start:stop])
            start = stop
        return out

    def description(self) -> list[dict[str, Any]]:
        """What isn't in `tensors`, in JSON's terms."""
        described = []
        for column in self.columns:
            entry = {"kind": column.kind, **asdict(column)}
            for number in ("mean", "scale"):
                entry.pop(number, None)
            described.append(entry)
        return described

    def tensors(self) -> dict[str, np.ndarray]:
        """Means and scales of the numbers, in order, as float64 arrays."""
        numbers = [column for column in self.columns if isinstance(column, NumberColumn)]
        return {
            "mean": np.array([column.mean for column in numbers], np.float64),
            "scale": np.array([column.scale for column in numbers], np.float64),
        }

    @classmethod
    def from_parts(cls, tensors: Mapping[str, np.ndarray], description: Sequence[Mapping[str, Any]]) -> Preprocessor:
        """What `tensors` and `description` came from; KeyError, TypeError or ValueError if they don't fit."""
        numbers = zip(tensors["mean"].tolist(), tensors["scale"].tolist(), strict=True)
        columns: list[NumberColumn | CategoryColumn] = []
        for entry in description:
            values = dict(entry)
            if values.pop("kind") == "number":
                mean, scale = next(numbers, (np.nan, np.nan))
                columns.append(NumberColumn(mean=mean, scale=scale, **values))
            else:
                columns.append(CategoryColumn(**{**values, "categories": tuple(values["categories"])}))
        if next(numbers, None) is not None or not all(_usable(column) for column in columns):
            raise ValueError("the statistics of the columns don't fit their description")
        return cls(tuple(columns))


def _usable(column: NumberColumn | CategoryColumn) -> bool:
    if isinstance(column, NumberColumn):
        return bool(np.isfinite(column.mean) and np.isfinite(column.scale) and column.scale > 0)
    return all(isinstance(category, str) for category in column.categories)


def _as_numbers(name: str, values: pa.Array) -> np.ndarray:
    """The values as a new float64 array, NaN for what is missing; DataError if one is infinite."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    # Not safe: of an integer beyond 2**53 the nearest float is good enough.
    numbers = pc.fill_null(values.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    if np.isinf(numbers).any():
        raise DataError(f"Column {name!r} holds an infinite value.")
    checked: np.ndarray = numbers
    return checked


def _as_strings(values: pa.Array) -> pa.Array:
    """The values as large_string, null for what is missing; an empty string is how CSV says that."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    strings = values.cast(pa.large_string())
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.large_string()), strings)


def _no_values(name: str) -> DataError:
    return DataError(
        f"Column {name!r} has no values to learn from. Leave it out: {ignore_options([Column(name, 'number', '')])}"
    )
