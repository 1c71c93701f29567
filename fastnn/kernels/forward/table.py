"""From the columns of a table to the network's inputs (standardised numbers, one-hot categories) and to its outputs.

The values of columns come as float64, with NaN for missing values; a category comes as its index, or as -1 if it is
unknown. Up to `MOST_SINGLES` columns of float32 are read in place. So one compiled kernel encodes all tables, and one
scores them. A block of rows is encoded side by side: the inputs of neighbouring rows lie in neighbouring lanes. The
block stays in the nearest cache that holds it, and to be scored it goes through all layers like that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.equations.activation import activate_any
from fastnn.kernels.equations.loss import side_by_side, softmax_columns, to_rows
from fastnn.kernels.forward.rows import SOFTMAX, Block, Net, forward_columns
from fastnn.kernels.forward.scoring import count_non_finite
from fastnn.kernels.simd.moves import prefetch
from fastnn.kernels.simd.numbers import float_bits
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, share

# The rows that are encoded and scored together. A block of a column of float32 is as much as one `prefetch` asks for. A
# row of 30 such columns through 30-64-3 takes 48 ns with blocks of 128, 52 with 96, 48 with 256, 53 with 32.
BLOCK = 128

# What kernels know of a column, in a record.
COLUMN = np.dtype(
    [
        ("first", np.int64),  # the number of its first input
        ("categories", np.int64),  # how many there are; 0 for a column of numbers
        ("other", np.int64),  # the input for unknown categories; -1 without one
        ("missing", np.int64),  # the input that says that the value is missing; -1 without one
        ("is_single", np.int64),  # whether its values are among `Columns.singles`
        ("place", np.int64),  # which of `Columns.singles` it is, or which row of `Columns.values`
        ("centre", np.float64),  # a number x becomes ``(x - centre) * factor``
        ("factor", np.float64),
        ("fill", np.float64),  # and this if it is missing
        ("bins", np.int64),  # how many inputs say how far x is above a bin's lower end; 0 for none
        ("first_bin", np.int64),  # the place of the first bin among `Columns.bins`, in pairs
        ("typical", np.float64),  # what stands for a missing x where bins are concerned
    ],
    align=True,
)
# `Columns.singles` has this length whatever the table, so that the kernel is compiled once.
MOST_SINGLES = 32


class Columns(NamedTuple):
    """Rows of a table as kernels read them, column by column, and what the kernels find. All arrays are flat.

    Parameters
    ----------
    values : array of float64, shape (n, stride)
        The values of n columns, n_rows each.
    singles : tuple of `MOST_SINGLES` read-only arrays of float32
        The values of the other columns, from row `first` on.
    offsets : array of int64
        The distance in memory, in numbers, from the beginning of the first of `singles` to that of each.
    columns : array of `COLUMN`
    bins : array of float64
        For each bin of a column its lower end, and 1 divided by its width.
    non_finite : array of int64, shape (parts, n_columns)
        The kernel adds the number of values whose input isn't finite.
    bad : array of bool, shape (n_rows,)
        Becomes true for rows with a value whose input isn't finite. The inputs of rows for which it is true are zeros.
    n_inputs, stride, first : int
    """

    values: NDArray[np.float64]
    singles: tuple[NDArray[np.float32], ...]
    offsets: NDArray[np.int64]
    columns: NDArray[np.void]
    bins: NDArray[np.float64]
    non_finite: NDArray[np.int64]
    bad: NDArray[np.bool_]
    n_inputs: int
    stride: int
    first: int


@jit
def standardise(values: Array, column: Any, out: Array) -> bool:
    """``out = (x - centre) * factor``, and ``fill`` where x is NaN; returns whether all results are finite.

    For that, the results' absolute values are compared by their bits, read as integers. A row of 30 columns through
    30-3 takes 12 ns in this way, and 15 ns if the results that aren't finite are counted.
    """
    centre, factor, fill = column.centre, column.factor, column.fill
    dtype = out.dtype.type
    largest = float_bits(dtype(0))
    for i in range(values.size):
        x = np.float64(values[i])
        z = (x - centre) * factor
        y = dtype(z if x == x else fill)
        out[i] = y
        bits = float_bits(abs(y))
        largest = bits if bits > largest else largest
    return bool(largest < float_bits(dtype(np.inf)))


class Inputs(NamedTuple):
    """Where the inputs of a block of rows go, side by side: input k of row i is ``inputs[k * wide + i]``.

    `non_finite` and `bad` are those of `Columns`, of the block's part and rows.
    """

    inputs: Array
    wide: int
    non_finite: NDArray[np.int64]
    bad: NDArray[np.bool_]


@jit
def encode_bins(table: Columns, number: int, values: Array, out: Inputs) -> None:
    """The piecewise-linear encoding of a number in some rows: ``min(max((x - low) / width, 0), 1)`` for each bin.

    (Gorishniy, Rubachev and Babenko 2022, "On embeddings for numerical features in tabular deep learning", section 3.2;
    the outermost bins are closed here.)
    """
    column, wide = table.columns[number], out.wide
    for k in range(column.bins):
        low, per_width = table.bins[2 * (column.first_bin + k)], table.bins[2 * (column.first_bin + k) + 1]
        place = (column.first + 1 + k) * wide
        encoded = out.inputs[place : place + values.size]
        for i in range(values.size):
            x = np.float64(values[i])
            x = x if x == x else column.typical
            encoded[i] = min(max((x - low) * per_width, 0.0), 1.0)


@jit
def encode_number(table: Columns, number: int, values: Array, out: Inputs) -> None:
    """A number's inputs in some rows: the standardised value, its bins, and whether it is missing."""
    column, wide = table.columns[number], out.wide
    if column.missing >= 0:
        flags = out.inputs[column.missing * wide : column.missing * wide + values.size]
        for i in range(values.size):
            flags[i] = 0 if values[i] == values[i] else 1
    if column.bins:
        encode_bins(table, number, values, out)
    scaled = out.inputs[column.first * wide : column.first * wide + values.size]
    if not standardise(values, column, scaled):
        for i in range(values.size):
            if not abs(scaled[i]) < np.inf:
                out.bad[i] = True
                out.non_finite[number] += 1


