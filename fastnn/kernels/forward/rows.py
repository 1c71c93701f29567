"""All layers forward over a block of rows that stays in cache: F1 F2 ... F1 F3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.equations.activation import IDENTITY, LOGISTIC, activate_any
from fastnn.kernels.equations.layer import Matrix, multiply
from fastnn.kernels.simd.operands import Init, InitColumn, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.template import instance

# Codes beside those of the activations: outputs that no hidden layer has.
SOFTMAX, EXP = -1, -2
# The code of each kind of output.
OUTPUTS = {"softmax": SOFTMAX, "logistic": LOGISTIC, "identity": IDENTITY, "exp": EXP}


class Net(NamedTuple):
    """A network as compiled code sees it: the parameters, and where they lie (see `Layout`)."""

    params: Array
    layers: NDArray[np.void]


@jit
def score_layer(net: Net, layer: int, buffer: Array, block: Any) -> None:
    """F2 of a hidden layer when scoring, in the first rows of the buffer."""
    start = net.layers[layer].a_at
    activate_any(net.layers[layer].activation, buffer[start : start + block.rows * net.layers[layer].stride])


class Block(NamedTuple):
    """`rows` rows of the buffer, or of a table, from `first` on."""

    first: int
    rows: int


@jit
def outputs_of(net: Net, layer: int, buffer: Array, block: Any) -> Out:
    """The place of the block's rows of a layer's outputs."""
    stride = net.layers[layer].stride
    return Out(buffer, net.layers[layer].a_at + block.first * stride, stride, block.rows, net.layers[layer].lines)


@jit
def product(net: Net, layer: int, inputs: Left, buffer: Array, block: Any) -> None:
    """F1 of a layer, from the outputs of the layer before it; of the first layer, from `inputs`."""
    layers = net.layers
    left = inputs
    if layer > 1:
        stride = layers[layer - 1].stride
        left = Left(buffer, layers[layer - 1].a_at + block.first * stride, stride, 1)
    multiply(
        outputs_of(net, layer, buffer, block),
        left,
        Matrix(net.params, layers[layer].w_at, 0),
        Init(net.params, layers[layer].init_at),
        layers[layer - 1].n,
    )


def _product(net: Net, layer: int, inputs: Any, buffer: Array, block: Any) -> None:
    """A placeholder for F1, and the next function for a hidden layer's F2: `instance` replaces both in the template."""


def _hidden(net: Net, layer: int, buffer: Array, block: Any) -> None: ...


def _forward_rows(net: Net, inputs: Any, buffer: Array, block: Any) -> None:
    output = net.layers.size - 1
    for layer in range(1, output + 1):
        _product(net, layer, inputs, buffer, block)
        if layer < output:
            _hidden(net, layer, buffer, block)


def forward_rows(
    hidden: Callable[[Net, int, Array, Any], None], product: Callable[[Net, int, Any, Array, Any], None] = product
) -> Callable[[Net, Any, Array, Any], None]:
    """F1 and F2 through all layers: ``forward(net, inputs, buffer, block)``, for a block of the buffer's rows.

    It computes the rows' logits from their inputs. ``hidden(net, layer, buffer, block)`` is F2 of a hidden layer, and
    ``product(net, layer, inputs, buffer, block)`` is F1.
    """
    return jit(instance(_forward_rows, _hidden=hidden, _product=product))


def _activate(code: int, a: Array) -> None:
    """A placeholder for F2, and the next function for work between tiles: `instance` replaces both in the template."""


def _between(other: Any, number: int) -> None: ...


def _forward_columns(net: Net, buffer: Array, wide: int, other: Any) -> None:
    layers, number = net.layers, 0
    output = layers.size - 1
    line = LINE_BYTES // buffer.itemsize
    panel = PANEL_LINES * line
    for layer in range(1, output + 1):
        n_in, n_out, padded = layers[layer - 1].n, layers[layer].n, layers[layer].lines * line
        inputs_at, outputs_at, b_at = layers[layer - 1].a_at, layers[layer].a_at, layers[layer].b_at
        for first in range(0, n_out, panel):
            last = min(first + panel, n_out)
            w_at, stride = layers[layer].w_at + first * n_in, min(panel, padded - first)
            for i in range(0, wide, panel):
                n_lines = min(PANEL_LINES, (wide - i) // line)
                for j in range(first, last, ROWS):
                    tile(
                        Out(buffer, outputs_at + j * wide + i, wide, min(ROWS, last - j), n_lines),
                        LeftColumns(net.params, w_at + j - first, stride),
                        Right(buffer, inputs_at + i, wide),
                        InitColumn(net.params, b_at + j, 1),
                        n_in,
                    )
                    _between(other, number)
                    number += 1
        if layer < output:
            _activate(layers[layer].activation, buffer[outputs_at : outputs_at + n_out * wide])


def forward_columns(
    activation: Callable[[int, Array], None], between: Callable[[Any, int], None]
) -> Callable[[Net, Array, int, Any], None]:
    """F1 and F2 through all layers for samples side by side: ``forward(net, buffer, wide, other)``.

    It goes from inputs to logits. Unit j of sample i is at ``j * wide + i`` of its layer's part of the buffer (see
    `Layout.columns`); `wide` is whole lines. The sums have the same bits as those of `forward_rows`.
    ``activation(code, a)`` is F2, and ``between(other, number)`` follows each tile.
    """
    return jit(instance(_forward_columns, _activate=activation, _between=between))
