"""From plain rows, as callers have them, to the panels and padded rows that the inner loops work on, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels import layout
from fastnn.kernels.arrays import Array, copy, flat
from fastnn.kernels.equations.layer import Matrix, multiply
from fastnn.kernels.simd.moves import PREFETCHED_LINES, prefetch
from fastnn.kernels.simd.operands import Init, Left, Out
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, launch, share


class Packing(NamedTuple):
    """What packing reads and writes: plain rows of `W` (n_in, n_out), and its panels."""

    W: Array
    packed: Array
    n_in: int
    n_out: int


# Packing asks for the lines of the row that is this many rows ahead. Short pieces of rows far apart come from memory
# one by one otherwise: once a product of 1024x784x512 has pushed W out of the cache, packing adds 0.7 ms to the product
# in float64, and 0.35 ms with this.
PACKED_AHEAD = 16


@jit
def pack_rows(args: Packing, part: int, parts: int) -> None:
    """Lay this part's rows of W out in panels, the padding zero."""
    n_in, n_out = args.n_in, args.n_out
    line = LINE_BYTES // args.W.itemsize
    first, last = share(n_in, 1, part, parts)
    panel = PANEL_LINES * line
    for group in range(0, n_out, PREFETCHED_LINES * line):
        for k in range(first, last):
            prefetch(args.W, (k + PACKED_AHEAD) * n_out + group)
            for column in range(group, min(group + PREFETCHED_LINES * line, n_out), panel):
                n = min(panel, n_out - column)
                wide = (n + line - 1) // line * line
                target = args.packed[column * n_in + k * wide : column * n_in + (k + 1) * wide]
                copy(args.W[k * n_out + column : k * n_out + column + n], target)
                for j in range(n, wide):
                    target[j] = 0


_pack = kernel(pack_rows)


def packed(W: Array, b: Array, memory: Array, padded: int, threads: int) -> tuple[Array, Array]:
    """W in panels and b `padded` to whole lines, both within `memory`, which has room for one row more than W has."""
    n_in, n_out = W.shape
    panels, bias = memory[: n_in * padded], memory[n_in * padded : (n_in + 1) * padded]
    launch(_pack, Packing(flat(W), panels, n_in, n_out), threads=threads)
    bias[:n_out] = b
    bias[n_out:] = 0
    return panels, bias


class Product(NamedTuple):
    """What a product of plain rows, and a function of its elements, read and write: ``out = f(init + left @ right)``.

    The tiles write the padded rows `sums`. These are `out` itself where its rows are whole lines. `right` and
    `right_row` are a `Matrix`. `given` is what the function needs: the activation's code, or the layer's output.
    """

    left: Array
    right: Array
    right_row: int
    init: Array
    sums: Array
    out: Array
    n_rows: int
    n_sum: int
    n_out: int
    given: Any


def product_of(
    left: Array, right: Array, right_row: int, init: Array, result: Array, padded: int, given: Any
) -> Product:
    """The product for `left` and `result`, two-dimensional arrays; `padded` is the width of a row of whole lines."""
    (n_rows, n_sum), n_out, out = left.shape, result.shape[1], flat(result)
    sums = out if padded == n_out else np.empty(n_rows * padded, result.dtype)
    return Product(flat(left), right, right_row, init, sums, out, n_rows, n_sum, n_out, given)


@jit
def multiply_block(args: Product, first: int, end: int) -> slice:
    """A block of a product's rows, from `first` on and before `end`. Returns which numbers of `out` they are."""
    n_sum, n_out = args.n_sum, args.n_out
    last = min(first + layout.ROW_BLOCK, end)
    line = LINE_BYTES // args.out.itemsize
    n_lines = (n_out + line - 1) // line
    stride = n_lines * line
    multiply(
        Out(args.sums, first * stride, stride, last - first, n_lines),
        Left(args.left, first * n_sum, n_sum, 1),
        Matrix(args.right, 0, args.right_row),
        Init(args.init, 0),
        n_sum,
    )
    if stride != n_out:
        for r in range(first, last):
            copy(args.sums[r * stride : r * stride + n_out], args.out[r * n_out : (r + 1) * n_out])
    return slice(first * n_out, last * n_out)
