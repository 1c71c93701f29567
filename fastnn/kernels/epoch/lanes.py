"""The program of narrow plain networks: the samples lie in the vector lanes.

A layer of a few units doesn't fill a vector with the units of one sample.

A block of samples goes through all layers at once, stored feature by feature: unit j of sample i is at
``j * wide + i``, where `wide` is the number of samples in whole lines. F1, F3 and B4 sum in the same order as
everywhere, to the same bits. B2 and B3 sum over a block's samples in the lanes of a line (see `dots`), over the blocks
of a group in order, and over the groups in order. A chunk of work is one group.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.epoch.frame import Program, account_batch, finish_batch, start_batch
from fastnn.kernels.epoch.heads import softmax_of_columns
from fastnn.kernels.epoch.run import Batch, Memory, Run, batch_of, inlined, take_targets
from fastnn.kernels.epoch.team import Bodies, phased
from fastnn.kernels.epoch.weights import SQUARES_STRIPES, squares_of_weights, step_of
from fastnn.kernels.equations.activation import activate, multiply_by_derivative
from fastnn.kernels.equations.solver import add_penalty, shrink, solver_step
from fastnn.kernels.forward.rows import Net, forward_columns
from fastnn.kernels.layout import Layout, aligned_zeros, width
from fastnn.kernels.simd.operands import InitColumn, Left, Out, Right, Rows
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS, SHAPE, dot_shape
from fastnn.kernels.simd.sums import dots
from fastnn.runtime.compiler import jit

# The samples of a group, and the bytes that a block may take: a block should stay in L2, and still be long enough for
# long sums in `dots`.
GROUP = 512
_BLOCK_BYTES = 128 << 10


@register_jitable  # type: ignore[untyped-decorator]
def block_samples(layers: NDArray[np.void], itemsize: int) -> int:
    """Samples of a block: as many as stay in L2, but at least 64 and at most a group; a function of the layer sizes.

    An epoch of 4-32-16-4 takes 391 µs with blocks of 64, 342 with 128, 314 with 256; of 2-3-2 with 200 samples 1.1 µs
    with one block, 1.3 with four.
    """
    units = 0
    for layer in range(layers.size):
        units += 2 * layers[layer]["n"] + 2
    samples = GROUP
    while samples > 64 and samples * units * itemsize > _BLOCK_BYTES:
        samples //= 2
    return samples


@jit
def nothing(other: int, number: int) -> None:
    """Do nothing: `forward_columns` calls this after each tile."""
    return  # a body of a docstring alone can't be compiled with NUMBA_DEBUGINFO=1


_forward = forward_columns(activate, nothing)


@jit
def backward_columns(net: Net, buffer: Array, wide: int, grads: Array) -> None:
    """B2, B3 and B4 down all layers; the gradients are added to `grads`, which lie as the parameters do."""
    line = LINE_BYTES // buffer.itemsize
    n_rows, n_columns = dot_shape(SHAPE.vector_bytes // buffer.itemsize)
    for layer in range(net.layers.size - 1, 0, -1):
        this, below = net.layers[layer], net.layers[layer - 1]
        # These fields are read before the loops. The compiler can't know that the stores in the loops leave the records
        # as they are, and would read the fields again after each store.
        n_in, n_out, stride = below.n, this.n, this.lines * line
        w_at, below_at, delta_at, above_at = this.w_at, below.a_at, this.delta_at, below.delta_at
        # The row after the last feature is of ones, and the biases lie where one more row of W would.
        for k in range(0, n_in + 1, n_rows):
            for j in range(0, n_out, n_columns):
                dots(
                    Rows(grads, w_at + k * stride + j, stride, 0),
                    Rows(buffer, below_at + k * wide, wide, min(n_rows, n_in + 1 - k)),
                    Rows(buffer, delta_at + j * wide, wide, min(n_columns, n_out - j)),
                    wide // line,
                )
        if layer > 1:
            for i in range(0, wide, PANEL_LINES * line):
                n_lines = min(PANEL_LINES, (wide - i) // line)
                for k in range(0, n_in, ROWS):
                    tile(
                        Out(buffer, above_at + k * wide + i, wide, min(ROWS, n_in - k), n_lines),
                        Left(net.params, w_at + k * stride, stride, 1),
                        Right(buffer, delta_at + i, wide),
                        InitColumn(buffer, 0, 0),
                        n_out,
                    )
            size = below.n * wide
            deltas, outputs = buffer[below.delta_at :], buffer[below.a_at :]
            multiply_by_derivative(below.activation, deltas[:size], outputs[:size])


@jit
def take_columns(run: Run, batch: Batch, first: int, n: int, columns: Array) -> None:
    """The inputs of the batch's `n` samples from `first` on, side by side; zeros up to a whole line."""
    n_in, line = run.layers[0].n, LINE_BYTES // columns.itemsize
    wide = (n + line - 1) // line * line
    if run.shuffled:
        for i in range(n):
            start = run.order[batch.first + first + i] * n_in
            row = run.X[start : start + n_in]
            for k in range(n_in):
                columns[k * wide + i] = row[k]
    else:
        rows = run.X[(batch.first + first) * n_in : (batch.first + first + n) * n_in]
        for k in range(n_in):
            column = columns[k * wide : (k + 1) * wide]
            for i in range(n):
                column[i] = rows[i * n_in + k]
    for k in range(n_in):
        for i in range(n, wide):
            columns[k * wide + i] = 0


