"""Hidden layers during training: F2 with or without stored slopes and dropout, and B4 down all layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels.arrays import Array
from fastnn.kernels.epoch.run import Batch, Run
from fastnn.kernels.equations.activation import activate, activate_keeping, multiply_by_derivative
from fastnn.kernels.equations.layer import Matrix, multiply, sum_rows
from fastnn.kernels.equations.shuffle import mix, random_bits
from fastnn.kernels.forward.rows import Block, Net
from fastnn.kernels.simd.operands import Init, Left, Out
from fastnn.runtime.compiler import jit
from fastnn.runtime.template import instance


class Hidden(NamedTuple):
    """The bodies that depend on the kind of hidden layers.

    Parameters
    ----------
    block : ``block(general, seed, epoch, position, first, rows)``
        `rows` rows of a batch from `first` on, as the next body takes them: a `Block`, or more. The epoch has this
        number in the training, and the batch begins at this position of its order.
    forward : ``forward(net, layer, buffer, block)``
        F2 (see `forward_rows`).
    slope : ``slope(run, layer, here, first)``
        The second factor of B4 (see `backward_rows`).
    bias_gradient : ``bias_gradient(run, batch, layer, gradient)``
        B3, and the gradient of all other parameters of the layer but its weights.
    """

    block: Callable[..., Any]
    forward: Callable[..., None]
    slope: Callable[..., None]
    bias_gradient: Callable[..., None]


@jit
def plain_block(general: Any, seed: np.uint64, epoch: int, position: int, first: int, rows: int) -> Block:
    """The rows alone: plain layers need to know no more."""
    return Block(first, rows)


@jit
def activate_rows(net: Net, layer: int, buffer: Array, block: Block) -> None:
    """F2 of a layer whose slope is a function of its output."""
    here = net.layers[layer]
    start = here.a_at + block.first * here.stride
    activate(here.activation, buffer[start : start + block.rows * here.stride])


@jit
def slope_of_output(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, as a function of the layer's output."""
    this = run.layers[layer]
    start = this.a_at + first * this.stride
    delta = run.buffer[here]
    multiply_by_derivative(this.activation, delta, run.buffer[start : start + delta.size])


@jit
def bias_gradient(run: Run, batch: Batch, layer: int, gradient: Array) -> None:
    """B3."""
    here = run.layers[layer]
    sum_rows(run.buffer[here.delta_at :], here.stride, batch.n, gradient)


PLAIN = Hidden(plain_block, activate_rows, slope_of_output, bias_gradient)


class DroppedBlock(NamedTuple):
    """A block of the buffer's rows (see `Block`), with everything that decides which units are dropped."""

    first: int
    rows: int
    key: np.uint64
    position: int
    dropout: float


@jit
def dropped_block(general: Any, seed: np.uint64, epoch: int, position: int, first: int, rows: int) -> DroppedBlock:
    """The rows, with the key of the epoch's random numbers."""
    key = mix(mix(np.uint64(seed)) + np.uint64(epoch))
    return DroppedBlock(first, rows, key, position + first, general.dropout)


@jit
def keep_slopes(net: Net, layer: int, buffer: Array, block: DroppedBlock) -> None:
    """F2 and dropout of a hidden layer; their common derivative is stored for the way back."""
    layers = net.layers
    stride, n = layers[layer].stride, layers[layer].n
    start, slope = layers[layer].a_at + block.first * stride, layers[layer].slope_at + block.first * stride
    size = block.rows * stride
    activate_keeping(layers[layer].activation, buffer[start : start + size], buffer[slope : slope + size])
    if block.dropout > 0:
        # Each layer has a stream of its own, and none of them is the shuffle's.
        key = mix(block.key + np.uint64(layer))
        for i in range(block.rows):
            here, there = start + i * stride, slope + i * stride
            drop(buffer[here : here + n], buffer[there : there + n], key, (block.position + i) * n, block.dropout)


@jit
def drop(a: Array, slope: Array, key: np.uint64, index: int, dropout: float) -> None:
    """Dropout of one sample's units: each becomes 0 with this probability, and is divided by ``1 - dropout`` otherwise.

    The random numbers are those of stream `key` from `index` on.
    """
    zero, scale = a.dtype.type(0), a.dtype.type(1 / (1 - dropout))
    least = np.uint64(dropout * 4294967296.0)
    base = np.uint64(index)
    for j in range(a.size):
        kept = scale if (random_bits(key, base + np.uint64(j)) >> np.uint64(32)) >= least else zero
        a[j] *= kept
        slope[j] *= kept


@jit
def stored_slope(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, as the forward pass stored it."""
    start = run.layers[layer].slope_at + first * run.layers[layer].stride
    delta = run.buffer[here]
    slope = run.buffer[start : start + delta.size]
    for i in range(delta.size):
        delta[i] *= slope[i]


WITH_SLOPES = Hidden(dropped_block, keep_slopes, stored_slope, bias_gradient)


def _slope(run: Run, layer: int, here: slice, first: int) -> None:
    """A placeholder for the second factor of B4, which `instance` puts into the template below."""


def _backward_rows(run: Run, block: Any) -> None:
    layers, buffer, first, rows = run.layers, run.buffer, block.first, block.rows
    for layer in range(layers.size - 1, 1, -1):
        above, stride = layers[layer].stride, layers[layer - 1].stride
        start = layers[layer - 1].delta_at + first * stride
        multiply(
            Out(buffer, start, stride, rows, layers[layer - 1].lines),
            Left(buffer, layers[layer].delta_at + first * above, above, 1),
            Matrix(buffer, layers[layer].wt_at, 0),
            Init(buffer, 0),
            layers[layer].n,
        )
        _slope(run, layer - 1, slice(start, start + rows * stride), first)


def backward_rows(slope: Callable[[Run, int, slice, int], None]) -> Callable[[Run, Any], None]:
    """B4 from the output down to the first hidden layer: ``backward(run, block)`` for a block of the buffer's rows.

    ``slope(run, layer, here, first)`` multiplies the deltas at `here`, which belong to the rows from `first` on, by the
    derivative of the layer's activation.
    """
    return jit(instance(_backward_rows, _slope=slope))
