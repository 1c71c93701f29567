"""One layer: F1 and F2 forward, B4, B2 and B3 backward.

Each equation is one block body, shared by the public function beneath it and by the compiled epoch. Parallel work is
split by ownership of the output: rows of `z` and `delta_prev`, features (rows of `W`) of `grad_W`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.kernels import layout
from fastnn.kernels.arrays import Array, borrow, check_shape, copy, deliver, destination, flat, give_back, operand
from fastnn.kernels.equations.activation import CODES, activate, multiply_by_derivative
from fastnn.kernels.simd.moves import PREFETCHED_LINES, prefetch
from fastnn.kernels.simd.operands import Init, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import row_tile, tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROW_PANELS, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, launch, share
from fastnn.runtime.threads import threads_for


class Matrix(NamedTuple):
    """A matrix from ``data[start]`` on: in panels (see `layout`) if `row` is 0, else plain rows of that length."""

    data: Array
    start: int
    row: int


@jit
def lines_of(matrix: Matrix, column: int, wide: int, n_rows: int) -> Right:
    """The lines of a panel, which begins at this column and is so wide."""
    if matrix.row:
        return Right(matrix.data, matrix.start + column, matrix.row)
    return Right(matrix.data, matrix.start + column * n_rows, wide)


@jit
def multiply(out: Out, left: Left, right: Matrix, init: Init, n_sum: int) -> None:
    """``out = init + left @ right`` for any number of rows and lines: panels outside, tiles of rows inside.

    The panel (n_sum rows of two lines, 100 KB at n_sum = 784) streams from L2 while ROWS rows of `left` stay in L1.
    """
    line = LINE_BYTES // out.data.itemsize
    single = 0  # lines that are done when there is one row
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


class Packing(NamedTuple):
    """What packing reads and writes: plain rows of `W` (n_in, n_out), and its panels."""

    W: Array
    packed: Array
    n_in: int
    n_out: int


# Packing asks for the lines of so many rows ahead. Short pieces of rows far apart come from memory one by one
# otherwise: once a product of 1024x784x512 has pushed W out, packing adds 0.7 ms to it in float64, with this 0.35.
PACKED_AHEAD = 16


@jit
def pack_rows(args: Packing, part: int, parts: int) -> None:
    """Lay this part's rows of W out in panels, the padding zero."""
    n_in, n_out = args.n_in, args.n_out
    line = LINE_BYTES // args.W.itemsize
    first, last = share(n_in, 1, part, parts)
    panel = PANEL_LINES * line
    for group in range(0, n_out, PREFETCHED_LINES * line):
        for k in range(first, last):
            prefetch(args.W, (k + PACKED_AHEAD) * n_out + group)
            for column in range(group, min(group + PREFETCHED_LINES * line, n_out), panel):
                n = min(panel, n_out - column)
                wide = (n + line - 1) // line * line
                target = args.packed[column * n_in + k * wide : column * n_in + (k + 1) * wide]
                copy(args.W[k * n_out + column : k * n_out + column + n], target)
                for j in range(n, wide):
                    target[j] = 0


_pack = kernel(pack_rows)


class Affine(NamedTuple):
    """What F1 and F2 read and write: plain rows `a_prev` and `out`, `W` (see `Matrix`), padded `b` and `z`."""

    a_prev: Array
    W: Array
    W_row: int
    b: Array
    z: Array
    out: Array
    n_rows: int
    n_in: int
    n_out: int
    activation: int


@jit
def affine_rows(args: Affine, part: int, parts: int) -> None:
    """F1 and F2 for this part's rows, a block at a time while it is in cache."""
    line = LINE_BYTES // args.z.itemsize
    n_lines = (args.n_out + line - 1) // line
    stride = n_lines * line
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, layout.ROW_BLOCK):
        rows = min(layout.ROW_BLOCK, last - i)
        multiply(
            Out(args.z, i * stride, stride, rows, n_lines),
            Left(args.a_prev, i * args.n_in, args.n_in, 1),
            Matrix(args.W, 0, args.W_row),
            Init(args.b, 0),
            args.n_in,
        )
        if stride != args.n_out:
            for r in range(i, i + rows):
                copy(args.z[r * stride : r * stride + args.n_out], args.out[r * args.n_out : (r + 1) * args.n_out])
        activate(args.activation, args.out[i * args.n_out : (i + rows) * args.n_out])


