"""The pass over a table that learns a `Preprocessor`: moments, counts of categories, and a sample of the rows.

Statistics of parts of the rows can be computed in any order and merged. Memory is bounded: moments are a few numbers
for each column, categories are counted up to a limit, and medians and bins come from a uniform sample of the rows.
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

from fastnn.pipeline.columns.arrow import to_arrow, to_numpy
from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.learnt import CategoryColumn, LearntColumn, NumberColumn, bins_of
from fastnn.pipeline.columns.options import ColumnOptions
from fastnn.pipeline.columns.sample import RowSample
from fastnn.pipeline.columns.schema import LEAVE_OUT, Column, DataError, RowError, Schema, ignore_options
from fastnn.pipeline.columns.values import chunks, numbers_of, texts_of

# A column with more categories is more likely an identifier or free text.
MOST_CATEGORIES = 255
# A column with more distinct values than this is refused as an identifier: to count a million strings takes 170 MB.
MOST_COUNTED = 1_000_000
# The number of rows by which `TableStatistics` is updated in a training. The bits of the statistics depend on it.
BLOCK_ROWS = 65_536

Float64 = NDArray[np.float64]


class Moments:
    """The count, mean, sum of squared deviations and range of columns of numbers, without NaN.

    Chunks are merged as Chan, Golub and LeVeque (1979) do. All values are measured from a column's first value, the
    pivot: otherwise a mean of 1e9 with a deviation of 1 would leave only seven digits for the deviation.
    """

    def __init__(self, n_columns: int) -> None:
        self.rows: float = 0
        self.missing = np.zeros(n_columns)
        self.count = np.zeros(n_columns)
        self.pivot = np.zeros(n_columns)
        self.mean = np.zeros(n_columns)  # relative to the pivot
        self.squares = np.zeros(n_columns)
        self.low = np.full(n_columns, np.inf)
        self.high = np.full(n_columns, -np.inf)

    @classmethod
    def of(cls, values: Float64, pivot: Float64, weight: Float64 | None = None) -> Self:
        """The moments of a chunk, shape (n_columns, n); a row of weight 2 counts as two rows."""
        found = cls(len(values))
        found.rows, found.pivot = values.shape[1] if weight is None else float(weight.sum()), pivot
        missing = np.isnan(values)
        some_missing = bool(missing.any())
        missing_rows = missing.sum(1) if weight is None else (missing * weight).sum(1)  # not by BLAS, whose bits vary
        found.missing += missing_rows if some_missing else 0
        found.count += found.rows - missing_rows if some_missing else found.rows
        known = np.where(found.count > 0, found.count, 1)
        deviations = values - pivot[:, None]
        if some_missing:
            deviations[missing] = 0
        found.mean = (deviations if weight is None else deviations * weight).sum(1) / known
        deviations -= found.mean[:, None]
        if some_missing:
            deviations[missing] = 0
        weighted = deviations if weight is None else deviations * weight
        # The second term compensates for the rounding of the mean.
        found.squares = np.einsum("ij,ij->i", weighted, deviations) - weighted.sum(1) ** 2 / known
        # fmin and fmax leave NaN out.
        found.low = np.fmin(np.fmin.reduce(values, axis=1), np.inf)
        found.high = np.fmax(np.fmax.reduce(values, axis=1), -np.inf)
        return found

    def update(self, values: Float64, weight: Float64 | None = None) -> None:
        """Add a chunk of rows, shape (n_columns, n), with their weights, which are above 0."""
        if not values.shape[1]:
            return
        pivot = self.pivot
        if not self.count.all():
            known = ~np.isnan(values)
            first = values[np.arange(len(values)), known.argmax(1)]
            pivot = np.where((self.count == 0) & known.any(1), first, pivot)
        with np.errstate(over="ignore", invalid="ignore"):  # `standard` checks the result
            self.merge(Moments.of(values, pivot, weight))

    def merge(self, other: Moments) -> None:
        """Add the statistics of other rows."""
        self.rows += other.rows
        self.missing = self.missing + other.missing
        pivot = np.where(self.count > 0, self.pivot, other.pivot)
        count = self.count + other.count
        share = np.where(other.count > 0, other.count / np.where(count > 0, count, 1), 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            step = other.pivot - pivot + (other.mean - self.mean)
            self.mean = self.mean + step * share
            self.squares = self.squares + other.squares + step * step * (self.count * share)
        self.count, self.pivot = count, pivot
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    def standard(self, column: int, name: str) -> tuple[float, float]:
        """The mean and standard deviation of a column that has values; a constant column's deviation counts as 1."""
        low, high = float(self.low[column]), float(self.high[column])
        if low == high:
            return low, 1.0  # since sums of a constant 0.1 are rounded, and would vary
        mean = float(self.pivot[column] + self.mean[column])
        scale = float(np.sqrt(max(self.squares[column], 0.0) / self.count[column]))
        if not np.isfinite(mean) or not np.isfinite(scale):
            largest = max(abs(low), abs(high))
            raise DataError(f"Column {name!r} holds numbers too large to standardise: up to {largest:g}.")
        # A smaller scale has no finite reciprocal.
        return mean, scale if scale > np.finfo(np.float64).tiny else 1.0


