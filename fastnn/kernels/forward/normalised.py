"""Layer normalisation: between F1 and F2 of a hidden layer, each sample's sums are brought to mean 0 and variance 1.

    z_hat = (z - mean(z)) / sqrt(var(z) + 1e-5)        over the layer's units, z = a_prev @ W without a bias
    a     = f(gain * z_hat + b)

Either all hidden layers of a network have gains, or none has. Networks with gains have kernels of their own, and this
file is imported when the first of them trains or scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.kernels.arrays import Array
from fastnn.kernels.forward.rows import Net, score_layer
from fastnn.kernels.forward.scoring import PLAIN_ROWS, predict_rows
from fastnn.kernels.forward.sparse import SPARSE_ROWS
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Lines
from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.kernels.simd.sums import line_dot, line_sum
from fastnn.runtime.compiler import jit

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
    scale = np.sqrt(variance) / variance  # NaN if the variance overflows, whereas 1 / sqrt(variance) would be 0
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
    """Normalisation and F2 of a hidden layer when scoring."""
    layers = net.layers
    n, b, gain = layers[layer].n, layers[layer].b_at, layers[layer].gain_at
    for i in range(block.rows):
        start = layers[layer].a_at + i * layers[layer].stride
        normalise(buffer, start, n)
        gain_and_shift(buffer[start : start + n], net.params[gain : gain + n], net.params[b : b + n])
    score_layer(net, layer, buffer, block)


predict_normalised = predict_rows("normalised", PLAIN_ROWS, score_normalised)
predict_normalised_sparse = predict_rows("normalised_sparse", SPARSE_ROWS, score_normalised)
