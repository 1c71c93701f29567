"""All layers forward over a block of rows that stays in cache: F1 F2 ... F1 F3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.equations.activation import IDENTITY, LOGISTIC, activate, activate_any
from fastnn.kernels.equations.layer import Matrix, multiply
from fastnn.kernels.equations.loss import columns_size, side_by_side, softmax_columns, to_columns, to_rows
from fastnn.kernels.layout import A_START, ACTIVATION, B_START, INIT_START, LINES, ROW_BLOCK, STRIDE, W_START, N
from fastnn.kernels.simd.operands import Init, InitColumn, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import instance, kernel, share


class Net(NamedTuple):
    """A network as compiled code sees it: the parameters, and where they lie (see `Layout`)."""

    params: Array
    table: NDArray[np.int64]


@jit
def score_layer(net: Net, layer: int, buffer: Array, block: Any) -> None:
    """F2 where the network scores: the first rows of the buffer."""
    start = net.table[layer, A_START]
    activate_any(net.table[layer, ACTIVATION], buffer[start : start + block.rows * net.table[layer, STRIDE]])


class Block(NamedTuple):
    """Rows, of the buffer or of a table: so many, from `first` on."""

    first: int
    rows: int


@jit
def outputs_of(net: Net, layer: int, buffer: Array, block: Any) -> Out:
    """Where the block's rows of a layer's outputs lie."""
    stride = net.table[layer, STRIDE]
    return Out(buffer, net.table[layer, A_START] + block.first * stride, stride, block.rows, net.table[layer, LINES])


@jit
def product(net: Net, layer: int, inputs: Left, buffer: Array, block: Any) -> None:
    """F1 of a layer, from the layer before or, of the first one, from the inputs."""
    table = net.table
    left = inputs
    if layer > 1:
        stride = table[layer - 1, STRIDE]
        left = Left(buffer, table[layer - 1, A_START] + block.first * stride, stride, 1)
    multiply(
        outputs_of(net, layer, buffer, block),
        left,
        Matrix(net.params, table[layer, W_START], 0),
        Init(net.params, table[layer, INIT_START]),
        table[layer - 1, N],
    )


def _product(net: Net, layer: int, inputs: Any, buffer: Array, block: Any) -> None:
    """Stand, with the next, for F1, and F2 of a hidden layer, in the template below."""


def _hidden(net: Net, layer: int, buffer: Array, block: Any) -> None: ...


def _forward_rows(net: Net, inputs: Any, buffer: Array, block: Any) -> None:
    output = net.table.shape[0] - 1
    for layer in range(1, output + 1):
        _product(net, layer, inputs, buffer, block)
        if layer < output:
            _hidden(net, layer, buffer, block)


def forward_rows(
    hidden: Callable[[Net, int, Array, Any], None], product: Callable[[Net, int, Any, Array, Any], None] = product
) -> Callable[[Net, Any, Array, Any], None]:
    """F1 and F2 through all layers: ``forward(net, inputs, buffer, block)``, for a block of the buffer's rows.

    It goes from their inputs to the logits. ``hidden(net, layer, buffer, block)`` is F2 of a hidden layer, and
    ``product(net, layer, inputs, buffer, block)`` is F1.
    """
    return jit(instance(_forward_rows, _hidden=hidden, _product=product))


def _activate(code: int, a: Array) -> None:
    """Stands, with the next, for F2 and for what happens between tiles, in the template below."""


def _between(other: Any, number: int) -> None: ...


def _forward_columns(net: Net, buffer: Array, wide: int, other: Any) -> None:
    table, number = net.table, 0
    output = table.shape[0] - 1
    line = LINE_BYTES // buffer.itemsize
    panel = PANEL_LINES * line
    for layer in range(1, output + 1):
        n_in, n_out, padded = table[layer - 1, N], table[layer, N], table[layer, LINES] * line
        below, here, b = table[layer - 1, A_START], table[layer, A_START], table[layer, B_START]
        for first in range(0, n_out, panel):
            last = min(first + panel, n_out)
            W, stride = table[layer, W_START] + first * n_in, min(panel, padded - first)
            for i in range(0, wide, panel):
                n_lines = min(PANEL_LINES, (wide - i) // line)
                for j in range(first, last, ROWS):
                    tile(
                        Out(buffer, here + j * wide + i, wide, min(ROWS, last - j), n_lines),
                        LeftColumns(net.params, W + j - first, stride),
                        Right(buffer, below + i, wide),
                        InitColumn(net.params, b + j, 1),
                        n_in,
                    )
                    _between(other, number)
                    number += 1
        if layer < output:
            _activate(table[layer, ACTIVATION], buffer[here : here + n_out * wide])


def forward_columns(
    activation: Callable[[int, Array], None], between: Callable[[Any, int], None]
) -> Callable[[Net, Array, int, Any], None]:
    """F1 and F2 through all layers for samples side by side: ``forward(net, buffer, wide, other)``.

    It goes from inputs to logits. Unit j of sample i is at ``j * wide + i`` of its layer's part of the buffer (see
    `Layout.columns`); `wide` is whole lines. The sums have the same bits as those of `forward_rows`.
    ``activation(code, a)`` is F2, and ``between(other, number)`` follows each tile.
    """
    return jit(instance(_forward_columns, _activate=activation, _between=between))


class Predict(NamedTuple):
    """What scoring reads and writes: a network (see `Net`), rows, `part_size` numbers of memory for each part.

    The rows are plain ones, or sparse (see `sparse`).

    `output` is the code of the output's activation, or ``SOFTMAX``.

    The last of these becomes the number of the part's inputs and results that aren't finite.
    """

    params: Array
    table: NDArray[np.int64]
    X: Any
    results: Array
    memory: Array
    part_size: int
    n_rows: int
    output: int


# Beside the codes of the activations.
SOFTMAX = -1
# The output's activations.
OUTPUTS = {"softmax": SOFTMAX, "logistic": LOGISTIC, "identity": IDENTITY}


@jit
def count_strangers(numbers: Array) -> int:
    """How many of them aren't finite."""
    strangers = 0
    for i in range(numbers.size):
        strangers += 0 if abs(numbers[i]) < np.inf else 1
    return strangers


