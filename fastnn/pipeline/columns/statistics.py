"""The streaming pass: what `Preprocessor` needs to know of a table's columns, block of rows by block of rows.

Everything can be learnt of parts of the rows in any order and merged. Memory is bounded: moments are a few numbers for
each column, categories are counted up to a limit, and medians and bins come from a uniform sample of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.equations.shuffle import random_bits
from fastnn.pipeline.columns.arrays import arrow_of, numbers_in
from fastnn.pipeline.columns.options import ColumnOptions
from fastnn.pipeline.columns.preprocess import CategoryColumn, LearntColumn, NumberColumn, Preprocessor, bins_of
from fastnn.pipeline.columns.schema import Column, DataError, Schema, ignore_options
from fastnn.pipeline.columns.values import chunks, numbers_of, texts_of

# Beyond that many, an identifier or free text is more likely than a category.
MOST_CATEGORIES = 255
# And beyond that many it is certain: a million strings take 170 MB.
MOST_COUNTED = 1_000_000
SAMPLE_ROWS = 65_536
# Numbers of a sample, unless it is of few rows: 32 MB.
_SAMPLE_NUMBERS, _FEW_ROWS = 1 << 22, 4096
# Of the sample's own: not that of a seed's split or shuffle.
_SAMPLE_KEY = np.uint64(0x5A6D_706C_652D_726F)

Float64 = NDArray[np.float64]


class Moments:
    """Count, mean, sum of squared deviations and range of columns of numbers, NaN left out.

    Chunks are merged as Chan, Golub and LeVeque (1979) do, and everything is measured from a column's first value, the
    pivot: a mean of 1e9 with a deviation of 1 has only seven digits left for the deviation.
    """

    def __init__(self, n_columns: int) -> None:
        self.rows = 0
        self.count = np.zeros(n_columns)
        self.pivot = np.zeros(n_columns)
        self.mean = np.zeros(n_columns)  # from the pivot
        self.squares = np.zeros(n_columns)
        self.low = np.full(n_columns, np.inf)
        self.high = np.full(n_columns, -np.inf)

    @classmethod
    def of(cls, values: Float64, pivot: Float64) -> Self:
        """Those of a chunk, shape (n_columns, n)."""
        found = cls(len(values))
        found.rows, found.pivot = values.shape[1], pivot
        missing = np.isnan(values)
        holes = bool(missing.any())
        found.count += found.rows - missing.sum(1) if holes else found.rows
        known = np.maximum(found.count, 1)
        deviations = values - pivot[:, None]
        if holes:
            deviations[missing] = 0
        found.mean = deviations.sum(1) / known
        deviations -= found.mean[:, None]
        if holes:
            deviations[missing] = 0
        # The second term makes up for the rounding of the mean.
        found.squares = np.einsum("ij,ij->i", deviations, deviations) - deviations.sum(1) ** 2 / known
        # These leave NaN out.
        found.low = np.fmin(np.fmin.reduce(values, axis=1), np.inf)
        found.high = np.fmax(np.fmax.reduce(values, axis=1), -np.inf)
        return found

    def update(self, values: Float64) -> None:
        """Take a chunk of rows into account, shape (n_columns, n)."""
        if not values.shape[1]:
            return
        pivot = self.pivot
        if not self.count.all():
            known = ~np.isnan(values)
            first = values[np.arange(len(values)), known.argmax(1)]
            pivot = np.where((self.count == 0) & known.any(1), first, pivot)
        with np.errstate(over="ignore", invalid="ignore"):  # looked for in `finish`
            self.merge(Moments.of(values, pivot))

    def merge(self, other: Moments) -> None:
        """Take what another object learnt of other rows into account."""
        self.rows += other.rows
        pivot = np.where(self.count > 0, self.pivot, other.pivot)
        count = self.count + other.count
        share = np.where(other.count > 0, other.count / np.maximum(count, 1), 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            step = other.pivot - pivot + (other.mean - self.mean)
            self.mean = self.mean + step * share
            self.squares = self.squares + other.squares + step * step * (self.count * share)
        self.count, self.pivot = count, pivot
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    def standard(self, column: int, name: str) -> tuple[float, float]:
        """Mean and standard deviation of a column that has values, or 1 for one that is constant."""
        low, high = float(self.low[column]), float(self.high[column])
        if low == high:
            return low, 1.0  # exactly: summing makes of a constant 0.1 something that varies
        mean = float(self.pivot[column] + self.mean[column])
        scale = float(np.sqrt(max(self.squares[column], 0.0) / self.count[column]))
        if not np.isfinite(mean) or not np.isfinite(scale):
            largest = max(abs(low), abs(high))
            raise DataError(f"Column {name!r} holds numbers too large to standardise: up to {largest:g}.")
        # What is less has no reciprocal.
        return mean, scale if scale > np.finfo(np.float64).tiny else 1.0


@dataclass
class CategoryCounts:
    """How often each category of a column occurs; of others than the wanted ones, where any are, how many there are."""

    name: str
    wanted: tuple[str, ...] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    missing: int = 0

    def update(self, values: pa.Array, keep: NDArray[np.bool_] | None = None) -> None:
        """Take a block of the column into account, of all rows or of those to keep."""
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        places = numbers_in(pc.fill_null(values.indices.cast(pa.int64()), -1))
        if keep is not None:
            places = places[keep]
        # The first of these counts what is missing.
        occur = np.bincount(places + 1, minlength=1)
        self.rows += len(places)
        self.missing += int(occur[0])
        present = np.flatnonzero(occur[1:])
        categories = texts_of(values.dictionary).take(arrow_of(present)).to_pylist()
        for category, n in zip(categories, occur[1:][present].tolist(), strict=True):
            if category is None:
                self.missing += n
            elif self.wanted is None or category in self.wanted:
                self.counts[category] += n
        self._check()

    def merge(self, other: CategoryCounts) -> None:
        """Take what another object learnt of other rows into account."""
        self.rows += other.rows
        self.missing += other.missing
        self.counts.update(other.counts)
        self._check()

    def finish(self, options: ColumnOptions) -> CategoryColumn:
        """What the model keeps: the wanted or the most frequent categories, the latter in alphabetical order."""
        known = self.rows - self.missing
        if not known:
            raise _no_values(self.name)
        if self.wanted is None:
            most = options.max_categories or MOST_CATEGORIES
            frequent = sorted(self.counts, key=lambda category: (-self.counts[category], category))[:most]
            categories = tuple(sorted(frequent))
        else:
            categories = self.wanted
        occur = [self.counts[category] for category in categories]
        others = known - sum(occur)
        shares = tuple(n / self.rows for n in (*occur, others, self.missing))
        indicator = self.missing > 0 if options.indicator is None else options.indicator
        return CategoryColumn(self.name, categories, others > 0, indicator, shares)

    def _check(self) -> None:
        if len(self.counts) > MOST_COUNTED:
            column = Column(self.name, "category", "", "text")
            raise DataError(
                f"Column {self.name!r} has more than {MOST_COUNTED:,} different values, like an identifier. "
                f"Leave it out: {ignore_options([column])}. Or list the categories that count."
            )


class RowSample:
    """A uniform sample of rows: those with the least hashes of their positions in the whole data.

    So it is the same however the rows are cut and in whatever order they come, and samples of parts can be merged. It
    has all rows where they are no more than its size.
    """

    def __init__(self, n_columns: int) -> None:
        self.size = min(SAMPLE_ROWS, max(_FEW_ROWS, _SAMPLE_NUMBERS // max(1, n_columns)))
        self._hashes = [np.zeros(0, np.uint64)]
        self._values = [np.zeros((n_columns, 0))]
        self._highest: np.uint64 | None = None  # of those that are kept for good

    def select(
        self, n_rows: int, first_row: int, keep: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], Array]:
        """Which of these rows may belong to the sample, and their hashes."""
        hashes = random_bits(_SAMPLE_KEY, np.arange(first_row, first_row + n_rows, dtype=np.uint64))
        wanted = np.ones(n_rows, np.bool_) if keep is None else keep
        if self._highest is not None:
            wanted = wanted & (hashes < self._highest)
        rows = np.flatnonzero(wanted)
        if len(rows) > self.size:
            rows = rows[hashes[rows] <= np.partition(hashes[rows], self.size - 1)[self.size - 1]]
        return rows, hashes[rows]

    def add(self, hashes: Array, values: Float64) -> None:
        """Add rows that were selected; values of shape (n_columns, n)."""
        if not len(hashes):
            return
        self._hashes.append(hashes)
        self._values.append(values)
        if sum(map(len, self._hashes)) > 2 * self.size:
            self._settle()

    def merge(self, other: RowSample) -> None:
        """Add another sample, of other rows."""
        other._settle()
        self.add(other._hashes[0], other._values[0])

    def values(self) -> Float64:
        """The sample, shape (n_columns, n), in no particular order."""
        self._settle()
        return self._values[0]

    def _settle(self) -> None:
        hashes = np.concatenate(self._hashes)
        if len(hashes) >= self.size:
            self._highest = np.partition(hashes, self.size - 1)[self.size - 1]
            kept = np.flatnonzero(hashes <= self._highest)  # no two rows have the same: the hash is a permutation
        else:
            kept = np.arange(len(hashes))
        values = np.empty((len(self._values[0]), len(kept)))
        for column, row in enumerate(values):  # one by one, for the memory's sake
            np.concatenate([part[column] for part in self._values]).take(kept, out=row)
        self._hashes, self._values = [hashes[kept]], [values]


class TableStatistics:
    """What is learnt of a table's columns, block by block; see `finish`.

    Parameters
    ----------
    schema : Schema
        The columns to learn, all of which each batch has.
    options : mapping of str to ColumnOptions, optional
        What is said of single columns.

    Notes
    -----
    `merge` gives the moments of all rows up to the last bits of rounding, whatever the order, and all else exactly.
    """

    def __init__(self, schema: Schema, options: Mapping[str, ColumnOptions] | None = None) -> None:
        self.schema = schema
        self._options = [(options or {}).get(column.name, ColumnOptions()) for column in schema.columns]
        self._numbers = [column.name for column in schema.columns if column.kind != "category"]
        self._moments = Moments(len(self._numbers))
        self._sample = RowSample(len(self._numbers))
        self._counts = {
            column.name: CategoryCounts(column.name, options.categories)
            for column, options in zip(schema.columns, self._options, strict=True)
            if column.kind == "category"
        }

    def update(self, batch: pa.RecordBatch, first_row: int, keep: NDArray[np.bool_] | None = None) -> None:
        """Take rows into account.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
        first_row : int
            The position of its first row in the whole data. It decides which rows are sampled.
        keep : ndarray of bool, shape (n,), optional
            Which rows to take into account; by default all.

        Raises
        ------
        DataError
            If a number is infinite, or a column has too many categories to count.
        """
        if self._numbers:
            columns = [numbers_of(batch.column(name)) for name in self._numbers]
            for chunk in chunks(columns, batch.num_rows, keep):
                self._moments.update(chunk.values[:, : chunk.n])
            infinite = np.isposinf(self._moments.high) | np.isneginf(self._moments.low)
            if infinite.any():
                raise DataError(f"Column {self._numbers[int(infinite.argmax())]!r} holds an infinite value.")
            rows, hashes = self._sample.select(batch.num_rows, first_row, keep)
            self._sample.add(hashes, np.array([column[rows] for column in columns], np.float64))
        for name, counts in self._counts.items():
            counts.update(batch.column(name), keep)

    def merge(self, other: TableStatistics) -> None:
        """Take what another object learnt of other rows into account."""
        self._moments.merge(other._moments)
        self._sample.merge(other._sample)
        for name, counts in self._counts.items():
            counts.merge(other._counts[name])

    def finish(self) -> Preprocessor:
        """What the model keeps.

        Raises
        ------
        DataError
            If a column has no value at all, or numbers too large to standardise.
        """
        sample = iter(self._sample.values())
        columns: list[LearntColumn] = []
        place = 0
        for column, options in zip(self.schema.columns, self._options, strict=True):
            if column.kind == "category":
                columns.append(self._counts[column.name].finish(options))
            else:
                columns.append(self._number(column, options, place, next(sample)))
                place += 1
        return Preprocessor(tuple(columns))

    def _number(self, column: Column, options: ColumnOptions, place: int, sample: Float64) -> NumberColumn:
        moments = self._moments
        assert column.kind != "category"
        if not moments.count[place]:
            raise _no_values(column.name)
        mean, scale = moments.standard(place, column.name)
        known = np.sort(sample[~np.isnan(sample)])
        # A column with values in few rows may have none in the sample.
        fill = float(np.median(known)) if options.impute == "median" and len(known) else mean
        standardise = column.kind != "boolean" if options.standardise is None else options.standardise
        missing = moments.rows - moments.count[place]
        indicator = bool(missing > 0) if options.indicator is None else options.indicator
        edges = deciles(known)
        bins = np.bincount(bins_of(edges, known), minlength=len(edges) + 1) if len(known) else np.ones(1)
        known_share = float(moments.count[place] / moments.rows)
        shares = (*(bins / bins.sum() * known_share).tolist(), 1 - known_share)
        return NumberColumn(
            column.name,
            column.kind,
            mean if standardise else 0.0,
            scale if standardise else 1.0,
            fill,
            indicator,
            tuple(edges.tolist()),
            shares,
        )


def deciles(known: Float64) -> Float64:
    """The edges that cut sorted numbers into ten bins of the same size, or fewer where many are equal.

    A bin reaches up to its upper edge. Where the least number is an edge, what is below it has a bin of its own, like
    what is above a greatest number that is one: a constant that changes is seen in both directions.
    """
    if not len(known):
        return known
    edges = np.unique(np.quantile(known, np.arange(1, 10) / 10, method="inverted_cdf"))
    if edges[0] == known[0]:
        edges = np.append(np.nextafter(known[0], -np.inf), edges)
    return edges


def _no_values(name: str) -> DataError:
    column = Column(name, "number", "", "number")
    return DataError(f"Column {name!r} has no values to learn from. Leave it out: {ignore_options([column])}")
