"""B2, B3, B4 and U1: the gradients of a layer, and the step against them, on arrays.

Parallel work is split by the ownership of results: rows of `delta_prev`, features (rows of `W`) of `grad_W`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.kernels import layout
from fastnn.kernels.arguments import check_shape, deliver, destination, operand
from fastnn.kernels.arrays import Array, flat
from fastnn.kernels.equations.activation import CODES, multiply_by_derivative
from fastnn.kernels.equations.layer import sum_rows
from fastnn.kernels.equations.solver import step_down
from fastnn.kernels.functions.blocks import Product, multiply_block, product_of
from fastnn.kernels.functions.described import described
from fastnn.kernels.simd.operands import Init, LeftColumns, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, launch, share
from fastnn.runtime.threads import threads_for

_TANH = CODES["tanh"]


@jit
def hidden_delta_rows(args: Product, part: int, parts: int) -> None:
    """B4 for this part's rows, a block at a time while it is in cache."""
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, layout.ROW_BLOCK):
        block = multiply_block(args, i, last)
        multiply_by_derivative(_TANH, args.out[block], args.given[block])


_hidden_delta = kernel(hidden_delta_rows)


@described
def hidden_delta(delta: Array, W: Array, a_prev: Array, out: Array | None = None) -> Array:
    """Gradient of the loss in a tanh layer's `z` (B4): ``delta_prev = (delta @ W.T) * (1 - a_prev**2)``.

    Parameters
    ----------
    delta : ndarray of shape (n, n_out), float32 or float64
        The gradient in the `z` of the layer above.
    W : ndarray of shape (n_in, n_out), same dtype
        The weights of the layer above.
    a_prev : ndarray of shape (n, n_in), same dtype
        This layer's output, after tanh.
    out : ndarray of shape (n, n_in), same dtype, optional

    Returns
    -------
    delta_prev : ndarray of shape (n, n_in)
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
        zeros = np.zeros(padded, delta.dtype)
        args = product_of(delta, W_transposed, 0, zeros, result, padded, flat(a_prev))
        launch(_hidden_delta, args, threads=threads_for(2.0 * n_rows * n_out * padded))
    return deliver(result, out)


class WeightGradient(NamedTuple):
    """What B2 reads and writes: plain rows `a_prev`, and rows of `delta` and `grad_W` padded to `stride`."""

    a_prev: Array
    delta: Array
    zeros: Array
    grad_W: Array
    n_rows: int
    n_in: int
    stride: int


@jit
def weight_gradient_features(args: WeightGradient, part: int, parts: int) -> None:
    """B2 for this part's features."""
    line = LINE_BYTES // args.grad_W.itemsize
    first, last = share(args.n_in, ROWS, part, parts)
    for column in range(0, args.stride, PANEL_LINES * line):
        n_lines = min(PANEL_LINES, (args.stride - column) // line)
        delta = Right(args.delta, column, args.stride)
        for k in range(first, last, ROWS):
            out = Out(args.grad_W, k * args.stride + column, args.stride, min(ROWS, last - k), n_lines)
            tile(out, LeftColumns(args.a_prev, k, args.n_in), delta, Init(args.zeros, 0), args.n_rows)


_weight_gradient = kernel(weight_gradient_features)


@described
def weight_gradient(a_prev: Array, delta: Array, out: Array | None = None) -> Array:
    """Gradient of the loss in the weights (B2): ``grad_W = a_prev.T @ delta``, summed over the samples in order.

    Parameters
    ----------
    a_prev : ndarray of shape (n, n_in), float32 or float64
        The layer's inputs.
    delta : ndarray of shape (n, n_out), same dtype
        The gradient in the layer's `z`.
    out : ndarray of shape (n_in, n_out), same dtype, optional

    Returns
    -------
    grad_W : ndarray of shape (n_in, n_out)
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


@described
def bias_gradient(delta: Array, out: Array | None = None) -> Array:
    """Gradient of the loss in the biases (B3): ``grad_b = sum_i delta[i]``, over the samples in order.

    Parameters
    ----------
    delta : ndarray of shape (n, n_out), float32 or float64
        The gradient in the layer's `z`.
    out : ndarray of shape (n_out,), same dtype, optional

    Returns
    -------
    grad_b : ndarray of shape (n_out,)
    """
    delta = operand("delta", delta, 2)
    n_rows, n_out = delta.shape
    result = destination(out, (n_out,), delta.dtype, (delta,))
    if result.size:
        args = BiasGradient(flat(delta), flat(result), n_rows, n_out)
        launch(_bias_gradient, args, threads=threads_for(float(delta.size)))
    return deliver(result, out)


class SgdStep(NamedTuple):
    """What U1 reads and writes."""

    param: Array
    grad: Array
    step_size: float


@jit
def sgd_step_block(args: SgdStep, part: int, parts: int) -> None:
    """U1 for this part's parameters."""
    first, last = share(args.param.size, LINE_BYTES // args.param.itemsize, part, parts)
    dtype = args.param.dtype.type
    step_down(args.param[first:last], args.grad[first:last], dtype(args.step_size))


_sgd_step = kernel(sgd_step_block)


def sgd_step(param: Array, grad: Array, step_size: float) -> None:
    """Step against the gradient (U1), in place: ``param -= step_size * grad``.

    Parameters
    ----------
    param : ndarray of any shape, float32 or float64
        Weights or biases; overwritten. Must be C-contiguous and writable.
    grad : ndarray of the same shape and dtype
        The gradient of the loss in `param`.
    step_size : float
        The step's size, rounded to the dtype of `param`.

    Raises
    ------
    TypeError
        If `param` isn't an array, or if a dtype is neither float32 nor float64 or differs from the other.
    ValueError
        If the shapes differ, or `param` can't be written in place.
    """
    if not isinstance(param, np.ndarray):
        raise TypeError(f"param must be an array, to be changed in place, got {type(param).__name__}.")
    values = operand("param", param, 0)
    if not param.flags.writeable or (param.size and not np.shares_memory(values, param)):
        raise ValueError("param must be writable, C-contiguous and of native byte order, to be changed in place.")
    grad = operand("grad", grad, 0, values.dtype)
    check_shape("grad", grad, param.shape, "the shape of param")
    if np.may_share_memory(values, grad):
        grad = grad.copy()
    if values.size:
        launch(_sgd_step, SgdStep(flat(values), flat(grad), float(step_size)), threads=threads_for(2.0 * values.size))