_affine = kernel(affine_rows)

# A matrix that stays in L2 is read where it lies: 256x784x128 in float32 takes 200 µs instead of 212. A larger one
# would be read from L3 or, with its rows 4 KB apart, out of few of L2's lines: float64 1024x784x512 takes 10.7 ms,
# packed 6.9. For few rows packing takes longer than the product: 8 rows by 784x512 in float32 take 50 µs, packed 113.
PLAIN_BYTES = 512 << 10
PLAIN_ROWS = 32


def reads_plain(n_rows: int, n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether F1 reads W where it lies, rather than packed. Its sums have the same order either way."""
    whole_lines = n_out * itemsize % LINE_BYTES == 0
    return whole_lines and (n_in * n_out * itemsize <= PLAIN_BYTES or n_rows <= PLAIN_ROWS)


def linear(X: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """Matrix product plus bias (F1): ``z = X @ W + b``.

    Each element is one chain of fused multiply-adds in index order that starts from the bias.

    Parameters
    ----------
    X : ndarray of shape (n, n_in), float32 or float64
    W : ndarray of shape (n_in, n_out), same dtype
    b : ndarray of shape (n_out,), same dtype
    out : ndarray of shape (n, n_out), same dtype, optional
        Where to put the result.

    Returns
    -------
    z : ndarray of shape (n, n_out)

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If the shapes don't fit together.
    """
    return _launch_affine(X, W, b, out, "identity")


def linear_tanh(X: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """Layer with tanh (F1 and F2): ``a = tanh(X @ W + b)``, with tanh taken while the rows are in cache.

    Parameters
    ----------
    X : ndarray of shape (n, n_in), float32 or float64
    W : ndarray of shape (n_in, n_out), same dtype
    b : ndarray of shape (n_out,), same dtype
    out : ndarray of shape (n, n_out), same dtype, optional
        Where to put the result.

    Returns
    -------
    a : ndarray of shape (n, n_out)

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If the shapes don't fit together.
    """
    return _launch_affine(X, W, b, out, "tanh")


def _launch_affine(X: Array, W: Array, b: Array, out: Array | None, activation: str) -> Array:
    X = operand("X", X, 2)
    W = operand("W", W, 2, X.dtype)
    b = operand("b", b, 1, X.dtype)
    (n_rows, n_in), n_out = X.shape, W.shape[1]
    check_shape("W", W, (n_in, n_out), "the columns of X by the outputs")
    check_shape("b", b, (n_out,), "the columns of W")
    result = destination(out, (n_rows, n_out), X.dtype, (X, W, b))
    if result.size:
        padded = layout.width(n_out, X.dtype)
        threads = threads_for(2.0 * n_rows * n_in * padded)
        sizes = n_rows, n_in, n_out, CODES[activation]
        plain = flat(result)
        if reads_plain(n_rows, n_in, n_out, X.itemsize):
            launch(_affine, Affine(flat(X), flat(W), n_out, flat(b), plain, plain, *sizes), threads=threads)
        else:
            memory = borrow((n_in + 1) * padded, X.dtype)
            packed, bias = memory[: n_in * padded], memory[n_in * padded : (n_in + 1) * padded]
            launch(_pack, Packing(flat(W), packed, n_in, n_out), threads=threads)
            bias[:n_out] = b
            bias[n_out:] = 0
            z = plain if padded == n_out else np.empty(n_rows * padded, X.dtype)
            launch(_affine, Affine(flat(X), packed, 0, bias, z, plain, *sizes), threads=threads)
            give_back(memory)
    return deliver(result, out)


class HiddenDelta(NamedTuple):
    """What B4 reads and writes: plain `delta`, `a_prev`, `out`, packed transposed `W`, padded rows `product`."""

    delta: Array
    W_transposed: Array
    a_prev: Array
    zeros: Array
    product: Array
    out: Array
    n_rows: int
    n_in: int
    n_out: int


@jit
def hidden_delta_rows(args: HiddenDelta, part: int, parts: int) -> None:
    """B4 for this part's rows, a block at a time while it is in cache."""
    line = LINE_BYTES // args.product.itemsize
    n_lines = (args.n_in + line - 1) // line
    stride = n_lines * line
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, layout.ROW_BLOCK):
        rows = min(layout.ROW_BLOCK, last - i)
        multiply(
            Out(args.product, i * stride, stride, rows, n_lines),
            Left(args.delta, i * args.n_out, args.n_out, 1),
            Matrix(args.W_transposed, 0, 0),
            Init(args.zeros, 0),
            args.n_out,
        )
        if stride != args.n_in:
            for r in range(i, i + rows):
                copy(args.product[r * stride : r * stride + args.n_in], args.out[r * args.n_in : (r + 1) * args.n_in])
        start, stop = i * args.n_in, (i + rows) * args.n_in
        multiply_by_derivative(_TANH, args.out[start:stop], args.a_prev[start:stop])


