"""The program of plain networks: softmax, activations whose slope is a function of their output, nothing optional.

B2 and U1 are one step: each tile of gradients is used while it is in registers, or in the nearest cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.kernels.epoch.frame import PLAIN_ROWS, Program, chunks_of_threads, phases_of, rows_phase
from fastnn.kernels.epoch.heads import softmax_of_rows
from fastnn.kernels.epoch.hidden import PLAIN
from fastnn.kernels.epoch.run import Memory, Run, batch_of, input_rows, nth_piece
from fastnn.kernels.epoch.team import phased
from fastnn.kernels.epoch.weights import SQUARES_STRIPES, feature_unit, step_of, transpose
from fastnn.kernels.equations.layer import sum_rows
from fastnn.kernels.equations.loss import columns_size
from fastnn.kernels.equations.solver import CODES, add_penalty, shrink, solver_step
from fastnn.kernels.layout import Layout, aligned_zeros, line_elements
from fastnn.kernels.simd.moves import PREFETCHED_LINES, prefetch
from fastnn.kernels.simd.operands import Init, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import tile, tile_step
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import share

_SGD = CODES["sgd"]


class Ahead(NamedTuple):
    """Inputs to prefetch for the next batch: `rows` of its rows, from place `first` on, each in `pieces` pieces."""

    first: int
    rows: int
    pieces: int


@jit
def ahead(run: Run, number: int, part: int, parts: int) -> Ahead:
    """This part's share of the inputs of the batch after batch `number`; none if that batch begins an epoch."""
    batch, n_in = batch_of(run, number), run.layers[0].n
    following = batch.first + batch.n
    first, last = share(min(run.batch_size, run.y.size - following), 1, part, parts)
    piece = PREFETCHED_LINES * LINE_BYTES // run.X.itemsize
    return Ahead(following + first, last - first, (n_in + piece - 1) // piece)


@jit
def prefetch_pieces(run: Run, wanted: Ahead, row: int, piece: int, n: int) -> tuple[int, int]:
    """Prefetch `n` pieces from piece `piece` of row `row` on; returns the row and the piece that come next."""
    for _ in range(n):
        if row < wanted.rows:
            sample = run.order[wanted.first + row] if run.shuffled else wanted.first + row
            prefetch(run.X, sample * run.layers[0].n + piece * (PREFETCHED_LINES * LINE_BYTES // run.X.itemsize))
            piece += 1
            if piece == wanted.pieces:
                row, piece = row + 1, 0
    return row, piece


@jit
def features_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    """B2, B3 and U1 for this part's features of every layer: each tile of gradients is used while it is in L1."""
    batch = batch_of(run, number)
    params, layers, buffer = run.params, run.layers, run.buffer
    scratch = run.scratch[nth_piece(worker, run.scratch_size)]
    slot_1, slot_2 = run.state[: params.size], run.state[params.size :]
    line = LINE_BYTES // params.itemsize
    rates, kept, decay = step_of(run.numbers[0], params)
    in_registers = run.solver == _SGD and decay == 0
    wanted = ahead(run, number, part, parts)
    row = piece = 0
    for layer in range(1, layers.size):
        this, below, inputs = layers[layer], layers[layer - 1], input_rows(run, batch, 0)
        if layer > 1:
            inputs = Left(buffer, below.a_at, below.stride, 1)
        first, last = share(below.n, feature_unit(params.itemsize), part, parts)
        n_tiles = max(1, (this.lines + 1) // PANEL_LINES * ((last - first + ROWS - 1) // ROWS))
        pieces_a_tile = (wanted.rows * wanted.pieces + n_tiles - 1) // n_tiles if layer == 1 else 0
        for panel in range(0, this.lines, PANEL_LINES):
            n_lines = min(PANEL_LINES, this.lines - panel)
            wide = n_lines * line
            delta = Right(buffer, this.delta_at + panel * line, this.stride)
            weights = this.w_at + panel * line * below.n
            for k in range(first, last, ROWS):
                rows = min(ROWS, last - k)
                features = LeftColumns(inputs.data, inputs.start + k, inputs.row)
                row, piece = prefetch_pieces(run, wanted, row, piece, pieces_a_tile)
                if in_registers:
                    tile_step(
                        Out(params, weights + k * wide, wide, rows, n_lines), features, delta, batch.n, rates.step
                    )
                    continue
                tile(Out(scratch, 0, wide, rows, n_lines), features, delta, Init(buffer, 0), batch.n)
                here = slice(weights + k * wide, weights + (k + rows) * wide)
                if decay > 0:  # on weights only, not on biases
                    add_penalty(scratch, params[here], decay)
                if kept < 1:
                    shrink(params[here], kept)
                solver_step(run.solver, params[here], scratch, slot_1[here], slot_2[here], rates)
        if layer > 1:
            transpose(run, layer, first, last - first)
        if part == layer % parts:
            n = this.lines * line
            sum_rows(buffer[this.delta_at :], this.stride, batch.n, scratch[:n])
            here = slice(this.b_at, this.b_at + n)
            solver_step(run.solver, params[here], scratch, slot_1[here], slot_2[here], rates)


def memory(layout: Layout, batch_size: int, n_threads: int) -> Memory:
    """The memory of `PANELS`."""
    dtype = layout.dtype
    layers, size = layout.workspace(batch_size, training=True)
    tile_size = ROWS * PANEL_LINES * line_elements(dtype)
    scratch_size = max(tile_size, SQUARES_STRIPES, int(layers["stride"].max()), columns_size(layout.sizes[-1]))
    scratch = aligned_zeros(n_threads * scratch_size, dtype)
    return Memory(layers, aligned_zeros(size, dtype), np.zeros(0, dtype), scratch, scratch_size)


_BODIES = phases_of("panels", rows_phase("panels", PLAIN_ROWS, PLAIN, softmax_of_rows), features_phase)
PANELS = Program(phased(_BODIES), _BODIES, phases=2, memory=memory, chunks=chunks_of_threads)
