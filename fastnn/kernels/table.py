"""From the columns of a table to the network's input rows: standardised numbers and one-hot categories.

The values of all columns come as float64, NaN for what is missing: a category as its index, or -1 if it is none of
those that are known. So one compiled kernel does for tables of every type.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel

# Rows that are encoded together: their lines of the result stay in the first-level cache from one column to the next,
# each of which writes a number or two in every row. 30 columns into float32 take 20 ns a row; with 16 or 128 rows
# it was a tenth more.
_TOGETHER = 64

# The numbers of `Encoding.places` for each column: where its inputs begin, how many categories it has (0: a number),
# and the inputs of unknown categories and of what is missing (-1: none).
PLACE, CATEGORIES, OTHER, MISSING, N_PLACES = range(5)
# Those of `Encoding.numbers`: ``(x - CENTRE) / SCALE``, and what is in its place where x is missing.
CENTRE, SCALE, FILL, N_NUMBERS = range(4)


class Encoding(NamedTuple):
    """What `encode` reads and writes; all arrays are flat.

    Parameters
    ----------
    rows : array, shape (n_rows, n_inputs)
        The result, of float32 or float64.
    values : array of float64, shape (n_columns, stride)
        The columns' values, n_rows each; those of numbers are overwritten.
    places : array of int64, shape (n_columns, N_PLACES)
    numbers : array of float64, shape (n_columns, N_NUMBERS)
    strange : array of int64, shape (n_columns,)
        The count of values whose input isn't below `limit` is added here.
    bad : array of bool, shape (n_rows,)
        Becomes true for rows with such a value; rows for which it is true are zeros.
    n_inputs, stride : int
    limit : float
        The least number that isn't finite in the dtype of `rows`.
    """

    rows: Array
    values: NDArray[np.float64]
    places: NDArray[np.int64]
    numbers: NDArray[np.float64]
    strange: NDArray[np.int64]
    bad: NDArray[np.bool_]
    n_inputs: int
    stride: int
    limit: float


def limit_of(dtype: np.dtype[np.floating]) -> float:
    """The least float64 that rounds to infinity in this dtype."""
    if dtype == np.float64:
        return np.inf
    top, below = np.finfo(dtype).max, np.nextafter(np.finfo(dtype).max, dtype.type(0))
    return float(top) + (float(top) - float(below)) / 2


@jit
def standardise(values: NDArray[np.float64], numbers: NDArray[np.float64], limit: float) -> int:
    """``(x - centre) / scale`` in place, ``fill`` for NaN; returns how many aren't below the limit."""
    centre, scale, fill = numbers[CENTRE], numbers[SCALE], numbers[FILL]
    strange = 0
    for i in range(values.size):
        x = values[i]
        z = (x - centre) / scale
        z = z if x == x else fill
        values[i] = z
        strange += 0 if abs(z) < limit else 1
    return strange


@jit
def encode_number(
    args: Encoding, column: int, values: NDArray[np.float64], rows: Array, bad: NDArray[np.bool_]
) -> None:
    """A number's inputs in some rows: itself, and whether it is missing."""
    places = args.places[column * N_PLACES : (column + 1) * N_PLACES]
    numbers = args.numbers[column * N_NUMBERS : (column + 1) * N_NUMBERS]
    if places[MISSING] >= 0:
        flags = rows[places[MISSING] :]
        for i in range(values.size):
            flags[i * args.n_inputs] = 0 if values[i] == values[i] else 1
    strange = standardise(values, numbers, args.limit)
    inputs = rows[places[PLACE] :]
    at, step = np.uint64(0), np.uint64(args.n_inputs)  # unsigned: of others Numba asks whether they are below 0
    for i in range(values.size):
        inputs[at] = values[i]
        at += step
    if strange:
        args.strange[column] += strange
        for i in range(values.size):
            bad[i] |= not abs(values[i]) < args.limit


@jit
def encode_category(args: Encoding, column: int, values: Array, rows: Array) -> None:
    """A category's inputs in some rows: a 1 among zeros, or zeros alone."""
    places = args.places[column * N_PLACES : (column + 1) * N_PLACES]
    first, width = places[PLACE], places[CATEGORIES]
    for i in range(values.size):
        row = rows[i * args.n_inputs : (i + 1) * args.n_inputs]
        known = row[first : first + width]
        for k in range(width):
            known[k] = 0
        for extra in (places[OTHER], places[MISSING]):
            if extra >= 0:
                row[extra] = 0
        code = values[i]
        place = places[MISSING]
        if code >= 0:
            place = first + np.int64(code)
        elif code == code:
            place = places[OTHER]
        if place >= 0:
            row[place] = 1


@jit
def encode_rows(args: Encoding, part: int, parts: int) -> None:
    """All columns of all rows; for one part only."""
    n_rows, n_columns = args.bad.size, args.strange.size
    for start in range(0, n_rows, _TOGETHER):
        stop = min(start + _TOGETHER, n_rows)
        rows, bad = args.rows[start * args.n_inputs : stop * args.n_inputs], args.bad[start:stop]
        for column in range(n_columns):
            values = args.values[column * args.stride + start : column * args.stride + stop]
            if args.places[column * N_PLACES + CATEGORIES]:
                encode_category(args, column, values, rows)
            else:
                encode_number(args, column, values, rows, bad)
        for i in range(stop - start):
            if bad[i]:
                row = rows[i * args.n_inputs : (i + 1) * args.n_inputs]
                for k in range(args.n_inputs):
                    row[k] = 0


encode = kernel(encode_rows)