@jit
def block_of_batch(run: Run, number: int, first: int, n: int, buffer: Array, grads: Array) -> None:
    """Everything from the inputs to the gradients for the `n` samples of batch `number` from `first` on."""
    layers, batch = run.layers, batch_of(run, number)
    output = layers[layers.size - 1]
    line = LINE_BYTES // buffer.itemsize
    wide = (n + line - 1) // line * line
    logits = buffer[output.a_at :]
    take_targets(run, batch, first, run.targets[first : first + n])
    take_columns(run, batch, first, n, buffer[layers[0].a_at :])
    for layer in range(layers.size - 1):
        ones = layers[layer].a_at + layers[layer].n * wide
        for i in range(wide):
            buffer[ones + i] = 1
    net = Net(run.params, layers)
    _forward(net, buffer, wide, 0)
    softmax_of_columns(run, batch, first, n, logits, wide)
    for j in range(output.n):
        for i in range(n, wide):
            logits[j * wide + i] = 0
    backward_columns(net, buffer, wide, grads)


@jit
def begin(run: Run, number: int) -> None:
    """What comes before the first batch."""
    start_batch(run, number)


@jit
def train_narrow_chunk(run: Run, number: int, group: int, groups: int, worker: int) -> None:
    """The sum of the gradients of one group of the batch's samples, which go through all layers block by block."""
    if run.numbers[0].total_weight == 0:
        return
    size = run.params.size
    batch = batch_of(run, number)
    grads = run.grads[group * size : (group + 1) * size]
    for p in range(size):
        grads[p] = 0
    buffer = run.buffer[worker * run.scratch_size : (worker + 1) * run.scratch_size]
    last, samples = min(batch.n, (group + 1) * GROUP), block_samples(run.layers, grads.itemsize)
    for first in range(group * GROUP, last, samples):
        block_of_batch(run, number, first, min(samples, last - first), buffer, grads)


@jit
def between(run: Run, number: int, last: int) -> bool:
    """What follows a batch's only phase: the step, with the gradients of all groups. False if the batch diverged."""
    if run.numbers[0].total_weight != 0:
        if run.numbers[0].alpha > 0:
            squares_of_weights(run, 0, 1, 0)
        if not account_batch(run, number):
            return False
        take_step(run, number)
    if not finish_batch(run, number):
        return False
    if number + 1 < last:
        start_batch(run, number + 1)
    return True


@inlined  # type: ignore[untyped-decorator]
def take_step(run: Run, number: int) -> None:
    """U1 with the sum of the groups' gradients."""
    # Inlined as source, because a call passes every field of the run, which takes 200 instructions a batch.
    params, layers = run.params, run.layers
    size = params.size
    grads = run.grads[:size]
    n_groups = (batch_of(run, number).n + GROUP - 1) // GROUP
    for group in range(1, n_groups):
        other = run.grads[group * size : (group + 1) * size]
        for p in range(size):
            grads[p] += other[p]
    rates, kept, decay = step_of(run.numbers[0], params)
    for layer in range(1, layers.size):
        weights = slice(layers[layer].w_at, layers[layer].b_at)
        if decay > 0:
            add_penalty(grads[weights], params[weights], decay)
        if kept < 1:
            shrink(params[weights], kept)
    solver_step(run.solver, params, grads, run.state[:size], run.state[size:], rates)


def groups(batch_size: int) -> int:
    """The number of groups of a whole batch."""
    return -(-batch_size // GROUP)


def memory(layout: Layout, batch_size: int, n_threads: int) -> Memory:
    """The memory of `LANES`: gradients for each group, columns for each thread."""
    dtype = layout.dtype
    layers, size = layout.columns(block_samples(layout.layers, dtype.itemsize), training=True)
    size = width(max(size, SQUARES_STRIPES), dtype)
    grads = aligned_zeros(groups(batch_size) * layout.n_params, dtype)
    buffer, scratch = (aligned_zeros(n_threads * size, dtype) for _ in range(2))
    return Memory(layers, buffer, grads, scratch, size)


_BODIES = Bodies(begin, train_narrow_chunk, between)
LANES = Program(
    phased(_BODIES), _BODIES, phases=1, memory=memory, chunks=lambda batch_size, n_threads: groups(batch_size)
)
