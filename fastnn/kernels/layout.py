"""Where every number lies: weights in panels, rows in lines.

A line is 64 bytes. Rows of activations are padded to whole lines and weights are kept in panels of two lines (see
`simd`), in the same way on every processor. The padding of parameters and deltas is zero and stays zero.

    W (n_in, n_out)  ->  panel 0: n_in rows of 32 float32   | panel 1: n_in rows of 32 | ... | the last: 16 or 32 wide

All parameters of a network are one flat vector, so that copying them, or checking that all are finite, is one array
operation. For each layer the vector holds the panels of W, then the padded b, and then the padded gains if the layer is
normalised (see `forward.normalised`). The vector of a network with normalised layers ends with a row of zeros. What is
computed for some rows (outputs, deltas and so on) is in one flat buffer. `Layout.layers` has a record of integers for
each layer, which says where the layer's numbers begin. Compiled code reads it as ``layers[layer].w_at``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, on_a_line
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES
from fastnn.runtime.compiler import jit

# The rows that go through all layers together: whole tiles of 8 and of 6 rows, and whole vectors of samples. 96 rows of
# 784 float32 (300 KB) stay in L2 beside a panel. An epoch of 784-512-512-10 takes 2 % less than with 48 or 192 rows.
ROW_BLOCK = 96


def line_elements(dtype: Any) -> int:
    """The count of numbers of `dtype` that fit a line."""
    return int(LINE_BYTES // np.dtype(dtype).itemsize)


def lines(n: int, dtype: Any) -> int:
    """The count of lines that hold `n` numbers."""
    return -(-n // line_elements(dtype))


def width(n: int, dtype: Any) -> int:
    """`n` rounded up to whole lines."""
    return lines(n, dtype) * line_elements(dtype)


def row_stride(n: int, dtype: Any) -> int:
    """The distance between rows of `n` numbers: whole lines, and no multiple of 4096 bytes.

    Numbers that lie a multiple of 4096 bytes apart share one set of the first-level cache. B2 walks down the rows, so
    with such a distance its numbers would displace one another.
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


