"""Sparse samples: the first layer, forward and backward, in time that is proportional to the entries.

A sample is a row of a `Csr`. F1 of the first layer adds up the rows of W for which the sample has an entry. B2 adds up,
for each feature, the deltas of the samples that have an entry for it. Everything else is done as with plain rows. The
terms that are left out are 0, so the sums have the bits of the plain ones, except for the sign of a 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.forward.rows import Net, outputs_of, product, score_layer
from fastnn.kernels.forward.scoring import Inputs, Predict, count_non_finite, predict_rows
from fastnn.kernels.simd.operands import Entries, Init, Left, Out, Right
from fastnn.kernels.simd.products import sparse_tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROW_PANELS
from fastnn.runtime.compiler import jit


class Csr(NamedTuple):
    """Compressed sparse rows: row i has ``values[s]`` in column ``columns[s]``, s from starts[i] to starts[i + 1] - 1.

    The columns of a row are in order, and no two are the same.
    """

    values: Array
    columns: NDArray[np.int32]
    starts: NDArray[np.int64]


class SparseRows(NamedTuple):
    """Rows of a `Csr` from number `first` on: in the order that `order` gives, or as they are if it is empty."""

    X: Csr
    order: NDArray[np.int64]
    first: int


@jit
def entries_of(rows: SparseRows, row: int) -> Entries:
    """The entries of one row."""
    i = rows.first + row
    if rows.order.size:
        i = rows.order[i]
    start = rows.X.starts[i]
    return Entries(rows.X.values, rows.X.columns, start, rows.X.starts[i + 1] - start)


class Panels(NamedTuple):
    """Rows in panels of two lines (the last panel may have one), which begin `apart` elements apart.

    Row k of a panel is as wide as the panel (`stride` is 0), or `stride` elements after the one before.
    """

    data: Array
    start: int
    apart: int
    stride: int


@jit
def sum_of_rows(out: Out, entries: Entries, right: Panels, init: Init) -> None:
    """``out = init + x @ right`` for one sparse row x; the panels of `out` are ``out.stride`` elements apart."""
    line = LINE_BYTES // out.data.itemsize
    whole, wide = out.lines // PANEL_LINES, PANEL_LINES * line
    for panel in range(0, whole, ROW_PANELS):
        n_panels = min(ROW_PANELS, whole - panel)
        sparse_tile(
            Out(out.data, out.start + panel * out.stride, out.stride, 1, n_panels * PANEL_LINES),
            entries,
            Right(right.data, right.start + panel * right.apart, right.stride if right.stride else wide),
            right.apart,
            Init(init.data, init.start + panel * wide),
        )
    if whole * PANEL_LINES < out.lines:
        sparse_tile(
            Out(out.data, out.start + whole * out.stride, out.stride, 1, 1),
            entries,
            Right(right.data, right.start + whole * right.apart, right.stride if right.stride else line),
            0,
            Init(init.data, init.start + whole * wide),
        )


@jit
def sparse_product(net: Net, layer: int, inputs: SparseRows, buffer: Array, block: Any) -> None:
    """F1 of a layer; the inputs of the first layer are sparse rows."""
    if layer > 1:
        product(net, layer, Left(buffer, 0, 0, 1), buffer, block)
        return
    out, wide = outputs_of(net, layer, buffer, block), PANEL_LINES * (LINE_BYTES // buffer.itemsize)
    W = Panels(net.params, net.layers[1].w_at, wide * net.layers[0].n, 0)
    for row in range(out.rows):
        here = Out(buffer, out.start + row * out.stride, wide, 1, out.lines)
        sum_of_rows(here, entries_of(inputs, row), W, Init(net.params, net.layers[1].init_at))


class Transposed(NamedTuple):
    """A batch by its features: feature k has ``values[s]`` in row ``rows[s]`` of the batch.

    s goes from ``starts[k]`` on, in order of the rows, ``counts[k]`` times.
    """

    values: Array
    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]


@register_jitable  # type: ignore[untyped-decorator]
def first_not_below(columns: Any, start: int, stop: int, column: int) -> int:
    """The first place from `start` on whose column is at least `column`; `stop` if there is none."""
    while start < stop:
        middle = (start + stop) // 2
        if columns[middle] < column:
            start = middle + 1
        else:
            stop = middle
    return start


@jit
def transpose_sparse(rows: SparseRows, n_rows: int, first: int, last: int, out: Transposed) -> None:
    """Write the features `first` to `last` - 1 of `n_rows` rows into `out`, by feature.

    Several threads may do this at once for different features: the place where a feature begins in `out` follows from
    the columns before it.
    """
    columns = rows.X.columns
    counts, starts = out.counts[first:last], out.starts[first:last]
    for k in range(counts.size):
        counts[k] = 0
    end = 0
    for i in range(n_rows):
        entries = entries_of(rows, i)
        stop = entries.start + entries.n
        here = first_not_below(columns, entries.start, stop, first)
        end += here - entries.start
        while here < stop and columns[here] < last:
            counts[columns[here] - first] += 1
            here += 1
    for k in range(counts.size):
        end += counts[k]
        starts[k] = end
    # So far `starts` holds the ends. Going from the last row to the first, each entry is put before those that are
    # there already, so that `starts` holds the beginnings at last.
    for i in range(n_rows - 1, -1, -1):
        entries = entries_of(rows, i)
        stop = entries.start + entries.n
        here = first_not_below(columns, entries.start, stop, first)
        while here < stop and columns[here] < last:
            k = columns[here] - first
            starts[k] -= 1
            out.rows[starts[k]] = i
            out.values[starts[k]] = rows.X.values[here]
            here += 1


@jit
def sparse_weight_gradient(batch: Transposed, k: int, out: Out, delta: Panels, zeros: Init) -> bool:
    """B2 for as many features from `k` on as `out` has rows. False if no sample has an entry for any of them.

    `out` holds the features' rows of the first panel, then those of the second, and so on, each as wide as its panel.
    """
    line = LINE_BYTES // out.data.itemsize
    wide = PANEL_LINES * line
    last = out.lines // PANEL_LINES * PANEL_LINES  # the lines of the panels before one of a single line
    found = False
    for r in range(out.rows):
        start, n = batch.starts[k + r], batch.counts[k + r]
        found = found or bool(n > 0)
        entries = Entries(batch.values, batch.rows, start, n)
        if last:
            here = Out(out.data, out.start + r * wide, out.rows * wide, 1, last)
            sum_of_rows(here, entries, delta, zeros)
        if last < out.lines:
            end = Panels(delta.data, delta.start + last * line, 0, delta.stride)
            here = Out(out.data, out.start + out.rows * last * line + r * line, 0, 1, 1)
            sum_of_rows(here, entries, end, zeros)
    return found


def transposed(X: Csr, batch_size: int, n_features: int, workers: int) -> Transposed:
    """Memory for a batch of at most `batch_size` rows, for each of `workers` threads."""
    lengths = np.diff(X.starts)
    most = int(np.partition(lengths, -batch_size)[-batch_size:].sum()) if batch_size < lengths.size else X.values.size
    entries, features = workers * most, workers * n_features
    return Transposed(
        np.empty(entries, X.values.dtype),
        np.empty(entries, np.int32),
        np.empty(features, np.int64),
        np.empty(features, np.int64),
    )


@jit
def sparse_inputs(args: Predict, first: int) -> SparseRows:
    """The inputs from row `first` on."""
    return SparseRows(args.X.X, args.X.order, first)


@jit
def non_finite_entries(args: Predict, first: int, rows: int) -> int:
    """The number of entries that aren't finite."""
    X = args.X.X
    return count_non_finite(X.values[X.starts[first] : X.starts[first + rows]])


SPARSE_ROWS = Inputs(sparse_inputs, non_finite_entries, sparse_product)
predict_sparse = predict_rows("sparse", SPARSE_ROWS, score_layer)
