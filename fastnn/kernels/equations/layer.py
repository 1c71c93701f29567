"""One layer's products and sums, a block of rows or a tile at a time: F1 (and B4's product), B2 and B3."""

from __future__ import annotations

from typing import NamedTuple

from fastnn.kernels.arrays import Array
from fastnn.kernels.simd.operands import Init, Left, Out, Right
from fastnn.kernels.simd.products import row_tile, tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROW_PANELS, ROWS
from fastnn.runtime.compiler import jit


class Matrix(NamedTuple):
    """A matrix that begins at ``data[start]``: in panels (see `layout`) if `row` is 0, else in rows of length `row`."""

    data: Array
    start: int
    row: int


@jit
def lines_of(matrix: Matrix, column: int, wide: int, n_rows: int) -> Right:
    """The panel of a matrix of `n_rows` rows that begins at `column` and is `wide` numbers wide."""
    if matrix.row:
        return Right(matrix.data, matrix.start + column, matrix.row)
    return Right(matrix.data, matrix.start + column * n_rows, wide)


@jit
def multiply(out: Out, left: Left, right: Matrix, init: Init, n_sum: int) -> None:
    """``out = init + left @ right`` for any number of rows and lines.

    The outer loop goes over panels, and the inner one over tiles of rows: a panel (n_sum rows of two lines, 100 KB at
    n_sum = 784) is read from L2 while ROWS rows of `left` stay in L1. A single row takes several panels at once.
    """
    line = LINE_BYTES // out.data.itemsize
    single = 0  # the lines that `row_tile` covers
    if out.rows == 1:
        single = out.lines // (ROW_PANELS * PANEL_LINES) * (ROW_PANELS * PANEL_LINES)
        for first in range(0, single, ROW_PANELS * PANEL_LINES):
            column, wide = first * line, PANEL_LINES * line
            panel = lines_of(right, column, wide, n_sum)
            row_tile(
                Out(out.data, out.start + column, out.stride, 1, ROW_PANELS * PANEL_LINES),
                left,
                panel,
                lines_of(right, column + wide, wide, n_sum).start - panel.start,
                Init(init.data, init.start + column),
                n_sum,
            )
    for first in range(single, out.lines, PANEL_LINES):
        n_lines = min(PANEL_LINES, out.lines - first)
        column = first * line
        panel = lines_of(right, column, n_lines * line, n_sum)
        start = Init(init.data, init.start + column)
        for r in range(0, out.rows, ROWS):
            block = Out(out.data, out.start + r * out.stride + column, out.stride, min(ROWS, out.rows - r), n_lines)
            tile(block, Left(left.data, left.start + r * left.row, left.row, left.step), panel, start, n_sum)


@jit
def sum_rows(rows: Array, stride: int, n_rows: int, total: Array) -> None:
    """B3: ``total[j] = sum_i rows[i * stride + j]``, the rows in order."""
    for j in range(total.size):
        total[j] = 0
    for i in range(n_rows):
        row = rows[i * stride : i * stride + total.size]
        for j in range(total.size):
            total[j] += row[j]
