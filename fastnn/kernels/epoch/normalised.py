"""Layer normalisation: between F1 and F2 of a hidden layer, each sample's sums are brought to mean 0 and variance 1.

    z_hat = (z - mean(z)) / sqrt(var(z) + 1e-5)        over the layer's units, z = a_prev @ W without a bias
    a     = f(gain * z_hat + b)

With d = dloss/d(gain * z_hat + b), as B4 gives it for other layers, ``grad_gain = sum_i d * z_hat``,
``grad_b = sum_i d``, and the layer's delta, from which all else follows as ever, is

    delta = (gain * d - mean(gain * d) - z_hat * mean(gain * d * z_hat)) / sqrt(var(z) + 1e-5)

All hidden layers of a network have gains or none has. Networks with gains have kernels of their own; in those of others
nothing of this is, and this file is imported when the first network with gains trains or scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.epoch.general import (
    PLAIN_ROWS,
    SPARSE_ROWS,
    Dropping,
    Hidden,
    bias_gradient_of_plain,
    keep_slopes,
    with_extras,
)
from fastnn.kernels.epoch.panels import Batch, Run
from fastnn.kernels.equations.layer import sum_rows
from fastnn.kernels.forward.rows import Net, forward_rows, plain_rows, predict_rows, score_layer, strange_rows
from fastnn.kernels.forward.sparse import sparse_inputs, sparse_product, strange_entries
from fastnn.kernels.layout import (
    A_START,
    B_START,
    GAIN_START,
    LINES,
    SCALE_START,
    SLOPE_START,
    STRIDE,
    ZHAT_START,
    N,
)
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Lines
from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.kernels.simd.sums import line_dot, line_sum
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel

# That of PyTorch's LayerNorm and ONNX's LayerNormalization.
EPSILON = 1e-5


@jit
def normalise(buffer: Array, start: int, n: int) -> float:
    """A sample's `n` sums, from ``buffer[start]`` on, become `z_hat`; returns what they were multiplied by.

    That is ``1 / sqrt(var(z) + 1e-5)``. The padding of the sample's lines is 0, and stays so.
    """
    dtype = buffer.dtype.type
    z, units = buffer[start : start + n], dtype(n)
    line = LINE_BYTES // buffer.itemsize
    lines = Lines(buffer, start, (n + line - 1) // line)
    mean = line_sum(lines) / units
    for j in range(n):
        z[j] -= mean
    variance = line_dot(lines, lines) / units + dtype(EPSILON)
    scale = np.sqrt(variance) / variance  # of a variance that overflows NaN, where 1 / sqrt would be 0
    for j in range(n):
        z[j] *= scale
    return scale  # type: ignore[no-any-return]


@jit
def gain_and_shift(z_hat: Array, gain: Array, b: Array) -> None:
    """``z_hat = gain * z_hat + b``."""
    for j in range(z_hat.size):
        z_hat[j] = fma(z_hat[j], gain[j], b[j])


@jit
def score_normalised(net: Net, layer: int, buffer: Array, block: Any) -> None:
    """Normalisation and F2 where the network scores."""
    table = net.table
    n, b, gain = table[layer, N], table[layer, B_START], table[layer, GAIN_START]
    for i in range(block.rows):
        start = table[layer, A_START] + i * table[layer, STRIDE]
        normalise(buffer, start, n)
        gain_and_shift(buffer[start : start + n], net.params[gain : gain + n], net.params[b : b + n])
    score_layer(net, layer, buffer, block)


@jit
def keep_normalised(net: Net, layer: int, buffer: Array, block: Dropping) -> None:
    """The same, and dropout, where the network learns: `z_hat` and its factor are kept, and the slopes."""
    table = net.table
    n, b, gain = table[layer, N], table[layer, B_START], table[layer, GAIN_START]
    for row in range(block.first, block.first + block.rows):
        start = table[layer, A_START] + row * table[layer, STRIDE]
        kept = table[layer, ZHAT_START] + row * table[layer, STRIDE]
        buffer[table[layer, SCALE_START] + row] = normalise(buffer, start, n)
        z_hat = buffer[start : start + n]
        copy(z_hat, buffer[kept : kept + n])
        gain_and_shift(z_hat, net.params[gain : gain + n], net.params[b : b + n])
    keep_slopes(net, layer, buffer, block)


@jit
def normalised_slope(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, and the way back through the normalisation.

    `d` takes the place of the slopes, ``d * z_hat`` that of `z_hat`: their sums over the samples are gradients.
    """
    table, buffer = run.table, run.buffer
    n, stride, g = table[layer, N], table[layer, STRIDE], table[layer, GAIN_START]
    slope, kept = table[layer, SLOPE_START] + first * stride, table[layer, ZHAT_START] + first * stride
    delta = buffer[here]
    d, z_hat = buffer[slope : slope + delta.size], buffer[kept : kept + delta.size]
    gain, scales = run.params[g : g + n], buffer[table[layer, SCALE_START] + first :]
    for i in range(delta.size):  # the padding, too, where slopes aren't 0 and deltas are
        d[i] *= delta[i]
    for i in range(delta.size // stride):
        row = slice(i * stride, i * stride + n)
        times_gain(delta[row], d[row], gain)
        deltas = Lines(buffer, here.start + i * stride, table[layer, LINES])
        z_hats = Lines(buffer, kept + i * stride, table[layer, LINES])
        units = buffer.dtype.type(n)
        project(delta[row], z_hat[row], line_sum(deltas) / units, line_dot(deltas, z_hats) / units, scales[i])
    for i in range(delta.size):
        z_hat[i] *= d[i]


@jit
def times_gain(delta: Array, d: Array, gain: Array) -> None:
    """``delta = gain * d``."""
    for j in range(delta.size):
        delta[j] = gain[j] * d[j]


@jit
def project(delta: Array, z_hat: Array, mean: float, along: float, scale: float) -> None:
    """``delta = (delta - mean - z_hat * along) * scale``."""
    for j in range(delta.size):
        delta[j] = fma(-along, z_hat[j], delta[j] - mean) * scale


@jit
def bias_and_gain_gradients(run: Run, batch: Batch, layer: int, gradient: Array) -> None:
    """B3, and after it, of a hidden layer, `grad_gain`."""
    table, half = run.table, gradient.size // 2
    if layer == table.shape[0] - 1:
        bias_gradient_of_plain(run, batch, layer, gradient)
        return
    stride = table[layer, STRIDE]
    sum_rows(run.buffer[table[layer, SLOPE_START] :], stride, batch.n, gradient[:half])
    sum_rows(run.buffer[table[layer, ZHAT_START] :], stride, batch.n, gradient[half:])


_LAYERS = Hidden(keep_normalised, normalised_slope, bias_and_gain_gradients)

NORMALISED = with_extras(PLAIN_ROWS, _LAYERS)
NORMALISED_FROM_SPARSE = with_extras(SPARSE_ROWS, _LAYERS)

predict_normalised = kernel(predict_rows(plain_rows, strange_rows, forward_rows(score_normalised)))
predict_sparse_normalised = kernel(
    predict_rows(sparse_inputs, strange_entries, forward_rows(score_normalised, sparse_product))
)
