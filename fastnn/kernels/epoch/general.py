"""The program of networks and options that are not plain. It is compiled when one of them trains.

    outputs      softmax with smoothed labels; logistic (several labels a sample); identity (regression)
    dropout      a hidden unit's output is 0 with probability p, and divided by 1 - p otherwise
    clip_norm    a batch's gradient is made no longer than this before its step
    activations  whose derivative isn't a function of their output
    inputs       of which few aren't 0 (see `sparse`)
    layers       that are normalised (see `normalised`)

Where gradients are clipped, batches go through two phases more. Samples lie in rows, also in narrow networks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.kernels.arrays import Array
from fastnn.kernels.epoch.frame import (
    PLAIN_ROWS,
    SQUARES_PHASE,
    Inputs,
    Program,
    chunks_of_threads,
    phases_of,
    rows_phase,
)
from fastnn.kernels.epoch.heads import any_output
from fastnn.kernels.epoch.hidden import WITH_SLOPES, Hidden
from fastnn.kernels.epoch.run import Batch, Memory, Run, batch_of, input_rows, nth_piece
from fastnn.kernels.epoch.team import phased
from fastnn.kernels.epoch.weights import SQUARES_STRIPES, feature_unit, step_of, sum_of_squares, transpose
from fastnn.kernels.equations.loss import columns_size, ordered_sum
from fastnn.kernels.equations.solver import add_penalty, shrink, solver_step
from fastnn.kernels.layout import Layout, aligned_zeros, line_elements
from fastnn.kernels.simd.operands import Init, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import share
from fastnn.runtime.template import instance


@jit
def is_clipped(run: Run) -> bool:
    """Whether no step may be taken before the length of the whole gradient is known."""
    return run.general.clip_norm < np.inf  # type: ignore[no-any-return]


@jit
def step(run: Run, here: slice, gradient: Array, kept: float) -> None:
    """U1 for the parameters at `here`; weight decay multiplies them by `kept` first."""
    params = run.params
    if kept < 1:
        shrink(params[here], kept)
    slot_1, slot_2 = run.state[: params.size], run.state[params.size :]
    solver_step(run.solver, params[here], gradient, slot_1[here], slot_2[here], step_of(run.numbers[0], params).rates)


@jit
def use_gradient(run: Run, here: slice, gradient: Array, clipped: bool) -> None:
    """Add the penalty's gradient to that of the weights at `here`. Then step, unless it has to be clipped before."""
    now = step_of(run.numbers[0], run.params)
    if now.penalty > 0:
        add_penalty(gradient, run.params[here], now.penalty)
    if not clipped:
        step(run, here, gradient, now.kept)


@jit
def weights_of_rows(run: Run, batch: Batch, inputs: Left, layer: int, part: int, parts: int, worker: int) -> None:
    """B2, with the penalty's gradient, for this part's features of a layer with these inputs.

    If gradients are clipped, this one is put into `Run.grads`. Otherwise U1 follows at once, while a tile is in L1.
    """
    params, buffer, this = run.params, run.buffer, run.layers[layer]
    line, clipped = LINE_BYTES // params.itemsize, is_clipped(run)
    scratch = run.scratch[nth_piece(worker, run.scratch_size)]
    first, last = share(run.layers[layer - 1].n, feature_unit(params.itemsize), part, parts)
    for panel in range(0, this.lines, PANEL_LINES):
        n_lines = min(PANEL_LINES, this.lines - panel)
        wide = n_lines * line
        delta = Right(buffer, this.delta_at + panel * line, this.stride)
        weights = this.w_at + panel * line * run.layers[layer - 1].n
        for k in range(first, last, ROWS):
            rows = min(ROWS, last - k)
            here = slice(weights + k * wide, weights + (k + rows) * wide)
            gradient = run.grads[here] if clipped else scratch[: rows * wide]
            features = LeftColumns(inputs.data, inputs.start + k, inputs.row)
            tile(Out(gradient, 0, wide, rows, n_lines), features, delta, Init(buffer, 0), batch.n)
            use_gradient(run, here, gradient, clipped)


@jit
def outputs_of(run: Run, layer: int) -> Left:
    """The outputs of a hidden layer, for all rows of the batch."""
    here = run.layers[layer]
    return Left(run.buffer, here.a_at, here.stride, 1)


@jit
def plain_weights(run: Run, batch: Batch, layer: int, part: int, parts: int, worker: int) -> None:
    """`weights_of_rows` for samples that are plain rows."""
    inputs = input_rows(run, batch, 0)
    if layer > 1:
        inputs = outputs_of(run, layer - 1)
    weights_of_rows(run, batch, inputs, layer, part, parts, worker)


def _weights(run: Run, batch: Batch, layer: int, part: int, parts: int, worker: int) -> None:
    """A placeholder, like the next function: `instance` replaces them by bodies in the template below."""


