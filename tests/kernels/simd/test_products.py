"""The register tile and its relatives: one chain of fused multiply-adds per element, nothing written beside it."""

from __future__ import annotations

import numpy as np
from cases import DTYPES, each_dtype, same_bytes
from chains import chained, fused, product
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.kernels.equations import layer
from fastnn.kernels.layout import line_elements, pack, width
from fastnn.kernels.simd.operands import Init, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import row_tile, tile, tile_step
from fastnn.kernels.simd.shape import PANEL_LINES, ROW_PANELS, ROWS
from fastnn.runtime.compiler import jit


@jit
def one_tile(out, left, right, init, n_sum):
    tile(out, left, right, init, n_sum)


@jit
def one_step(out, left, right, n_sum, step):
    tile_step(out, left, right, n_sum, step)


@jit
def one_row(out, left, right, apart, init, n_sum):
    row_tile(out, left, right, apart, init, n_sum)


@each_dtype
def test_tile(dtype: type) -> None:
    """For any number of rows and lines, the result has the bits of the promised chains; nothing beside it changes."""
    line = line_elements(dtype)
    rng = np.random.default_rng(0)
    for rows in range(1, ROWS + 1):
        for n_lines in range(1, PANEL_LINES + 1):
            for n_sum in (0, 1, 2, 33):
                wide = n_lines * line
                left = rng.standard_normal((rows, n_sum)).astype(dtype)
                right = rng.standard_normal((n_sum, wide)).astype(dtype)
                init = rng.standard_normal(wide).astype(dtype)
                # Operands begin anywhere, and their rows are further apart than they are wide, with NaN in between.
                out = np.full((rows + 2, wide + 3), np.nan, dtype)
                transposed = np.full((n_sum + 1, rows + 5), np.nan, dtype)
                transposed[1:, 5:] = left.T
                strided = np.full((n_sum + 1, wide + 1), np.nan, dtype)
                strided[1:, 1:] = right
                one_tile(
                    Out(out.ravel(), wide + 3 + 2, wide + 3, rows, n_lines),
                    Left(transposed.ravel(), rows + 5 + 5, 1, rows + 5),
                    Right(strided.ravel(), wide + 1 + 1, wide + 1),
                    Init(np.append(np.full(3, np.nan, dtype), init), 3),
                    n_sum,
                )
                inside = out[1 : rows + 1, 2 : 2 + wide]
                assert same_bytes(np.ascontiguousarray(inside), chained(left, right, init))
                assert np.isnan(out).sum() == out.size - inside.size


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 3 * ROWS + 1),
    n_out=st.integers(1, 100),
    n_sum=st.integers(0, 40),
    dtype=st.sampled_from(DTYPES),
)
def test_multiply(rows: int, n_out: int, n_sum: int, dtype: type) -> None:
    """The tiles and panels of a whole product, whose rows are further apart than they are wide, like activations."""
    rng = np.random.default_rng([rows, n_out, n_sum])
    left = rng.standard_normal((rows, n_sum)).astype(dtype)
    W = rng.standard_normal((n_sum, n_out)).astype(dtype)
    bias = np.zeros(width(n_out, dtype), dtype)
    bias[:n_out] = rng.standard_normal(n_out)
    packed = np.zeros(n_sum * bias.size, dtype)
    pack(W, packed)
    stride = bias.size + line_elements(dtype)
    out = np.full((rows, stride), np.nan, dtype)
    lines = bias.size // line_elements(dtype)
    product(
        Out(out.ravel(), 0, stride, rows, lines),
        Left(left.ravel(), 0, n_sum, 1),
        layer.Matrix(packed, 0, 0),
        Init(bias, 0),
        n_sum,
    )
    assert same_bytes(np.ascontiguousarray(out[:, :n_out]), chained(left, W, bias[:n_out]))
    assert (out[:, n_out : bias.size] == 0).all()
    assert np.isnan(out[:, bias.size :]).all()


@each_dtype
def test_tile_step(dtype: type) -> None:
    """The result is one fused step with the chains of the transposed left operand, which start from zero."""
    line = line_elements(dtype)
    rng = np.random.default_rng(1)
    for rows in range(1, ROWS + 1):
        for n_lines in range(1, PANEL_LINES + 1):
            for n_sum in (0, 1, 33):
                wide = n_lines * line
                columns = rng.standard_normal((n_sum, ROWS)).astype(dtype)
                right = rng.standard_normal((n_sum, wide)).astype(dtype)
                before = rng.standard_normal((rows + 1, wide + 1)).astype(dtype)
                out = before.copy()
                one_step(
                    Out(out.ravel(), 0, wide + 1, rows, n_lines),
                    LeftColumns(columns.ravel(), 0, ROWS),
                    Right(right.ravel(), 0, wide),
                    n_sum,
                    dtype(0.3),
                )
                gradient = chained(columns.T[:rows], right, np.zeros(wide, dtype))
                stepped = np.empty_like(gradient)
                fused(
                    np.full(gradient.size, -dtype(0.3)),
                    gradient.ravel(),
                    np.ascontiguousarray(before[:rows, :wide]).ravel(),
                    stepped.ravel(),
                )
                assert same_bytes(np.ascontiguousarray(out[:rows, :wide]), stepped)
                assert same_bytes(np.ascontiguousarray(out[:, wide:]), np.ascontiguousarray(before[:, wide:]))
                assert same_bytes(out[rows:], before[rows:])


@each_dtype
def test_row_tile(dtype: type) -> None:
    """One row of several panels has the bits of `tile`."""
    rng = np.random.default_rng(2)
    panel = PANEL_LINES * line_elements(dtype)
    n_out = ROW_PANELS * panel
    for n_sum in (0, 1, 50):
        left, W = rng.standard_normal(n_sum).astype(dtype), rng.standard_normal((n_sum, n_out)).astype(dtype)
        init = rng.standard_normal(n_out).astype(dtype)
        packed = np.zeros(max(1, n_sum * n_out), dtype)
        pack(W, packed[: n_sum * n_out])
        out = np.full(n_out + 1, np.nan, dtype)
        one_row(
            Out(out, 0, n_out, 1, ROW_PANELS * PANEL_LINES),
            Left(np.append(left, dtype(0)), 0, n_sum, 1),
            Right(packed, 0, panel),
            panel * n_sum,
            Init(init, 0),
            n_sum,
        )
        assert same_bytes(out[None, :n_out], chained(left[None], W, init))
        assert np.isnan(out[n_out])
