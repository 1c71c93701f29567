"""Where every number lies: weights in panels, rows in lines.

A line is 64 bytes. Rows of activations are padded to whole lines and weights are kept in panels of two lines (see
`tile`), the same on every processor. The padding of parameters and deltas is zero and stays zero.

    W (n_in, n_out)  ->  panel 0: n_in rows of 32 float32   | panel 1: n_in rows of 32 | ... | the last: 16 or 32 wide

All parameters of a network are one flat vector: for each layer the panels of W, then the padded b, then, of a
normalised layer (see `normalise`), the padded gains; at the end of such a network's vector a row of zeros. So the
optimiser's state, a copy of the best weights, or a check that all are finite, is one array operation. What a run of
rows needs besides is one flat buffer. `Layout` says where the parts begin, in a table of integers that compiled
code reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, on_a_line
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES
from fastnn.runtime.compiler import jit

# Rows that go through all layers together: whole tiles of 8 and of 6 rows, whole vectors of samples, and 96 rows of 784
# float32 (300 KB) stay in L2 beside a panel. Of 784-512-512-10 an epoch takes 2 % less than with 48 or 192.
ROW_BLOCK = 96


def line_elements(dtype: Any) -> int:
    """How many numbers of `dtype` fit a line."""
    return int(LINE_BYTES // np.dtype(dtype).itemsize)


def lines(n: int, dtype: Any) -> int:
    """How many lines hold `n` numbers."""
    return -(-n // line_elements(dtype))


def width(n: int, dtype: Any) -> int:
    """`n` rounded up to whole lines."""
    return lines(n, dtype) * line_elements(dtype)


def row_stride(n: int, dtype: Any) -> int:
    """The distance between rows of `n` numbers: whole lines, and no multiple of 4096 bytes.

    Rows that far apart share one set of the first-level cache, and B2, which walks down the rows, thrashes it.
    """
    padded = width(n, dtype)
    return padded + line_elements(dtype) if padded * np.dtype(dtype).itemsize % 4096 == 0 else padded


def panels(data: Array, n_in: int, n_out: int) -> list[tuple[slice, Array]]:
    """The panels of a packed (n_in, n_out) matrix: the columns that each holds, and a view of them.

    Parameters
    ----------
    data : ndarray of shape (n_in * width(n_out),)
    """
    padded = width(n_out, data.dtype)
    panel = PANEL_LINES * line_elements(data.dtype)
    views = []
    for first in range(0, padded, panel):
        last = min(first + panel, padded)
        view = data[first * n_in : last * n_in].reshape(n_in, last - first)
        columns = slice(first, min(last, n_out))
        views.append((columns, view[:, : columns.stop - first]))
    return views


def pack(W: Array, data: Array) -> None:
    """Lay W (n_in, n_out) out in panels in `data`, whose padding is left as it is."""
    for columns, view in panels(data, *W.shape):
        view[...] = W[:, columns]


def unpack(data: Array, n_in: int, n_out: int) -> Array:
    """The (n_in, n_out) matrix whose panels are in `data`, as a new array."""
    W = np.empty((n_in, n_out), data.dtype)
    for columns, view in panels(data, n_in, n_out):
        W[:, columns] = view
    return W


# Columns of the table; row 0 is the input, row `layer` that layer's output and the weights that lead to it. The sums of
# F1 begin with what lies at INIT_START: the biases, or of a normalised layer the row of zeros. The layer's parameters
# end before END.
N, LINES, STRIDE, W_START, B_START, A_START, DELTA_START, WT_START, ACTIVATION, SLOPE_START = range(10)
INIT_START, GAIN_START, END, ZHAT_START, SCALE_START = range(10, 15)
_COLUMNS = 15


class Layout:
    """Where a network's numbers lie.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units of each layer, classes.
    dtype : numpy.dtype
        float32 or float64.
    normalised : bool
        Whether the hidden layers have gains.

    Attributes
    ----------
    n_params : int
        Length of the flat parameter vector, padding included.
    """

    def __init__(self, sizes: Sequence[int], dtype: Any, normalised: bool = False) -> None:
        self.sizes = tuple(sizes)
        self.dtype = np.dtype(dtype)
        self.normalised = normalised
        self.table = np.zeros((len(self.sizes), _COLUMNS), np.int64)
        start = 0
        for layer, n in enumerate(self.sizes):
            padded = width(n, self.dtype)
            row = self.table[layer]
            row[N], row[LINES], row[STRIDE] = n, lines(n, self.dtype), row_stride(n, self.dtype)
            if layer:
                row[W_START] = start
                row[B_START] = row[INIT_START] = start + self.sizes[layer - 1] * padded
                start = int(row[B_START]) + padded
                if normalised and layer < len(self.sizes) - 1:
                    row[GAIN_START], start = start, start + padded
                row[END] = start
        self.n_params = start
        if normalised:
            hidden = self.table[1:-1]
            hidden[:, INIT_START] = start
            self.n_params += width(max(self.sizes[1:-1]), self.dtype)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle may be older than some columns of the table, and than normalised layers.
        Layout.__init__(self, state["sizes"], state["dtype"], state.get("normalised", False))
        self.table[:, ACTIVATION] = state["table"][:, ACTIVATION]

    def weights(self, params: Array, layer: int) -> Array:
        """The packed weights that lead to `layer` (1 is the first hidden one), a view of the parameter vector."""
        return params[self.table[layer, W_START] : self.table[layer, B_START]]

    def biases(self, params: Array, layer: int) -> Array:
        """The biases of `layer` without padding, a view of the parameter vector."""
        start = self.table[layer, B_START]
        return params[start : start + self.sizes[layer]]

    def gains(self, params: Array, layer: int) -> Array:
        """The gains of a normalised `layer` without padding, a view of the parameter vector."""
        start = self.table[layer, GAIN_START]
        return params[start : start + self.sizes[layer]]

    def workspace(
        self, rows: int, training: bool, slopes: bool = False, inputs: bool = True
    ) -> tuple[NDArray[np.int64], int]:
        """The table, and the size, of a buffer for `rows` rows of every layer's output, that begins on a line.

        For training it also holds the `inputs` (which a shuffle gathers), every hidden layer's delta, and the
        transposed weights that B4 reads; it must be of zeros, and begins with a row of them, wide enough for any of
        these layers. With `slopes` every hidden layer has room for its activation's derivative, and a normalised one
        for what `normalise` keeps: rows, and a number for each.
        """
        table = self.table.copy()
        layers = table if inputs else table[1:]
        end = int(layers[:, STRIDE].max()) if training else 0
        for layer, n in enumerate(self.sizes):
            room = rows * int(table[layer, STRIDE])
            if layer or (training and inputs):
                table[layer, A_START], end = end, end + room
            if layer == len(self.sizes) - 1:
                table[layer, DELTA_START] = table[layer, A_START]  # the output's delta takes the place of its logits
            elif layer and training:
                table[layer, DELTA_START], end = end, end + room
                if slopes:
                    table[layer, SLOPE_START], end = end, end + room
                if slopes and self.normalised:
                    table[layer, ZHAT_START], end = end, end + room
                    table[layer, SCALE_START], end = end, end + width(rows, self.dtype)
            if layer > 1 and training:
                table[layer, WT_START], end = end, end + n * width(self.sizes[layer - 1], self.dtype)
        return table, end

    def columns(self, samples: int, training: bool) -> tuple[NDArray[np.int64], int]:
        """The table of a buffer for so many samples side by side (see `forward_columns`), and the buffer's size.

        It begins with a line, for `narrow` one of zeros. After each layer's units there is room for two rows: there the
        first is of ones, and after the logits `softmax_columns` uses both.
        """
        table = self.table.copy()
        end = line_elements(self.dtype)
        for layer, n in enumerate(self.sizes):
            table[layer, A_START], end = end, end + (n + 2) * samples
            table[layer, DELTA_START] = table[layer, A_START]
            if training and layer < len(self.sizes) - 1:
                table[layer, DELTA_START], end = end, end + n * samples
        return table, end


def aligned_zeros(n: int, dtype: np.dtype[Any]) -> Array:
    """`n` zeros that begin on a line of the cache; those that nobody touches take no memory."""
    raw = np.zeros(n * dtype.itemsize + LINE_BYTES, np.uint8)
    return on_a_line(raw, n, dtype)


def several(zeros: Array, n: int) -> Array:
    """`n` times these zeros, or some more, so that each time begins on a line."""
    return aligned_zeros(n * width(zeros.size, zeros.dtype), zeros.dtype)


@jit
def place(k: int, j: int, n_in: int, n_out: int, line: int) -> int:
    """Where element (k, j) of a packed (n_in, n_out) matrix lies, with `line` numbers to a line."""
    panel = PANEL_LINES * line
    first = j // panel * panel
    padded = (n_out + line - 1) // line * line
    return first * n_in + k * min(panel, padded - first) + j - first
