"""From the columns of a table to the network's input rows: standardised numbers and one-hot categories.

The values of columns come as float64, NaN for what is missing: a category as its index, or -1 if it is none of those
that are known. Those of up to `MOST_SINGLES` columns of float32 are read where they are. So one compiled kernel does
for all tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.loss import side_by_side, to_rows
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel

# Rows that are encoded together: column by column into memory that stays in the first-level cache, and from there, a
# block of vectors at a time, into the rows.
_TOGETHER = 64

# The numbers of `Encoding.places` for each column: where its inputs begin, how many categories it has (0: a number),
# the inputs of unknown categories and of what is missing (-1: none), whether its values are among `singles`, and which
# it is there, or in `values`.
PLACE, CATEGORIES, OTHER, MISSING, SINGLE, STAGED, N_PLACES = range(7)
# A tuple of this length whatever the table, for the kernel to be compiled once.
MOST_SINGLES = 32
# Those of `Encoding.numbers`: ``(x - CENTRE) * FACTOR``, and what is in its place where x is missing.
CENTRE, FACTOR, FILL, N_NUMBERS = range(4)


class Encoding(NamedTuple):
    """What `encode` reads and writes; all arrays are flat.

    Parameters
    ----------
    rows : array, shape (n_rows, n_inputs)
        The result, of float32 or float64.
    values : array of float64, shape (n, stride)
        The columns' values, n_rows each.
    singles : tuple of `MOST_SINGLES` read-only arrays of float32
        Those of other columns, from number `first` on.
    places : array of int64, shape (n_columns, N_PLACES)
    numbers : array of float64, shape (n_columns, N_NUMBERS)
    columns : array, at least `columns_room(n_inputs)` numbers of the dtype of `rows`
        Memory to work in.
    strange : array of int64, shape (n_columns,)
        The count of values whose input isn't below `limit` is added here.
    bad : array of bool, shape (n_rows,)
        Becomes true for rows with such a value; rows for which it is true are zeros.
    n_inputs, stride, first : int
    limit : float
        The least number that isn't finite in the dtype of `rows`.
    """

    rows: Array
    values: NDArray[np.float64]
    singles: tuple[NDArray[np.float32], ...]
    places: NDArray[np.int64]
    numbers: NDArray[np.float64]
    columns: Array
    strange: NDArray[np.int64]
    bad: NDArray[np.bool_]
    n_inputs: int
    stride: int
    first: int
    limit: float


def columns_room(n_inputs: int) -> int:
    """The numbers of `Encoding.columns`."""
    return _TOGETHER * n_inputs


def limit_of(dtype: np.dtype[np.floating]) -> float:
    """The least float64 that rounds to infinity in this dtype."""
    if dtype == np.float64:
        return np.inf
    top, below = np.finfo(dtype).max, np.nextafter(np.finfo(dtype).max, dtype.type(0))
    return float(top) + (float(top) - float(below)) / 2


@jit
def standardise(values: Array, numbers: NDArray[np.float64], limit: float, out: Array) -> int:
    """``out = (x - centre) * factor``, ``fill`` for NaN; returns how many aren't below the limit."""
    centre, factor, fill = numbers[CENTRE], numbers[FACTOR], numbers[FILL]
    strange = 0
    for i in range(values.size):
        x = np.float64(values[i])
        z = (x - centre) * factor
        z = z if x == x else fill
        out[i] = z
        strange += 0 if abs(z) < limit else 1
    return strange


@jit
def encode_number(args: Encoding, column: int, values: Array, wide: int, bad: NDArray[np.bool_]) -> None:
    """A number's inputs in some rows: itself, and whether it is missing."""
    places = args.places[column * N_PLACES : (column + 1) * N_PLACES]
    numbers = args.numbers[column * N_NUMBERS : (column + 1) * N_NUMBERS]
    if places[MISSING] >= 0:
        flags = args.columns[places[MISSING] * wide : places[MISSING] * wide + values.size]
        for i in range(values.size):
            flags[i] = 0 if values[i] == values[i] else 1
    inputs = args.columns[places[PLACE] * wide : places[PLACE] * wide + values.size]
    strange = standardise(values, numbers, args.limit, inputs)
    if strange:
        args.strange[column] += strange
        for i in range(values.size):
            bad[i] |= not abs(inputs[i]) < np.inf


@jit
def encode_category(args: Encoding, column: int, values: Array, wide: int) -> None:
    """A category's inputs in some rows: a 1 among zeros, or zeros alone."""
    places = args.places[column * N_PLACES : (column + 1) * N_PLACES]
    first, width = places[PLACE], places[CATEGORIES]
    known = args.columns[first * wide : (first + width) * wide]
    for i in range(known.size):
        known[i] = 0
    for extra in (places[OTHER], places[MISSING]):
        if extra >= 0:
            zeros = args.columns[extra * wide : (extra + 1) * wide]
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
            args.columns[place * wide + i] = 1


@jit
def encode_rows(args: Encoding, part: int, parts: int) -> None:
    """All columns of all rows; for one part only."""
    n_rows, n_columns, n_inputs = args.bad.size, args.strange.size, args.n_inputs
    for start in range(0, n_rows, _TOGETHER):
        n = min(_TOGETHER, n_rows - start)
        wide, bad = side_by_side(n, args.rows.itemsize), args.bad[start : start + n]
        for column in range(n_columns):
            places = args.places[column * N_PLACES : (column + 1) * N_PLACES]
            first = places[STAGED] * args.stride + start
            if places[CATEGORIES]:
                encode_category(args, column, args.values[first : first + n], wide)
            elif places[SINGLE]:
                values = args.singles[places[STAGED]][args.first + start : args.first + start + n]
                encode_number(args, column, values, wide, bad)
            else:
                encode_number(args, column, args.values[first : first + n], wide, bad)
        for i in range(n):
            if bad[i]:
                for k in range(n_inputs):
                    args.columns[k * wide + i] = 0
        to_rows(args.columns, n, n_inputs, args.rows[start * n_inputs : (start + n) * n_inputs], n_inputs)


encode = kernel(encode_rows)
