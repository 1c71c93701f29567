"""Hidden layers that are normalised, during training (see `forward.normalised` for the forward pass).

With d = dloss/d(gain * z_hat + b), as B4 gives it for other layers, ``grad_gain = sum_i d * z_hat``,
``grad_b = sum_i d``, and the layer's delta, from which everything else follows as in other layers, is

    delta = (gain * d - mean(gain * d) - z_hat * mean(gain * d * z_hat)) / sqrt(var(z) + 1e-5)
"""

from __future__ import annotations

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.epoch.general import general
from fastnn.kernels.epoch.hidden import DroppedBlock, Hidden, bias_gradient, dropped_block, keep_slopes
from fastnn.kernels.epoch.run import Batch, Run
from fastnn.kernels.epoch.sparse import SPARSE_ROWS, sparse_weights
from fastnn.kernels.equations.layer import sum_rows
from fastnn.kernels.forward.normalised import gain_and_shift, normalise
from fastnn.kernels.forward.rows import Net
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Lines
from fastnn.kernels.simd.sums import line_dot, line_sum
from fastnn.runtime.compiler import jit


@jit
def keep_normalised(net: Net, layer: int, buffer: Array, block: DroppedBlock) -> None:
    """Normalisation, F2 and dropout of a hidden layer during training; keeps `z_hat`, its factors and the slopes."""
    layers = net.layers
    n, b, gain = layers[layer].n, layers[layer].b_at, layers[layer].gain_at
    for row in range(block.first, block.first + block.rows):
        start = layers[layer].a_at + row * layers[layer].stride
        kept = layers[layer].z_hat_at + row * layers[layer].stride
        buffer[layers[layer].scale_at + row] = normalise(buffer, start, n)
        z_hat = buffer[start : start + n]
        copy(z_hat, buffer[kept : kept + n])
        gain_and_shift(z_hat, net.params[gain : gain + n], net.params[b : b + n])
    keep_slopes(net, layer, buffer, block)


@jit
def normalised_slope(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, and the way back through the normalisation.

    `d` takes the place of the slopes, ``d * z_hat`` that of `z_hat`: their sums over the samples are gradients.
    """
    layers, buffer = run.layers, run.buffer
    n, stride, g = layers[layer].n, layers[layer].stride, layers[layer].gain_at
    slope, kept = layers[layer].slope_at + first * stride, layers[layer].z_hat_at + first * stride
    delta = buffer[here]
    d, z_hat = buffer[slope : slope + delta.size], buffer[kept : kept + delta.size]
    gain, scales = run.params[g : g + n], buffer[layers[layer].scale_at + first :]
    # In the padding, too: there the slopes aren't 0, but the deltas are, so `d` becomes 0.
    for i in range(delta.size):
        d[i] *= delta[i]
    for i in range(delta.size // stride):
        row = slice(i * stride, i * stride + n)
        times_gain(delta[row], d[row], gain)
        deltas = Lines(buffer, here.start + i * stride, layers[layer].lines)
        z_hats = Lines(buffer, kept + i * stride, layers[layer].lines)
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
    """B3; for a hidden layer, the first half of `gradient` is B3, and the second half is `grad_gain`."""
    layers, half = run.layers, gradient.size // 2
    if layer == layers.size - 1:
        bias_gradient(run, batch, layer, gradient)
        return
    stride = layers[layer].stride
    sum_rows(run.buffer[layers[layer].slope_at :], stride, batch.n, gradient[:half])
    sum_rows(run.buffer[layers[layer].z_hat_at :], stride, batch.n, gradient[half:])


_LAYERS = Hidden(dropped_block, keep_normalised, normalised_slope, bias_and_gain_gradients)

NORMALISED = general("normalised", _LAYERS)
NORMALISED_SPARSE = general("normalised_sparse", _LAYERS, SPARSE_ROWS, sparse_weights)