# What `Layout.layers` says of each layer; number 0 is the input. The names that end in `_at` are offsets: into the
# parameters (weights, biases, gains, and where the sums of F1 begin), or into a buffer.
_FIELDS = (
    "n",  # units
    "lines",  # whole lines that hold the units
    "stride",  # from one row of the layer's outputs to the next
    "activation",  # its code
    "w_at",  # the weights that lead to the layer
    "b_at",  # the biases
    "init_at",  # what the sums of F1 begin with: the biases, or for a normalised layer the row of zeros
    "gain_at",  # the gains of a normalised layer
    "end",  # the end of the layer's parameters
    "a_at",  # the outputs
    "delta_at",  # the deltas
    "wt_at",  # the transposed weights, which B4 reads
    "slope_at",  # the activation's derivatives, where they are stored
    "z_hat_at",  # what normalisation made of the sums, where it is kept for the way back
    "scale_at",  # and the factor that it used for each row
)
LAYER = np.dtype([(name, np.int64) for name in _FIELDS], align=True)


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
        self.layers = np.zeros(len(self.sizes), LAYER)
        start = 0
        for layer, n in enumerate(self.sizes):
            padded = width(n, self.dtype)
            here = self.layers[layer]
            here["n"], here["lines"], here["stride"] = n, lines(n, self.dtype), row_stride(n, self.dtype)
            if layer:
                here["w_at"] = start
                here["b_at"] = here["init_at"] = start + self.sizes[layer - 1] * padded
                start = int(here["b_at"]) + padded
                if normalised and layer < len(self.sizes) - 1:
                    here["gain_at"], start = start, start + padded
                here["end"] = start
        self.n_params = start
        if normalised:
            self.layers["init_at"][1:-1] = start
            self.n_params += width(max(self.sizes[1:-1]), self.dtype)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle of an earlier version may lack `normalised` and some fields of the records, or have a matrix `table`
        # instead of the records, with the activations in column 8. So everything but the activations is computed anew.
        Layout.__init__(self, state["sizes"], state["dtype"], state.get("normalised", False))
        self.layers["activation"] = state["layers"]["activation"] if "layers" in state else state["table"][:, 8]

    def weights(self, params: Array, layer: int) -> Array:
        """The packed weights that lead to `layer` (1 is the first hidden one), a view of the parameter vector."""
        return params[self.layers[layer]["w_at"] : self.layers[layer]["b_at"]]

    def biases(self, params: Array, layer: int) -> Array:
        """The biases of `layer` without padding, a view of the parameter vector."""
        start = self.layers[layer]["b_at"]
        return params[start : start + self.sizes[layer]]

    def gains(self, params: Array, layer: int) -> Array:
        """The gains of a normalised `layer` without padding, a view of the parameter vector."""
        start = self.layers[layer]["gain_at"]
        return params[start : start + self.sizes[layer]]

    def workspace(
        self, rows: int, training: bool, slopes: bool = False, inputs: bool = True
    ) -> tuple[NDArray[np.void], int]:
        """The records of the layers for a buffer with `rows` rows of every layer's outputs, and the buffer's size.

        For training, the buffer also holds the deltas of every hidden layer, the transposed weights that B4 reads and,
        with `inputs`, the inputs that a shuffle gathers. It then begins with a row that stays zero and is wide enough
        for any of these layers. With `slopes`, every hidden layer has room for the derivatives of its activation, and
        a normalised layer also for ``z_hat`` and one factor for each row. The caller must make the buffer of zeros, and
        let it begin on a line.
        """
        layers = self.layers.copy()
        end = int(layers["stride"][0 if inputs else 1 :].max()) if training else 0
        for layer, n in enumerate(self.sizes):
            here = layers[layer]
            room = rows * int(here["stride"])
            if layer or (training and inputs):
                here["a_at"], end = end, end + room
            if layer == len(self.sizes) - 1:
                here["delta_at"] = here["a_at"]  # the output's delta takes the place of its logits
            elif layer and training:
                here["delta_at"], end = end, end + room
                if slopes:
                    here["slope_at"], end = end, end + room
                if slopes and self.normalised:
                    here["z_hat_at"], end = end, end + room
                    here["scale_at"], end = end, end + width(rows, self.dtype)
            if layer > 1 and training:
                here["wt_at"], end = end, end + n * width(self.sizes[layer - 1], self.dtype)
        return layers, end

    def columns(self, samples: int, training: bool) -> tuple[NDArray[np.void], int]:
        """The records of the layers for a buffer of samples side by side (see `forward_columns`), and its size.

        The buffer begins with a line, which must hold zeros in training. After the units of each layer there is room
        for two more numbers of each sample. In training the first of them is 1, so that the gradients of biases are
        sums like those of weights. After the logits, `softmax_columns` works in both.
        """
        layers = self.layers.copy()
        end = line_elements(self.dtype)
        for layer, n in enumerate(self.sizes):
            here = layers[layer]
            here["a_at"], end = end, end + (n + 2) * samples
            here["delta_at"] = here["a_at"]
            if training and layer < len(self.sizes) - 1:
                here["delta_at"], end = end, end + n * samples
        return layers, end


def aligned_zeros(n: int, dtype: np.dtype[Any]) -> Array:
    """`n` zeros that begin on a line of the cache. Pages of them that are never written to take no memory."""
    raw = np.zeros(n * dtype.itemsize + LINE_BYTES, np.uint8)
    return on_a_line(raw, n, dtype)


def several(zeros: Array, n: int) -> Array:
    """`n` arrays like `zeros`, one after the other, each padded to whole lines."""
    return aligned_zeros(n * width(zeros.size, zeros.dtype), zeros.dtype)


@jit
def place(k: int, j: int, n_in: int, n_out: int, line: int) -> int:
    """The place of element (k, j) in a packed (n_in, n_out) matrix, with `line` numbers to a line."""
    panel = PANEL_LINES * line
    first = j // panel * panel
    padded = (n_out + line - 1) // line * line
    return first * n_in + k * min(panel, padded - first) + j - first