@dataclass
class CategoryCounts:
    """How often each category of a column occurs. If some are wanted, all others are counted together."""

    name: str
    wanted: tuple[str, ...] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    rows: float = 0
    missing: float = 0
    others: float = 0  # of the categories that aren't wanted

    def update(self, values: pa.Array, keep: NDArray[np.bool_] | None = None, weight: Float64 | None = None) -> None:
        """Add a block of the column: all of its rows, or those to keep, with their weights."""
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        indices = to_numpy(pc.fill_null(values.indices.cast(pa.int64()), -1))
        if keep is not None:
            indices = indices[keep]
        # The first of these numbers counts missing values.
        occur = np.bincount(indices + 1, weight, minlength=1)
        self.rows += len(indices) if weight is None else float(weight.sum())
        self.missing += occur[0].item()
        present = np.flatnonzero(occur[1:])
        categories = texts_of(values.dictionary).take(to_arrow(present)).to_pylist()
        for category, n in zip(categories, occur[1:][present].tolist(), strict=True):
            if category is None:
                self.missing += n
            elif self.wanted is None or category in self.wanted:
                self.counts[category] += n
            else:
                self.others += n
        self._check()

    def merge(self, other: CategoryCounts) -> None:
        """Add the statistics of other rows."""
        self.rows += other.rows
        self.missing += other.missing
        self.others += other.others
        self.counts.update(other.counts)
        self._check()

    def finish(self, options: ColumnOptions) -> CategoryColumn:
        """The learnt column: the wanted categories, or else the most frequent ones in alphabetical order."""
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
        # Added, not subtracted: sums of weights are rounded, and a rest of 1e-17 would be a category.
        kept = {*categories}
        others = self.others + sum(n for category, n in self.counts.items() if category not in kept)
        shares = tuple(n / self.rows for n in (*occur, others, self.missing))
        indicator = self.missing > 0 if options.indicator is None else options.indicator
        return CategoryColumn(self.name, indicator, shares, categories, others > 0)

    def _check(self) -> None:
        if len(self.counts) > MOST_COUNTED:
            column = Column(self.name, "category", "", "text")
            raise DataError(
                f"Column {self.name!r} has more than {MOST_COUNTED:,} different values, like an identifier. "
                f"Leave it out: {ignore_options([column])}. Or list the categories that count."
            )


