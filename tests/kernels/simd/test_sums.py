"""Sums across lanes: in a fixed order, whatever the width of a vector."""

from __future__ import annotations

import numpy as np
from cases import each_dtype, same_bytes
from chains import fused

from fastnn.kernels.layout import line_elements
from fastnn.kernels.simd.operands import Lines, Rows
from fastnn.kernels.simd.shape import dot_shape, lanes_of
from fastnn.kernels.simd.sums import dots, line_dot, line_sum
from fastnn.runtime.compiler import jit


@jit
def one_dots(out, left, right, n_lines):
    dots(out, left, right, n_lines)


@jit
def lines_added_up(x, y, out):
    out[0], out[1] = line_sum(x), line_dot(x, y)


def lane_by_lane(left, right):
    """The sum of products in the order of `dots`."""
    lanes = np.zeros(line_elements(left.dtype), left.dtype)
    for x, y in zip(left.reshape(-1, lanes.size), right.reshape(-1, lanes.size), strict=True):
        fused(x, y, lanes.copy(), lanes)
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    return lanes[0]


@each_dtype
def test_dots(dtype: type) -> None:
    """Each lane is a chain over the lines, and the lanes are added half to half, whatever the width of a vector."""
    line = line_elements(dtype)
    n_rows, n_columns = dot_shape(lanes_of(np.dtype(dtype).itemsize))
    rng = np.random.default_rng(3)
    left, right = (rng.standard_normal((n, 5 * line)).astype(dtype) for n in (n_rows, n_columns))
    for n_lines in (1, 2, 5):
        for rows in range(1, n_rows + 1):
            for columns in range(1, n_columns + 1):
                before = rng.standard_normal((n_rows + 1, n_columns + 2)).astype(dtype)
                out = before.copy()
                one_dots(
                    Rows(out.ravel(), 0, n_columns + 2, 0),
                    Rows(left.ravel(), 0, 5 * line, rows),
                    Rows(right.ravel(), 0, 5 * line, columns),
                    n_lines,
                )
                expected = before.copy()
                for r in range(rows):
                    for c in range(columns):
                        expected[r, c] += lane_by_lane(left[r, : n_lines * line], right[c, : n_lines * line])
                assert same_bytes(out, expected)


@each_dtype
def test_line_sum_and_line_dot(dtype: type) -> None:
    line = line_elements(dtype)
    x, y = np.random.default_rng(3).standard_normal((2, 9 * line)).astype(dtype)
    for first, n_lines in ((0, 1), (3, 1), (0, 2), (line, 8), (line - 1, 8)):
        here = slice(first, first + n_lines * line)
        out = np.zeros(2, dtype)
        lines_added_up(Lines(x, first, n_lines), Lines(y, first, n_lines), out)
        expected = lane_by_lane(x[here], np.ones_like(x[here])), lane_by_lane(x[here], y[here])
        assert same_bytes(out, np.array(expected, dtype))
