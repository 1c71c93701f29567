"""From the columns of a table to the network's inputs, standardised numbers and one-hot categories, and to its outputs.

The values of columns come as float64, NaN for what is missing: a category as its index, or -1 if it is none of those
that are known. Those of up to `MOST_SINGLES` columns of float32 are read where they are. So one compiled kernel does
for all tables that encodes them, and one that scores them. A block of rows is encoded side by side, each column's
inputs in vectors, into the nearest cache that holds them. To be scored it goes through all layers like that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.equations.activation import activate_any
from fastnn.kernels.equations.loss import side_by_side, softmax_columns, to_rows
from fastnn.kernels.forward.rows import Block, Net, forward_columns
from fastnn.kernels.forward.scoring import count_non_finite
from fastnn.kernels.simd.moves import prefetch
from fastnn.kernels.simd.numbers import float_bits
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, share

# Rows that are encoded, and scored, together; of a column of float32 they are what `prefetch` asks for. From 30 such
# through 30-64-3 a row takes 48 ns with blocks of 128, 52 with 96, 48 with 256, 53 with 32.
BLOCK = 128

# The numbers of `Table.places` for each column: where its inputs begin, how many categories it has (0: a number),
# the inputs of unknown categories and of what is missing (-1: none), whether its values are among `singles`, and which
# it is there, or in `values`.
PLACE, CATEGORIES, OTHER, MISSING, SINGLE, STAGED, N_PLACES = range(7)
# A tuple of this length whatever the table, for the kernel to be compiled once.
MOST_SINGLES = 32
# Those of `Table.numbers`: ``(x - CENTRE) * FACTOR``, and what is in its place where x is missing.
CENTRE, FACTOR, FILL, N_NUMBERS = range(4)


class Table(NamedTuple):
    """Rows of a table as kernels read them, and what they find; all arrays are flat.

    Parameters
    ----------
    values : array of float64, shape (n, stride)
        The columns' values, n_rows each.
    singles : tuple of `MOST_SINGLES` read-only arrays of float32
        Those of other columns, from number `first` on.
    offsets : array of int64
        How many numbers after the first of them each of `singles` begins in memory.
    places : array of int64, shape (n_columns, N_PLACES)
    numbers : array of float64, shape (n_columns, N_NUMBERS)
    strange : array of int64, shape (parts, n_columns)
        The count of values whose input isn't finite is added here.
    bad : array of bool, shape (n_rows,)
        Becomes true for rows with such a value; the inputs of rows for which it is true are zeros.
    n_inputs, stride, first : int
    """

    values: NDArray[np.float64]
    singles: tuple[NDArray[np.float32], ...]
    offsets: NDArray[np.int64]
    places: NDArray[np.int64]
    numbers: NDArray[np.float64]
    strange: NDArray[np.int64]
    bad: NDArray[np.bool_]
    n_inputs: int
    stride: int
    first: int


@jit
def standardise(values: Array, numbers: NDArray[np.float64], out: Array) -> bool:
    """``out = (x - centre) * factor``, ``fill`` for NaN; returns whether all are finite.

    Their bits tell: with the largest of these integers 30 columns through 30-3 take 12 ns a row, with a count 15.
    """
    centre, factor, fill = numbers[CENTRE], numbers[FACTOR], numbers[FILL]
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
    """Where the inputs of a block of rows go, side by side: number k of row i is ``columns[k * wide + i]``.

    `strange` and `bad` are those of `Table`, the latter of these rows alone.
    """

    columns: Array
    wide: int
    strange: NDArray[np.int64]
    bad: NDArray[np.bool_]


@jit
def encode_number(table: Table, column: int, values: Array, inputs: Inputs) -> None:
    """A number's inputs in some rows: itself, and whether it is missing."""
    places = table.places[column * N_PLACES : (column + 1) * N_PLACES]
    numbers = table.numbers[column * N_NUMBERS : (column + 1) * N_NUMBERS]
    if places[MISSING] >= 0:
        flags = inputs.columns[places[MISSING] * inputs.wide : places[MISSING] * inputs.wide + values.size]
        for i in range(values.size):
            flags[i] = 0 if values[i] == values[i] else 1
    scaled = inputs.columns[places[PLACE] * inputs.wide : places[PLACE] * inputs.wide + values.size]
    if not standardise(values, numbers, scaled):
        for i in range(values.size):
            if not abs(scaled[i]) < np.inf:
                inputs.bad[i] = True
                inputs.strange[column] += 1


