"""All layers forward over a block of rows that stays in cache: F1 F2 ... F1 F3."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.activation import activate
from fastnn.kernels.arrays import Array
from fastnn.kernels.layer import Matrix, multiply
from fastnn.kernels.layout import A_START, B_START, LINES, ROW_BLOCK, STRIDE, W_START, N
from fastnn.kernels.loss import columns_size, side_by_side, softmax_columns, to_columns, to_rows
from fastnn.kernels.tile import LINE_BYTES, ROWS, Init, Left, Out
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, share


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
            Matrix(net.params, table[layer, W_START], 0),
            Init(net.params, table[layer, B_START]),
            table[layer - 1, N],
        )
        if layer < output:
            activate(net.activation, buffer[start : start + rows * stride])
        left = Left(buffer, start, stride, 1)


class Predict(NamedTuple):
    """What scoring reads and writes: a network (see `Net`), plain rows, `part_size` numbers of memory for each part.

    The last of these becomes the number of the part's inputs that aren't finite.
    """

    params: Array
    table: NDArray[np.int64]
    activation: int
    X: Array
    probabilities: Array
    memory: Array
    part_size: int
    n_rows: int


@jit
def count_strangers(numbers: Array) -> int:
    """How many of them aren't finite."""
    strangers = 0
    for i in range(numbers.size):
        strangers += 0 if abs(numbers[i]) < np.inf else 1
    return strangers


@jit
def predict_rows(args: Predict, part: int, parts: int) -> None:
    """F1 to F3 for this part's rows."""
    table, memory = args.table, args.memory[part * args.part_size : (part + 1) * args.part_size]
    output = table.shape[0] - 1
    n_in, n_out, stride = table[0, N], table[output, N], table[output, STRIDE]
    line = LINE_BYTES // memory.itemsize
    columns = memory[args.part_size - line - columns_size(n_out) :]
    strangers = 0
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        strangers += count_strangers(args.X[i * n_in : (i + rows) * n_in])
        forward_rows(Net(args.params, table, args.activation), Left(args.X, i * n_in, n_in, 1), memory, 0, rows)
        logits = table[output, A_START]
        to_columns(memory[logits : logits + rows * stride], stride, rows, n_out, columns)
        softmax_columns(columns, side_by_side(rows, memory.itemsize), n_out)
        to_rows(columns, rows, n_out, args.probabilities[i * n_out : (i + rows) * n_out], n_out)
    memory[args.part_size - 1] = strangers


predict = kernel(predict_rows)