class TableStatistics:
    """Learns a table's columns, batch by batch; `finish` gives the result.

    Parameters
    ----------
    schema : Schema
        The columns to learn, all of which each batch must have.
    options : mapping of str to ColumnOptions, optional
        The options of single columns.
    n_bins : int
        The most bins of a column's piecewise-linear encoding; 0 for none.

    Notes
    -----
    After `merge`, the moments are those of all rows up to rounding, which depends on the order; all else is exact.
    """

    def __init__(self, schema: Schema, options: Mapping[str, ColumnOptions] | None = None, n_bins: int = 0) -> None:
        self.schema, self._n_bins = schema, n_bins
        self._options = [(options or {}).get(column.name, ColumnOptions()) for column in schema.columns]
        self._numbers = [column.name for column in schema.columns if column.kind != "category"]
        self._moments = Moments(len(self._numbers))
        # The last row of the sample is that of the rows' weights.
        self._sample = RowSample(len(self._numbers), 1)
        self._counts = {
            column.name: CategoryCounts(column.name, options.categories)
            for column, options in zip(schema.columns, self._options, strict=True)
            if column.kind == "category"
        }

    def update(
        self,
        batch: pa.RecordBatch,
        first_row: int,
        keep: NDArray[np.bool_] | None = None,
        weight: Float64 | None = None,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            The rows. For the same bits from every source, divide the rows into batches of `BLOCK_ROWS`.
        first_row : int
            The position of the batch's first row in the whole data. Positions decide which rows are sampled.
        keep : ndarray of bool, shape (n,), optional
            The rows to add; by default all.
        weight : ndarray of float64, shape (n,), optional
            The rows' weights, at least 0: a row of weight 2 counts as two rows. By default each row counts once.

        Raises
        ------
        DataError
            If a number is infinite (a RowError), or a column has too many categories to count.
        """
        if weight is not None:
            keep = weight > 0 if keep is None else keep & (weight > 0)
        kept = None if weight is None else weight[keep]
        if self._numbers:
            columns = [numbers_of(batch.column(name)) for name in self._numbers]
            row = 0
            for chunk in chunks(columns, batch.num_rows, keep):
                here = None if kept is None else kept[row : row + chunk.n]
                self._moments.update(chunk.values[:, : chunk.n], here)
                row += chunk.n
            infinite = np.isposinf(self._moments.high) | np.isneginf(self._moments.low)
            if infinite.any():
                which = int(infinite.argmax())
                at = np.isinf(columns[which]) if keep is None else np.isinf(columns[which]) & keep
                problem = f"column {self._numbers[which]!r} holds an infinite value. {LEAVE_OUT}"
                raise RowError(first_row + int(at.argmax()), problem)
            rows, hashes = self._sample.select(batch.num_rows, first_row, keep)
            ones = np.ones(len(rows)) if weight is None else weight[rows]
            self._sample.add(hashes, np.array([*(column[rows] for column in columns), ones], np.float64))
        for name, counts in self._counts.items():
            counts.update(batch.column(name), keep, kept)

    def merge(self, other: TableStatistics) -> None:
        """Add the statistics of other rows."""
        self._moments.merge(other._moments)
        self._sample.merge(other._sample)
        for name, counts in self._counts.items():
            counts.merge(other._counts[name])

    def finish(self) -> Preprocessor:
        """The preprocessing that a model keeps.

        Raises
        ------
        DataError
            If a column has no value at all, or numbers too large to standardise.
        """
        *values, weight = self._sample.values()
        sample = iter(values)
        columns: list[LearntColumn] = []
        number = 0
        for column, options in zip(self.schema.columns, self._options, strict=True):
            if column.kind == "category":
                columns.append(self._counts[column.name].finish(options))
            else:
                columns.append(self._number(column, options, number, (next(sample), weight)))
                number += 1
        return Preprocessor(tuple(columns))

    def _number(
        self, column: Column, options: ColumnOptions, number: int, sample: tuple[Float64, Float64]
    ) -> NumberColumn:
        """A learnt column of numbers, from its moments and from the values and weights of the sampled rows."""
        moments = self._moments
        assert column.kind != "category"
        if not moments.count[number]:
            raise _no_values(column.name)
        mean, scale = moments.standard(number, column.name)
        there = ~np.isnan(sample[0])
        known, weight = sample[0][there], sample[1][there]
        order = np.argsort(known)
        known, weight = known[order], weight[order]
        # A column with values in few rows may have none in the sample.
        fill = median(known, weight) if options.impute == "median" and len(known) else mean
        standardise = column.kind != "boolean" if options.standardise is None else options.standardise
        indicator = bool(moments.missing[number] > 0) if options.indicator is None else options.indicator
        edges = deciles(known, weight)
        bins = np.bincount(bins_of(edges, known), weight, minlength=len(edges) + 1) if len(known) else np.ones(1)
        known_share = float(moments.count[number] / moments.rows)
        shares = (*(bins / bins.sum() * known_share).tolist(), max(0.0, 1 - known_share))
        return NumberColumn(
            column.name,
            indicator,
            shares,
            column.kind,
            mean if standardise else 0.0,
            scale if standardise else 1.0,
            fill,
            tuple(edges.tolist()),
            knots_of(known, weight, 0 if column.kind == "boolean" else self._n_bins),
        )


def median(known: Float64, weight: Float64) -> float:
    """The median of sorted numbers with weights above 0: a number of weight 2 counts as two numbers."""
    below = np.cumsum(weight)
    half = below[-1] / 2
    middle = known[[np.searchsorted(below, half, side) for side in ("left", "right")]]
    return float(middle.mean())


def deciles(known: Float64, weight: Float64) -> Float64:
    """The edges that divide sorted numbers into ten bins of the same weight, or into fewer if many numbers are equal.

    A bin includes its upper edge. If the smallest number is an edge, there is an additional bin below it, so that a
    constant that later changes is noticed in both directions.
    """
    if not len(known):
        return known
    tenths = np.arange(1, 10) / 10
    if (weight == 1).all():
        edges = np.unique(np.quantile(known, tenths, method="inverted_cdf"))
    else:
        edges = np.unique(np.quantile(known, tenths, method="inverted_cdf", weights=weight))
    if edges[0] == known[0]:
        edges = np.append(np.nextafter(known[0], -np.inf), edges)
    return edges


def knots_of(known: Float64, weight: Float64, n_bins: int) -> tuple[float, ...]:
    """The ends of bins that have the same weight, fewer if many numbers are equal; none if two bins would be too many.

    The bins divide sorted numbers with their weights, from the least to the greatest.
    """
    if n_bins < 2 or not len(known):
        return ()
    below = np.cumsum(weight)
    # So a number of weight 3 and three equal numbers give the same ends to the last bit; `np.quantile` rounds them.
    inner = known[np.searchsorted(below, np.arange(1, n_bins) * below[-1] / n_bins)]
    knots = np.unique([known[0], *inner, known[-1]])
    with np.errstate(over="ignore"):
        fine = np.isfinite(1 / np.diff(knots)).all() and np.isfinite(np.diff(knots)).all()
    return tuple(knots.tolist()) if len(knots) > 2 and fine else ()


def _no_values(name: str) -> DataError:
    column = Column(name, "number", "", "number")
    return DataError(f"Column {name!r} has no values to learn from. Leave it out: {ignore_options([column])}")