@jit
def encode_category(table: Table, column: int, values: Array, inputs: Inputs) -> None:
    """A category's inputs in some rows: a 1 among zeros, or zeros alone."""
    columns, wide = inputs.columns, inputs.wide
    places = table.places[column * N_PLACES : (column + 1) * N_PLACES]
    first, width = places[PLACE], places[CATEGORIES]
    known = columns[first * wide : (first + width) * wide]
    for i in range(known.size):
        known[i] = 0
    for extra in (places[OTHER], places[MISSING]):
        if extra >= 0:
            zeros = columns[extra * wide : (extra + 1) * wide]
            for i in range(zeros.size):
                zeros[i] = 0
    for i in range(values.size):
        code = values[i]
        place = places[MISSING]
        if code >= 0:
            place = first + np.int64(code)
        elif code == code:
            place = places[OTHER]
        if place >= 0:
            columns[place * wide + i] = 1


@jit
def encode_block(table: Table, part: int, block: Block, columns: Array, wide: int) -> None:
    """The inputs of a block of the table's rows, side by side (see `Inputs`); zeros where there are no more rows."""
    start, n, n_columns = block.first, block.rows, table.places.size // N_PLACES
    strange = table.strange[part * n_columns : (part + 1) * n_columns]
    inputs = Inputs(columns, wide, strange, table.bad[start : start + n])
    for column in range(n_columns):
        places = table.places[column * N_PLACES : (column + 1) * N_PLACES]
        first = places[STAGED] * table.stride + start
        if places[CATEGORIES]:
            encode_category(table, column, table.values[first : first + n], inputs)
        elif places[SINGLE]:
            here = table.first + start
            values = table.singles[places[STAGED]][here : here + n]
            encode_number(table, column, values, inputs)
        else:
            encode_number(table, column, table.values[first : first + n], inputs)
    for i in range(wide):
        if i >= n or inputs.bad[i]:
            for k in range(table.n_inputs):
                columns[k * wide + i] = 0


class Ahead(NamedTuple):
    """The rows of a table's `singles` from number `first` on, which column i has at ``base[offsets[i] + first]``.

    They are asked for so many columns at a time.
    """

    base: NDArray[np.float32]
    offsets: NDArray[np.int64]
    first: int
    at_once: int


@jit
def prefetch_columns(ahead: Ahead, number: int) -> None:
    """Ask for some of the columns' next blocks."""
    for column in range(ahead.at_once * number, min(ahead.at_once * (number + 1), ahead.offsets.size)):
        prefetch(ahead.base, ahead.offsets[column] + ahead.first)


class Encoding(NamedTuple):
    """What `encode` reads and writes: the inputs of a table's rows, (n_rows, n_inputs) but flat.

    `columns` is memory for `BLOCK` rows of inputs.
    """

    rows: Array
    table: Table
    columns: Array


@jit
def encode_rows(args: Encoding, part: int, parts: int) -> None:
    """All rows; for one part only."""
    table, columns = args.table, args.columns
    n_rows, n_inputs = table.bad.size, table.n_inputs
    for start in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - start)
        prefetch_columns(Ahead(table.singles[0], table.offsets, table.first + start + BLOCK, table.offsets.size), 0)
        encode_block(table, part, Block(start, n), columns, side_by_side(n, columns.itemsize))
        to_rows(columns, n, n_inputs, args.rows[start * n_inputs : (start + n) * n_inputs], n_inputs)


encode = kernel(encode_rows)


class TableScoring(NamedTuple):
    """What `score_table` reads and writes: a network (see `Net`), rows, `part_size` numbers of memory for each part.

    Probability j of row i is ``results[j * apart + i]``: Arrow wants each column contiguous. The last of a part's
    memory becomes the number of its results that aren't finite.
    """

    params: Array
    layers: NDArray[np.void]
    rows: Table
    results: Array
    apart: int
    memory: Array
    part_size: int


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
        # Between the tiles, for the first-level cache waits for few lines at once: 53 ns a row instead of 56.
        ahead = Ahead(args.rows.singles[0], args.rows.offsets, args.rows.first + start + BLOCK, at_once)
        _forward(Net(args.params, layers), memory, wide, ahead)
        softmax_columns(outputs, wide, n_out)
        for j in range(n_out):
            place, column = j * args.apart + start, outputs[j * wide : j * wide + n]
            non_finite += count_non_finite(column)  # where a sum overflows
            copy(column, args.results[place : place + n])
    memory[args.part_size - 1] = non_finite


score_table = kernel(score_table_rows)
