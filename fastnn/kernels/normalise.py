"""Layer normalisation: between F1 and F2 of a hidden layer, each sample's sums are brought to mean 0 and variance 1.

    z_hat = (z - mean(z)) / sqrt(var(z) + 1e-5)        over the layer's units, z = a_prev @ W without a bias
    a     = f(gain * z_hat + b)

With d = dloss/d(gain * z_hat + b), which is B4 of other layers, ``grad_gain = sum_i d * z_hat``, ``grad_b = sum_i d``,
and the layer's delta, from which all else follows, is

    delta = (gain * d - mean(gain * d) - z_hat * mean(gain * d * z_hat)) / sqrt(var(z) + 1e-5)

A layer has gains or not in a network as a whole; those without have kernels of their own, in which nothing of this is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.epoch import Batch, Run
from fastnn.kernels.forward import Net, forward_rows, plain_rows, predict_rows, score_layer, strange_rows
from fastnn.kernels.layer import sum_rows
from fastnn.kernels.layout import (
    A_START,
    B_START,
    GAIN_START,
    SCALE_START,
    SLOPE_START,
    STRIDE,
    ZHAT_START,
    N,
)
from fastnn.kernels.loss import ordered_sum
from fastnn.kernels.sparse import sparse_inputs, sparse_product, strange_entries
from fastnn.kernels.tile import fma
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel

# That of PyTorch's LayerNorm and ONNX's LayerNormalization.
EPSILON = 1e-5


@jit
def ordered_dot(x: Array, y: Array) -> float:
    """``sum_i x[i] * y[i]`` in float64, in the order of `ordered_sum`."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        s0 += np.float64(x[i]) * np.float64(y[i])
        s1 += np.float64(x[i + 1]) * np.float64(y[i + 1])
        s2 += np.float64(x[i + 2]) * np.float64(y[i + 2])
        s3 += np.float64(x[i + 3]) * np.float64(y[i + 3])
        s4 += np.float64(x[i + 4]) * np.float64(y[i + 4])
        s5 += np.float64(x[i + 5]) * np.float64(y[i + 5])
        s6 += np.float64(x[i + 6]) * np.float64(y[i + 6])
        s7 += np.float64(x[i + 7]) * np.float64(y[i + 7])
    rest = 0.0
    for i in range(whole, x.size):
        rest += np.float64(x[i]) * np.float64(y[i])
    total: float = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)) + rest
    return total


@jit
def normalise(z: Array) -> float:
    """A sample's `z` becomes `z_hat`; returns what it was multiplied by, ``1 / sqrt(var(z) + 1e-5)``."""
    dtype = z.dtype.type
    mean = dtype(ordered_sum(z) / z.size)
    for j in range(z.size):
        z[j] -= mean
    variance = ordered_dot(z, z) / z.size + EPSILON
    scale = dtype(np.sqrt(variance) / variance)  # of a variance that overflows NaN, where 1 / sqrt would be 0
    for j in range(z.size):
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
        z = buffer[start : start + n]
        normalise(z)
        gain_and_shift(z, net.params[gain : gain + n], net.params[b : b + n])
    score_layer(net, layer, buffer, block)


@jit
def normalise_keeping(net: Net, layer: int, buffer: Array, block: Any) -> None:
    """The same before F2, where the network learns: `z_hat` and its factor are kept."""
    table = net.table
    n, b, gain = table[layer, N], table[layer, B_START], table[layer, GAIN_START]
    for row in range(block.first, block.first + block.rows):
        start, kept = table[layer, A_START] + row * table[layer, STRIDE], table[layer, ZHAT_START]
        kept += row * table[layer, STRIDE]
        z = buffer[start : start + n]
        buffer[table[layer, SCALE_START] + row] = normalise(z)
        copy(z, buffer[kept : kept + n])
        gain_and_shift(z, net.params[gain : gain + n], net.params[b : b + n])


@jit
def through_normalisation(delta: Array, d: Array, z_hat: Array, gain: Array, scale: float) -> None:
    """The `delta` of one sample, of its `d`; what `z_hat` becomes is the sample's part of `grad_gain`."""
    dtype = delta.dtype.type
    for j in range(delta.size):
        delta[j] = gain[j] * d[j]
    mean, along = dtype(ordered_sum(delta) / delta.size), dtype(ordered_dot(delta, z_hat) / delta.size)
    for j in range(delta.size):
        delta[j] = fma(-along, z_hat[j], delta[j] - mean) * scale
    for j in range(delta.size):
        z_hat[j] *= d[j]


@jit
def normalised_slope(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, and the way back through the normalisation; `d` takes the place of the slopes."""
    table, buffer = run.table, run.buffer
    n, stride, g = table[layer, N], table[layer, STRIDE], table[layer, GAIN_START]
    gain = run.params[g : g + n]
    for i in range((here.stop - here.start) // stride):
        row = first + i
        kept, slope = table[layer, ZHAT_START] + row * stride, table[layer, SLOPE_START] + row * stride
        delta, d = buffer[here.start + i * stride : here.start + (i + 1) * stride], buffer[slope : slope + stride]
        for j in range(stride):  # in the padding, too, where slopes aren't 0 and deltas are
            d[j] *= delta[j]
        scale = buffer[table[layer, SCALE_START] + row]
        through_normalisation(delta[:n], d[:n], buffer[kept : kept + n], gain, scale)


@jit
def shift_and_gain_gradients(run: Run, batch: Batch, layer: int, gradient: Array) -> None:
    """B3 of a normalised layer, and after it `grad_gain`."""
    table, half = run.table, gradient.size // 2
    stride = table[layer, STRIDE]
    sum_rows(run.buffer[table[layer, SLOPE_START] :], stride, batch.n, gradient[:half])
    sum_rows(run.buffer[table[layer, ZHAT_START] :], stride, batch.n, gradient[half:])


predict_normalised = kernel(predict_rows(plain_rows, strange_rows, forward_rows(score_normalised)))
predict_sparse_normalised = kernel(
    predict_rows(sparse_inputs, strange_entries, forward_rows(score_normalised, sparse_product))
)