_TANH = CODES["tanh"]
_hidden_delta = kernel(hidden_delta_rows)


def hidden_delta(delta: Array, W: Array, a_prev: Array, out: Array | None = None) -> Array:
    """Gradient of the loss in a tanh layer's `z` (B4): ``delta_prev = (delta @ W.T) * (1 - a_prev**2)``.

    Parameters
    ----------
    delta : ndarray of shape (n, n_out), float32 or float64
        The gradient in the `z` of the layer above.
    W : ndarray of shape (n_in, n_out), same dtype
        The weights of the layer above.
    a_prev : ndarray of shape (n, n_in), same dtype
        What this layer put out: its tanh.
    out : ndarray of shape (n, n_in), same dtype, optional
        Where to put the result.

    Returns
    -------
    delta_prev : ndarray of shape (n, n_in)

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If the shapes don't fit together.
    """
    delta = operand("delta", delta, 2)
    W = operand("W", W, 2, delta.dtype)
    a_prev = operand("a_prev", a_prev, 2, delta.dtype)
    (n_rows, n_out), n_in = delta.shape, W.shape[0]
    check_shape("W", W, (n_in, n_out), "the columns of a_prev by those of delta")
    check_shape("a_prev", a_prev, (n_rows, n_in), "the rows of delta by those of W")
    result = destination(out, (n_rows, n_in), delta.dtype, (delta, W, a_prev))
    if result.size:
        padded = layout.width(n_in, delta.dtype)
        W_transposed = np.zeros(n_out * padded, delta.dtype)
        layout.pack(W.T, W_transposed)
        product = flat(result) if padded == n_in else np.empty(n_rows * padded, delta.dtype)
        zeros = np.zeros(padded, delta.dtype)
        args = HiddenDelta(flat(delta), W_transposed, flat(a_prev), zeros, product, flat(result), n_rows, n_in, n_out)
        launch(_hidden_delta, args, threads=threads_for(2.0 * n_rows * n_out * padded))
    return deliver(result, out)


class WeightGradient(NamedTuple):
    """What B2 reads and writes: plain rows `a_prev`, rows of `delta` and `grad_W` padded to `stride`."""

    a_prev: Array
    delta: Array
    zeros: Array
    grad_W: Array
    n_rows: int
    n_in: int
    stride: int


