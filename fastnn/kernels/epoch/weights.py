"""What every program does to weights: the step (U1), the transposed weights for B4, the squares for the penalty.

A part of the features' phase owns some features: rows of W.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.epoch.run import Run, nth_piece
from fastnn.kernels.equations.loss import ordered_sum
from fastnn.kernels.equations.solver import Rates
from fastnn.kernels.layout import place
from fastnn.kernels.simd.moves import transpose_block
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Rows
from fastnn.kernels.simd.shape import LINE_BYTES, ROWS, lanes_of
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import share

# Squares are added in blocks of this many numbers, and within a block in this many stripes. Both fix the order of the
# sum; 128 stripes keep eight vector registers' worth of additions in flight.
SQUARES_BLOCK = 4096
SQUARES_STRIPES = 128

_UNITS = math.lcm(ROWS, lanes_of(4)), math.lcm(ROWS, lanes_of(8))


@register_jitable  # type: ignore[untyped-decorator]
def feature_unit(itemsize: int) -> int:
    """Parts own whole multiples of this many features: whole tiles, and whole vectors for `transpose`."""
    return _UNITS[0] if itemsize == 4 else _UNITS[1]


@jit
def transpose(run: Run, layer: int, k: int, rows: int) -> None:
    """Copy the weights of `rows` features from `k` on to the transposed panels that B4 reads.

    `k` must be a whole number of vectors; otherwise the transposed columns from `k` on would lie across two vectors.
    """
    params, buffer, here = run.params, run.buffer, run.layers[layer]
    line, lanes = LINE_BYTES // params.itemsize, lanes_of(params.itemsize)
    n_in, n_out = run.layers[layer - 1].n, here.n
    for i in range(k, k + rows, lanes):
        target = here.wt_at + place(0, i, n_out, n_in, line)
        step = place(1, i, n_out, n_in, line) - place(0, i, n_out, n_in, line)
        for j in range(0, n_out, lanes):
            source = here.w_at + place(i, j, n_in, n_out, line)
            wide = place(1, j, n_in, n_out, line) - place(0, j, n_in, n_out, line)
            transpose_block(
                Rows(buffer, target + j * step, step, n_out - j), Rows(params, source, wide, min(lanes, n_in - i))
            )


class Step(NamedTuple):
    """The numbers of a batch's step, in the parameters' dtype.

    Parameters
    ----------
    rates : Rates
    kept : float
        The factor by which AdamW multiplies a weight before the step is added to it; 1 without weight decay.
    penalty : float
        The factor of a weight in the gradient of the L2 penalty.
    """

    rates: Rates
    kept: float
    penalty: float


@jit
def step_of(numbers: Any, params: Array) -> Step:
    """The step of the present batch, from the record of the solver's numbers."""
    dtype = params.dtype.type
    rates = Rates(
        dtype(numbers.step_now),
        dtype(numbers.momentum),
        dtype(numbers.beta_1),
        dtype(numbers.beta_2),
        dtype(numbers.epsilon),
    )
    return Step(rates, dtype(1 - numbers.step * numbers.weight_decay), dtype(numbers.alpha / numbers.total_weight))


@jit
def sum_of_squares(values: Array, block: int, stripes: Array) -> float:
    """``sum values**2`` over block number `block` of the values; `stripes` is memory to work in."""
    stripes[:] = 0
    for start in range(block * SQUARES_BLOCK, min((block + 1) * SQUARES_BLOCK, values.size), SQUARES_STRIPES):
        v = values[start : start + SQUARES_STRIPES]
        for j in range(v.size):
            stripes[j] = fma(v[j], v[j], stripes[j])
    return ordered_sum(stripes)


@jit
def squares_of_weights(run: Run, part: int, parts: int, worker: int) -> None:
    """This part's share of ``sum W**2``: one number for each block of a layer's packed weights."""
    stripes = run.scratch[nth_piece(worker, run.scratch_size)][:SQUARES_STRIPES]
    offset = 0
    for layer in range(1, run.layers.size):
        weights = run.params[run.layers[layer].w_at : run.layers[layer].b_at]
        n_blocks = (weights.size + SQUARES_BLOCK - 1) // SQUARES_BLOCK
        first, last = share(n_blocks, 1, part, parts)
        for block in range(first, last):
            run.squares[offset + block] = sum_of_squares(weights, block, stripes)
        offset += n_blocks


def squares_of_layers(layers: NDArray[np.void]) -> int:
    """The number of blocks that `squares_of_weights` sums up."""
    sizes = (layers["b_at"] - layers["w_at"])[1:]
    return int((-(-sizes // SQUARES_BLOCK)).sum())


def squares_of_gradient(n_params: int) -> int:
    """The number of blocks of the whole gradient."""
    return -(-n_params // SQUARES_BLOCK)
