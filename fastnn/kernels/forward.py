"""All layers forward over a block of rows that stays in cache: F1 F2 ... F1 F3."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.activation import activate
from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.layer import ROW_BLOCK, Panels, multiply
from fastnn.kernels.layout import A_START, B_START, LINES, STRIDE, W_START, N
from fastnn.kernels.loss import softmax_row
from fastnn.kernels.tile import ROWS, Init, Left, Out
from fastnn.runtime.launch import jit, share, twins


class Net(NamedTuple):
    """A network as compiled code sees it: the parameters, where they lie (see `Layout`), the activation's code."""

    params: Array
    table: NDArray[np.int64]
    activation: int


@jit
def forward_rows(net: Net, left: Left, buffer: Array, first: int, rows: int) -> None:
    """F1 and F2 through all layers, to the logits, for the buffer's rows from `first` on; `left` is their input."""
    table = net.table
    output = table.shape[0] - 1
    for layer in range(1, output + 1):
        stride = table[layer, STRIDE]
        start = table[layer, A_START] + first * stride
        multiply(
            Out(buffer, start, stride, rows, table[layer, LINES]),
            left,
            Panels(net.params, table[layer, W_START]),
            Init(net.params, table[layer, B_START]),
            table[layer - 1, N],
        )
        if layer < output:
            activate(net.activation, buffer[start : start + rows * stride])
        left = Left(buffer, start, stride, 1)


class Predict(NamedTuple):
    """What scoring reads and writes: a network (see `Net`), plain rows, a buffer of ROW_BLOCK rows for each part."""

    params: Array
    table: NDArray[np.int64]
    activation: int
    X: Array
    probabilities: Array
    buffer: Array
    n_rows: int


@jit
def predict_rows(args: Predict, part: int, parts: int) -> None:
    """F1 to F3 for this part's rows."""
    table = args.table
    output = table.shape[0] - 1
    n_in, n_out = table[0, N], table[output, N]
    stride = table[output, STRIDE]
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        forward_rows(
            Net(args.params, table, args.activation),
            Left(args.X, i * n_in, n_in, 1),
            args.buffer,
            part * ROW_BLOCK,
            rows,
        )
        logits = table[output, A_START] + part * ROW_BLOCK * stride
        for r in range(rows):
            row = args.buffer[logits + r * stride : logits + (r + 1) * stride]
            softmax_row(row, n_out)
            copy(row[:n_out], args.probabilities[(i + r) * n_out : (i + r + 1) * n_out])


predict = twins(predict_rows)