@jit
def encode_category(table: Columns, number: int, values: Array, out: Inputs) -> None:
    """A category's inputs in some rows: a 1 among zeros, or zeros alone."""
    inputs, wide, column = out.inputs, out.wide, table.columns[number]
    known = inputs[column.first * wide : (column.first + column.categories) * wide]
    for i in range(known.size):
        known[i] = 0
    for extra in (column.other, column.missing):
        if extra >= 0:
            zeros = inputs[extra * wide : (extra + 1) * wide]
            for i in range(zeros.size):
                zeros[i] = 0
    for i in range(values.size):
        code = values[i]
        place = column.missing
        if code >= 0:
            place = column.first + np.int64(code)
        elif code == code:
            place = column.other
        if place >= 0:
            inputs[place * wide + i] = 1


@jit
def encode_block(table: Columns, part: int, block: Block, inputs: Array, wide: int) -> None:
    """The inputs of a block of the table's rows, side by side (see `Inputs`); zeros where there are no more rows."""
    start, n, n_columns = block.first, block.rows, table.columns.size
    non_finite = table.non_finite[part * n_columns : (part + 1) * n_columns]
    out = Inputs(inputs, wide, non_finite, table.bad[start : start + n])
    for number in range(n_columns):
        column = table.columns[number]
        first = column.place * table.stride + start
        if column.categories:
            encode_category(table, number, table.values[first : first + n], out)
        elif column.is_single:
            here = table.first + start
            encode_number(table, number, table.singles[column.place][here : here + n], out)
        else:
            encode_number(table, number, table.values[first : first + n], out)
    for i in range(wide):
        if i >= n or out.bad[i]:
            for k in range(table.n_inputs):
                inputs[k * wide + i] = 0