def _bias_gradient(run: Run, batch: Batch, layer: int, gradient: Array) -> None: ...


def _features_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    # B2 and B3 for this part's features of every layer, and U1 unless gradients are clipped.
    batch, layers, clipped = batch_of(run, number), run.layers, is_clipped(run)
    for layer in range(1, layers.size):
        _weights(run, batch, layer, part, parts, worker)
        if layer > 1 and not clipped:
            first, last = share(layers[layer - 1].n, feature_unit(run.params.itemsize), part, parts)
            transpose(run, layer, first, last - first)
        if part == layer % parts:
            here = slice(layers[layer].b_at, layers[layer].end)
            gradient = (
                run.grads[here]
                if clipped
                else run.scratch[nth_piece(worker, run.scratch_size)][: here.stop - here.start]
            )
            _bias_gradient(run, batch, layer, gradient)
            if not clipped:
                step(run, here, gradient, run.params.dtype.type(1))


@jit
def squares_phase(run: Run, part: int, parts: int, worker: int) -> None:
    """The sums of squares of this part's blocks of the gradient."""
    stripes = run.scratch[nth_piece(worker, run.scratch_size)][:SQUARES_STRIPES]
    squares = run.squares[run.n_squares :]
    first, last = share(squares.size, 1, part, parts)
    for block in range(first, last):
        squares[block] = sum_of_squares(run.grads[: run.params.size], block, stripes)


@jit
def step_phase(run: Run, part: int, parts: int) -> None:
    """U1 for this part's features of every layer, by the gradient made no longer than `clip_norm`."""
    grads, layers, dtype = run.grads, run.layers, run.params.dtype.type
    kept = step_of(run.numbers[0], run.params).kept
    line = LINE_BYTES // run.params.itemsize
    norm, clip = np.sqrt(ordered_sum(run.squares[run.n_squares :])), run.general.clip_norm
    scale = dtype(clip / norm if norm > clip else 1.0)
    for layer in range(1, layers.size):
        this, n_in = layers[layer], layers[layer - 1].n
        first, last = share(n_in, feature_unit(run.params.itemsize), part, parts)
        for panel in range(0, this.lines, PANEL_LINES):
            wide = min(PANEL_LINES, this.lines - panel) * line
            weights = this.w_at + panel * line * n_in
            here = slice(weights + first * wide, weights + last * wide)
            if scale < 1:
                shrink(grads[here], scale)
            step(run, here, grads[here], kept)
        if layer > 1:
            transpose(run, layer, first, last - first)
        if part == layer % parts:
            here = slice(this.b_at, this.end)
            if scale < 1:
                shrink(grads[here], scale)
            step(run, here, grads[here], dtype(1))


@jit
def clipping_phase(run: Run, phase: int, part: int, parts: int, worker: int) -> None:
    """One of the two phases more where gradients are clipped, otherwise nothing."""
    if is_clipped(run):
        if phase == SQUARES_PHASE:
            squares_phase(run, part, parts, worker)
        else:
            step_phase(run, part, parts)


def general(
    name: str, hidden: Hidden, inputs: Inputs = PLAIN_ROWS, weights: Callable[..., None] = plain_weights
) -> Program:
    """The program that trains these hidden layers from these inputs.

    Parameters
    ----------
    name : str
        What the name of the kernel begins with.
    hidden : Hidden
    inputs : Inputs
    weights : ``weights(run, batch, layer, part, parts, worker)``
        B2 of a layer, and U1 unless gradients are clipped.
    """
    sparse = inputs is not PLAIN_ROWS

    def memory(layout: Layout, batch_size: int, n_threads: int) -> Memory:
        dtype = layout.dtype
        # Sparse inputs are read where they are, so the buffer needs no room for inputs. The gradients of their weights
        # are computed for all panels at once, so these need more scratch memory.
        layers, size = layout.workspace(batch_size, training=True, slopes=True, inputs=not sparse)
        block = ROWS * max(PANEL_LINES, int(layers["lines"][1]) if sparse else 0) * line_elements(dtype)
        biases = int((layers["end"] - layers["b_at"])[1:].max())
        scratch_size = max(block, SQUARES_STRIPES, biases, columns_size(layout.sizes[-1]))
        scratch = aligned_zeros(n_threads * scratch_size, dtype)
        return Memory(layers, aligned_zeros(size, dtype), aligned_zeros(layout.n_params, dtype), scratch, scratch_size)

    rows = rows_phase(name, inputs, hidden, any_output)
    features = jit(instance(_features_phase, name, _weights=weights, _bias_gradient=hidden.bias_gradient))
    bodies = phases_of(name, rows, features, clipping_phase, phases=4)
    return Program(phased(bodies), bodies, phases=4, memory=memory, chunks=chunks_of_threads)


GENERAL = general("general", WITH_SLOPES)
