"""Scoring rows: F1 to F3, block by block.

A network's rows are plain or sparse, and its layers normalised or not: `predict_rows` puts the bodies together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.equations.activation import activate
from fastnn.kernels.equations.elementary import exp_of
from fastnn.kernels.equations.loss import columns_size, side_by_side, softmax_columns, to_columns, to_rows
from fastnn.kernels.forward.rows import EXP, SOFTMAX, Block, Net, forward_rows, product, score_layer
from fastnn.kernels.layout import ROW_BLOCK
from fastnn.kernels.simd.operands import Left
from fastnn.kernels.simd.shape import LINE_BYTES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import Kernel, kernel, share
from fastnn.runtime.template import instance


class Predict(NamedTuple):
    """What scoring reads and writes.

    Parameters
    ----------
    params, layers
        The network (see `Net`).
    X
        Plain rows, or `SparseRows`.
    results : ndarray
        The outputs of all rows, one row after the other.
    memory : ndarray
        `part_size` numbers for each part. The last of them becomes the number of the part's inputs and results that
        aren't finite.
    part_size, n_rows : int
    output : int
        The code of the output (see `OUTPUTS`).
    """

    params: Array
    layers: NDArray[np.void]
    X: Any
    results: Array
    memory: Array
    part_size: int
    n_rows: int
    output: int


@jit
def count_non_finite(numbers: Array) -> int:
    """The number of values that aren't finite."""
    found = 0
    for i in range(numbers.size):
        found += 0 if abs(numbers[i]) < np.inf else 1
    return found


@jit
def activate_output(code: int, z: Array) -> None:
    """The outputs of logits, each of them by itself, in place: all kinds of output but softmax."""
    if code == EXP:
        for i in range(z.size):
            z[i] = exp_of(z[i])
    else:
        activate(code, z)


class Inputs(NamedTuple):
    """The bodies that depend on the kind of rows.

    Parameters
    ----------
    rows : ``rows(args, first)``
        The inputs from row `first` on, as `product` takes them.
    non_finite : ``non_finite(args, first, rows)``
        The number of the inputs of `rows` rows from `first` on that aren't finite.
    product : ``product(net, layer, inputs, buffer, block)``
        F1 (see `forward_rows`).
    """

    rows: Callable[[Predict, int], Any]
    non_finite: Callable[[Predict, int, int], int]
    product: Callable[..., None]


@jit
def plain_rows(args: Predict, first: int) -> Left:
    """The inputs from row `first` on."""
    n_in = args.layers[0].n
    return Left(args.X, first * n_in, n_in, 1)


@jit
def non_finite_rows(args: Predict, first: int, rows: int) -> int:
    """The number of inputs that aren't finite."""
    n_in = args.layers[0].n
    return count_non_finite(args.X[first * n_in : (first + rows) * n_in])


PLAIN_ROWS = Inputs(plain_rows, non_finite_rows, product)


def _inputs(args: Predict, first: int) -> Any:
    """A placeholder, like the next two functions: `instance` replaces them by bodies in the template below."""


def _non_finite(args: Predict, first: int, rows: int) -> int:
    return 0


def _forward(net: Net, inputs: Any, buffer: Array, block: Any) -> None: ...


def _predict_rows(args: Predict, part: int, parts: int) -> None:
    layers, memory = args.layers, args.memory[part * args.part_size : (part + 1) * args.part_size]
    output = layers[layers.size - 1]
    n_out, stride = output.n, output.stride
    line = LINE_BYTES // memory.itemsize
    columns = memory[args.part_size - line - columns_size(n_out) :]
    found = 0
    first, last = share(args.n_rows, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        found += _non_finite(args, i, rows)
        _forward(Net(args.params, layers), _inputs(args, i), memory, Block(0, rows))
        logits = memory[output.a_at : output.a_at + rows * stride]
        results = args.results[i * n_out : (i + rows) * n_out]
        if args.output == SOFTMAX:
            to_columns(logits, stride, rows, n_out, columns)
            softmax_columns(columns, side_by_side(rows, memory.itemsize), n_out)
            to_rows(columns, rows, n_out, results, n_out)
        else:
            for r in range(rows):
                copy(logits[r * stride : r * stride + n_out], results[r * n_out : (r + 1) * n_out])
            activate_output(args.output, results)
        found += count_non_finite(results)  # a sum of finite inputs can overflow
    memory[args.part_size - 1] = found


def predict_rows(name: str, inputs: Inputs, hidden: Callable[[Net, int, Array, Any], None]) -> Kernel:
    """The kernel that takes `Predict`: F1 to F3 for rows of this kind; ``hidden`` is F2 (see `forward_rows`)."""
    forward = forward_rows(hidden, inputs.product)
    bodies = {"_inputs": inputs.rows, "_non_finite": inputs.non_finite}
    return kernel(jit(instance(_predict_rows, name, _forward=forward, **bodies)))


predict = predict_rows("plain", PLAIN_ROWS, score_layer)