@jit
def weight_gradient_features(args: WeightGradient, part: int, parts: int) -> None:
    """B2 for this part's features: the tile with `a_prev` transposed, so the sum runs over the samples in order."""
    line = LINE_BYTES // args.grad_W.itemsize
    first, last = share(args.n_in, ROWS, part, parts)
    for column in range(0, args.stride, PANEL_LINES * line):
        n_lines = min(PANEL_LINES, (args.stride - column) // line)
        delta = Right(args.delta, column, args.stride)
        for k in range(first, last, ROWS):
            out = Out(args.grad_W, k * args.stride + column, args.stride, min(ROWS, last - k), n_lines)
            tile(out, LeftColumns(args.a_prev, k, args.n_in), delta, Init(args.zeros, 0), args.n_rows)


_weight_gradient = kernel(weight_gradient_features)


def weight_gradient(a_prev: Array, delta: Array, out: Array | None = None) -> Array:
    """Gradient of the loss in the weights (B2): ``grad_W = a_prev.T @ delta``, summed over the samples in order.

    Parameters
    ----------
    a_prev : ndarray of shape (n, n_in), float32 or float64
        The layer's inputs.
    delta : ndarray of shape (n, n_out), same dtype
        The gradient in its `z`.
    out : ndarray of shape (n_in, n_out), same dtype, optional
        Where to put the result.

    Returns
    -------
    grad_W : ndarray of shape (n_in, n_out)

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If the shapes don't fit together.
    """
    a_prev = operand("a_prev", a_prev, 2)
    delta = operand("delta", delta, 2, a_prev.dtype)
    (n_rows, n_in), n_out = a_prev.shape, delta.shape[1]
    check_shape("delta", delta, (n_rows, n_out), "the rows of a_prev by the outputs")
    result = destination(out, (n_in, n_out), a_prev.dtype, (a_prev, delta))
    if result.size:
        stride = layout.width(n_out, a_prev.dtype)
        if stride == n_out:
            padded_delta, grad_W = flat(delta), flat(result)
        else:
            padded = np.zeros((n_rows, stride), a_prev.dtype)
            padded[:, :n_out] = delta
            padded_delta, grad_W = flat(padded), np.empty(n_in * stride, a_prev.dtype)
        zeros = np.zeros(stride, a_prev.dtype)
        args = WeightGradient(flat(a_prev), padded_delta, zeros, grad_W, n_rows, n_in, stride)
        launch(_weight_gradient, args, threads=threads_for(2.0 * n_rows * n_in * stride))
        if stride != n_out:
            result[...] = grad_W.reshape(n_in, stride)[:, :n_out]
    return deliver(result, out)


@jit
def sum_rows(rows: Array, stride: int, n_rows: int, total: Array) -> None:
    """B3: ``total[j] = sum_i rows[i * stride + j]``, over the rows in order."""
    for j in range(total.size):
        total[j] = 0
    for i in range(n_rows):
        row = rows[i * stride : i * stride + total.size]
        for j in range(total.size):
            total[j] += row[j]


class BiasGradient(NamedTuple):
    """What B3 reads and writes: plain rows of `delta`, and `grad_b`."""

    delta: Array
    grad_b: Array
    n_rows: int
    n_out: int


@jit
def bias_gradient_columns(args: BiasGradient, part: int, parts: int) -> None:
    """B3 for this part's outputs."""
    first, last = share(args.n_out, LINE_BYTES // args.delta.itemsize, part, parts)
    sum_rows(args.delta[first:], args.n_out, args.n_rows, args.grad_b[first:last])


_bias_gradient = kernel(bias_gradient_columns)


def bias_gradient(delta: Array, out: Array | None = None) -> Array:
    """Gradient of the loss in the biases (B3): ``grad_b = sum_i delta[i]``, over the samples in order.

    Parameters
    ----------
    delta : ndarray of shape (n, n_out), float32 or float64
    out : ndarray of shape (n_out,), same dtype, optional
        Where to put the result.

    Returns
    -------
    grad_b : ndarray of shape (n_out,)

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If the shapes don't fit together.
    """
    delta = operand("delta", delta, 2)
    n_rows, n_out = delta.shape
    result = destination(out, (n_out,), delta.dtype, (delta,))
    if result.size:
        args = BiasGradient(flat(delta), flat(result), n_rows, n_out)
        launch(_bias_gradient, args, threads=threads_for(float(delta.size)))
    return deliver(result, out)
