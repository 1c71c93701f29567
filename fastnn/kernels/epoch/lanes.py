"""Narrow networks: the samples lie in the vector lanes, since a layer of a few units doesn't fill a vector.

A block of samples goes through all layers at once, stored feature by feature: unit j of sample i is at
``j * wide + i``, where `wide` is the number of samples in whole lines. F1, F3 and B4 sum in the same order as
everywhere, to the same bits. B2 and B3 sum over a block's samples in the lanes of a line (see `dots`), over the blocks
of a group in order, and over the groups in order. Groups are what threads share out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.epoch.panels import (
    ALPHA,
    BY_PANELS,
    SQUARES_STRIPES,
    TOTAL_WEIGHT,
    Batch,
    Memory,
    Method,
    Run,
    account_batch,
    batch_of,
    finish_batch,
    kept_by_decay,
    rates_now,
    sample_of,
    squares_of_weights,
    start_batch,
    take_targets,
)
from fastnn.kernels.epoch.team import Bodies
from fastnn.kernels.equations.activation import activate, multiply_by_derivative
from fastnn.kernels.equations.loss import (
    divide,
    logits_of_targets,
    losses_of_columns,
    output_delta_columns,
    softmax_columns,
)
from fastnn.kernels.equations.solver import add_penalty, shrink, solver_step
from fastnn.kernels.forward.rows import Net, forward_columns
from fastnn.kernels.layout import (
    A_START,
    ACTIVATION,
    B_START,
    DELTA_START,
    LINES,
    W_START,
    Layout,
    N,
    aligned_zeros,
    line_elements,
    width,
)
from fastnn.kernels.simd.operands import InitColumn, Left, Out, Right, Rows
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS, SHAPE, dot_shape
from fastnn.kernels.simd.sums import dots
from fastnn.runtime.compiler import jit

# Samples of a group, and bytes that a block may take: it should stay in L2, for its sums in `dots` to be long.
GROUP = 512
_BLOCK_BYTES = 128 << 10


@register_jitable  # type: ignore[untyped-decorator]
def block_samples(table: NDArray[np.int64], itemsize: int) -> int:
    """Samples of a block: as many as stay in L2, but at least 64 and at most a group; a function of the layer sizes.

    An epoch of 4-32-16-4 takes 391 µs with blocks of 64, 342 with 128, 314 with 256; of 2-3-2 with 200 samples 1.1 µs
    with one block, 1.3 with four.
    """
    units = 0
    for layer in range(table.shape[0]):
        units += 2 * table[layer, N] + 2
    samples = GROUP
    while samples > 64 and samples * units * itemsize > _BLOCK_BYTES:
        samples //= 2
    return samples


@jit
def nothing(other: int, number: int) -> None:
    """Between two tiles."""


_forward = forward_columns(activate, nothing)


@jit
def backward_columns(net: Net, buffer: Array, wide: int, grads: Array) -> None:
    """B2, B3 and B4 down all layers; the gradients are added to `grads`, which lie as the parameters do."""
    table = net.table
    line = LINE_BYTES // buffer.itemsize
    n_rows, n_columns = dot_shape(SHAPE.vector_bytes // buffer.itemsize)
    for layer in range(table.shape[0] - 1, 0, -1):
        n_in, n_out, stride = table[layer - 1, N], table[layer, N], table[layer, LINES] * line
        below, delta, W = table[layer - 1, A_START], table[layer, DELTA_START], table[layer, W_START]
        # The row after the last feature is of ones, and the biases lie where another row of W would.
        for k in range(0, n_in + 1, n_rows):
            for j in range(0, n_out, n_columns):
                dots(
                    Rows(grads, W + k * stride + j, stride, 0),
                    Rows(buffer, below + k * wide, wide, min(n_rows, n_in + 1 - k)),
                    Rows(buffer, delta + j * wide, wide, min(n_columns, n_out - j)),
                    wide // line,
                )
        if layer > 1:
            above = table[layer - 1, DELTA_START]
            for i in range(0, wide, PANEL_LINES * line):
                n_lines = min(PANEL_LINES, (wide - i) // line)
                for k in range(0, n_in, ROWS):
                    tile(
                        Out(buffer, above + k * wide + i, wide, min(ROWS, n_in - k), n_lines),
                        Left(net.params, W + k * stride, stride, 1),
                        Right(buffer, delta + i, wide),
                        InitColumn(buffer, 0, 0),
                        n_out,
                    )
            multiply_by_derivative(
                table[layer - 1, ACTIVATION],
                buffer[above : above + n_in * wide],
                buffer[below : below + n_in * wide],
            )


@jit
def take_columns(run: Run, batch: Batch, first: int, n: int, columns: Array) -> None:
    """The inputs of the batch's `n` samples from `first` on, side by side; zeros up to a whole line."""
    n_in, line = run.table[0, N], LINE_BYTES // columns.itemsize
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
    table, batch = run.table, batch_of(run, number)
    output = table.shape[0] - 1
    n_classes = table[output, N]
    line = LINE_BYTES // buffer.itemsize
    wide = (n + line - 1) // line * line
    losses, targets = run.losses[first : first + n], run.targets[first : first + n]
    inputs, logits = buffer[table[0, A_START] :], buffer[table[output, A_START] :]
    take_targets(run, batch, first, targets)
    take_columns(run, batch, first, n, inputs)
    for layer in range(output):
        ones = table[layer, A_START] + table[layer, N] * wide
        for i in range(wide):
            buffer[ones + i] = 1
    net = Net(run.params, table)
    _forward(net, buffer, wide, 0)
    logits_of_targets(logits, wide, n_classes, targets, losses)
    softmax_columns(logits, wide, n_classes)
    losses_of_columns(logits, wide, n_classes, losses)
    output_delta_columns(logits, wide, n_classes, targets)
    if run.sample_weight.size:
        for i in range(n):
            weight = run.sample_weight[sample_of(run, batch, first + i)]
            losses[i] *= weight
            for j in range(n_classes):
                logits[j * wide + i] *= weight
    divide(logits[: n_classes * wide], buffer.dtype.type(run.numbers[TOTAL_WEIGHT]))
    for j in range(n_classes):
        for i in range(n, wide):
            logits[j * wide + i] = 0
    backward_columns(net, buffer, wide, grads)