@jit
def plain_rows(args: Predict, first: int) -> Left:
    """The inputs from a row on."""
    n_in = args.table[0, N]
    return Left(args.X, first * n_in, n_in, 1)


@jit
def strange_rows(args: Predict, first: int, rows: int) -> int:
    """How many of the inputs aren't finite."""
    n_in = args.table[0, N]
    return count_strangers(args.X[first * n_in : (first + rows) * n_in])


def _inputs(args: Predict, first: int) -> Any:
    """Stand, with the next two, for what depends on the kind of rows, in the template below."""


def _strange(args: Predict, first: int, rows: int) -> int:
    return 0


def _score(net: Net, inputs: Any, buffer: Array, block: Any) -> None: ...


def _predict_rows(args: Predict, part: int, parts: int) -> None:
    table, memory = args.table, args.memory[part * args.part_size : (part + 1) * args.part_size]
    output = table.shape[0] - 1
    n_out, stride = table[output, N], table[output, STRIDE]
    line = LINE_BYTES // memory.itemsize
    columns = memory[args.part_size - line - columns_size(n_out) :]
    strangers = 0
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        strangers += _strange(args, i, rows)
        _score(Net(args.params, table), _inputs(args, i), memory, Block(0, rows))
        start = table[output, A_START]
        logits = memory[start : start + rows * stride]
        results = args.results[i * n_out : (i + rows) * n_out]
        if args.output == SOFTMAX:
            to_columns(logits, stride, rows, n_out, columns)
            softmax_columns(columns, side_by_side(rows, memory.itemsize), n_out)
            to_rows(columns, rows, n_out, results, n_out)
        else:
            for r in range(rows):
                copy(logits[r * stride : r * stride + n_out], results[r * n_out : (r + 1) * n_out])
            activate(args.output, results)
        strangers += count_strangers(results)  # of finite inputs, too, where a sum overflows
    memory[args.part_size - 1] = strangers


def predict_rows(
    inputs: Callable[[Predict, int], Any],
    strange: Callable[[Predict, int, int], int],
    score: Callable[[Net, Any, Array, Any], None],
) -> Callable[[Predict, int, int], None]:
    """The block body of F1 to F3: ``inputs(args, first)`` are those from a row on, for `score` (see `forward_rows`).

    ``strange(args, first, rows)`` says how many of so many rows' inputs aren't finite.
    """
    name = f"{inputs.__name__}_{score.__name__}"
    return jit(instance(_predict_rows, name, _inputs=inputs, _strange=strange, _score=score))


predict = kernel(predict_rows(plain_rows, strange_rows, forward_rows(score_layer)))
