"""Blocks are transposed, whatever part of them exists."""

from __future__ import annotations

import numpy as np
from cases import each_dtype

from fastnn.kernels.simd.moves import transpose_block
from fastnn.kernels.simd.operands import Rows
from fastnn.kernels.simd.shape import lanes_of
from fastnn.runtime.compiler import jit


@jit
def one_transpose(out, rows):
    transpose_block(out, rows)


@each_dtype
def test_transpose_block(dtype: type) -> None:
    """Any numbers of rows in and out: rows that don't exist count as zeros, and only existing rows are written."""
    lanes = lanes_of(np.dtype(dtype).itemsize)
    rows = np.arange(1, lanes * (lanes + 2) + 1, dtype=dtype).reshape(lanes, lanes + 2)
    for n_rows in range(1, lanes + 3):
        for n_out in range(1, lanes + 3):
            out = np.full((lanes, lanes + 1), np.nan, dtype)
            one_transpose(Rows(out.ravel(), 0, lanes + 1, n_out), Rows(rows.ravel(), 0, lanes + 2, n_rows))
            expected = np.where(np.arange(lanes) < n_rows, rows[:, :lanes].T, 0)
            assert (out[:n_out, :lanes] == expected[:n_out]).all()
            assert np.isnan(out[n_out:]).all()
            assert np.isnan(out[:, lanes:]).all()