class Ahead(NamedTuple):
    """The rows from `first` on of a table's `singles`: in column i they begin at ``base[offsets[i] + first]``.

    They are prefetched for `at_once` columns at a time.
    """

    base: NDArray[np.float32]
    offsets: NDArray[np.int64]
    first: int
    at_once: int


@jit
def prefetch_columns(ahead: Ahead, number: int) -> None:
    """Prefetch the next block of some columns."""
    for column in range(ahead.at_once * number, min(ahead.at_once * (number + 1), ahead.offsets.size)):
        prefetch(ahead.base, ahead.offsets[column] + ahead.first)


class Encoding(NamedTuple):
    """What `encode` reads and writes: a table, and the inputs of its rows, of shape (n_rows, n_inputs) but flat.

    `memory` has room for the inputs of `BLOCK` rows.
    """

    rows: Array
    table: Columns
    memory: Array


@jit
def encode_rows(args: Encoding, part: int, parts: int) -> None:
    """The inputs of all rows. This kernel is launched with one part only."""
    table, memory = args.table, args.memory
    n_rows, n_inputs = table.bad.size, table.n_inputs
    for start in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - start)
        prefetch_columns(Ahead(table.singles[0], table.offsets, table.first + start + BLOCK, table.offsets.size), 0)
        encode_block(table, part, Block(start, n), memory, side_by_side(n, memory.itemsize))
        to_rows(memory, n, n_inputs, args.rows[start * n_inputs : (start + n) * n_inputs], n_inputs)


encode = kernel(encode_rows)


class TableScoring(NamedTuple):
    """What `score_table` reads and writes: a network (see `Net`), rows, and `part_size` numbers of memory a part.

    Output j of row i is ``results[j * apart + i]``, since Arrow wants each column contiguous. `output` is a code in
    `OUTPUTS`: softmax or identity. The last number of a part's memory becomes the count of its results that aren't
    finite.
    """

    params: Array
    layers: NDArray[np.void]
    rows: Columns
    results: Array
    apart: int
    memory: Array
    part_size: int
    output: int


_forward = forward_columns(activate_any, prefetch_columns)


@jit
def score_table_rows(args: TableScoring, part: int, parts: int) -> None:
    """F1 to F3 for this part's rows."""
    layers, memory = args.layers, args.memory[part * args.part_size : (part + 1) * args.part_size]
    output = layers.size - 1
    n_out, line = layers[output].n, LINE_BYTES // memory.itemsize
    inputs, outputs = memory[layers[0].a_at :], memory[layers[output].a_at :]
    non_finite = n_tiles = 0
    for layer in range(1, output + 1):
        n_tiles += (layers[layer].n + ROWS - 1) // ROWS * (BLOCK // (PANEL_LINES * line))
    at_once = (args.rows.offsets.size + n_tiles - 1) // n_tiles
    first, last = share(args.rows.bad.size, BLOCK, part, parts)
    for start in range(first, last, BLOCK):
        n = min(BLOCK, last - start)
        wide = (n + line - 1) // line * line
        encode_block(args.rows, part, Block(start, n), inputs, wide)
        # The next block is prefetched between the tiles, since the first-level cache can wait for few lines at once. A
        # row takes 53 ns in this way, and otherwise 56.
        ahead = Ahead(args.rows.singles[0], args.rows.offsets, args.rows.first + start + BLOCK, at_once)
        _forward(Net(args.params, layers), memory, wide, ahead)
        if args.output == SOFTMAX:
            softmax_columns(outputs, wide, n_out)
        for j in range(n_out):
            place, column = j * args.apart + start, outputs[j * wide : j * wide + n]
            non_finite += count_non_finite(column)  # a sum can overflow
            copy(column, args.results[place : place + n])
    memory[args.part_size - 1] = non_finite


score_table = kernel(score_table_rows)