@jit
def begin(run: Run, number: int) -> None:
    """What comes before the first batch."""
    start_batch(run, number)


@jit
def train_narrow_chunk(run: Run, number: int, group: int, groups: int, worker: int) -> None:
    """A group's blocks: its gradients, from zero."""
    if run.numbers[TOTAL_WEIGHT] == 0:
        return
    size = run.params.size
    batch = batch_of(run, number)
    grads = run.grads[group * size : (group + 1) * size]
    for p in range(size):
        grads[p] = 0
    buffer = run.buffer[worker * run.scratch_size : (worker + 1) * run.scratch_size]
    last, samples = min(batch.n, (group + 1) * GROUP), block_samples(run.table, grads.itemsize)
    for first in range(group * GROUP, last, samples):
        block_of_batch(run, number, first, min(samples, last - first), buffer, grads)


@jit
def between(run: Run, number: int, last: int) -> bool:
    """The step, when all gradients are there."""
    if run.numbers[TOTAL_WEIGHT] != 0:
        if run.numbers[ALPHA] > 0:
            squares_of_weights(run, 0, 1, 0)
        if not account_batch(run, number):
            return False
        take_step(run, number)
    if not finish_batch(run, number):
        return False
    if number + 1 < last:
        start_batch(run, number + 1)
    return True


@jit
def take_step(run: Run, number: int) -> None:
    """U1 with the sum of the groups' gradients."""
    params, table = run.params, run.table
    size = params.size
    grads = run.grads[:size]
    n_groups = (batch_of(run, number).n + GROUP - 1) // GROUP
    for group in range(1, n_groups):
        other = run.grads[group * size : (group + 1) * size]
        for p in range(size):
            grads[p] += other[p]
    decay = params.dtype.type(run.numbers[ALPHA] / run.numbers[TOTAL_WEIGHT])
    kept = kept_by_decay(run)
    for layer in range(1, table.shape[0]):
        weights = slice(table[layer, W_START], table[layer, B_START])
        if decay > 0:
            add_penalty(grads[weights], params[weights], decay)
        if kept < 1:
            shrink(params[weights], kept)
    solver_step(run.solver, params, grads, run.state[:size], run.state[size:], rates_now(run))


def groups(batch_size: int) -> int:
    """The groups of a whole batch."""
    return -(-batch_size // GROUP)


def memory(layout: Layout, batch_size: int, n_threads: int) -> Memory:
    """What `IN_LANES` works in: gradients for each group, columns for each thread."""
    dtype = layout.dtype
    table, size = layout.columns(block_samples(layout.table, dtype.itemsize), training=True)
    size = width(max(size, SQUARES_STRIPES), dtype)
    grads = aligned_zeros(groups(batch_size) * layout.n_params, dtype)
    buffer, scratch = (aligned_zeros(n_threads * size, dtype) for _ in range(2))
    return Memory(table, buffer, grads, scratch, size)


IN_LANES = Method(
    bodies=Bodies(begin, train_narrow_chunk, between),
    phases=1,
    memory=memory,
    chunks=lambda batch_size, n_threads: groups(batch_size),
)


def method(sizes: Sequence[int], dtype: Any) -> Method:
    """The way to train a network of these layer sizes: it fixes the order of sums, so it depends on nothing else.

    Every layer's weights must fit one panel. Measured in float32, samples in the lanes against panels: 2-3-2 takes 0.53
    times as long, 10-16-2 0.50 to 0.72, 16-16-16 0.73, 32-32-32 0.99, 64-10 1.22, 64-32-10 1.13 to 1.25, 784-10-10
    2.07.
    """
    return IN_LANES if max(sizes) <= PANEL_LINES * line_elements(dtype) else BY_PANELS
