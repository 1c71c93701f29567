"""A run of mini-batches: the article's loop, compiled.

    for each mini-batch:
        rows      gather -> F1 F2 ... F1 F3 F4 -> B1 -> B4 down to the first hidden layer     (with the old weights)
        features  B2 B3 U1, layer by layer

Each of the two phases is a parallel region. In the first a part owns rows of the batch, in the second features
(rows of W), so no two parts add into one number, and neither their count nor their order shows in a result. Nothing
is allocated per batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.epoch.team import Bodies, phased
from fastnn.kernels.equations.activation import activate, multiply_by_derivative
from fastnn.kernels.equations.layer import Matrix, multiply, sum_rows
from fastnn.kernels.equations.loss import (
    columns_size,
    divide,
    logits_of_targets,
    losses_of_columns,
    ordered_sum,
    output_delta_columns,
    side_by_side,
    softmax_columns,
    to_columns,
    to_rows,
)
from fastnn.kernels.equations.shuffle import shuffle
from fastnn.kernels.equations.solver import CODES, Rates, add_penalty, shrink, solver_step
from fastnn.kernels.forward.rows import Block, Net, forward_rows
from fastnn.kernels.layout import (
    A_START,
    ACTIVATION,
    B_START,
    DELTA_START,
    LINES,
    ROW_BLOCK,
    STRIDE,
    W_START,
    WT_START,
    Layout,
    N,
    aligned_zeros,
    line_elements,
    place,
    several,
)
from fastnn.kernels.simd.moves import PREFETCHED_LINES, prefetch, transpose_block
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Init, Left, LeftColumns, Out, Right, Rows
from fastnn.kernels.simd.products import tile, tile_step
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS, lanes_of
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import Kernel, instance, share

_SGD, _ADAM = CODES["sgd"], CODES["adam"]

# The L2 penalty adds squares in blocks of this many weights and stripes of that many within one. Both fix the order
# of the sum; 128 stripes keep eight vector registers' worth of additions in flight.
SQUARES_BLOCK = 4096
SQUARES_STRIPES = 128

# Entries of `Run.numbers`; the powers are beta_1**t and beta_2**t, and
# STEP_NOW is the step of the batch at hand, which for Adam is corrected for the moments' bias, and TOTAL_WEIGHT the
# sum of its samples' weights: n without weights.
STEP, MOMENTUM, BETA_1, BETA_2, EPSILON, ALPHA, POWER_1, POWER_2, STEP_NOW, TOTAL_WEIGHT, WEIGHT_DECAY = range(11)


class Run(NamedTuple):
    """Everything that a run of mini-batches reads and writes.

    One flat tuple, since only arrays and numbers can enter a parallel region.
    """

    # The samples: plain rows of X, or a `Csr`, class indices y, weights (none: all weigh 1), and the order of the epoch
    # at hand (written by the run). The run's first epoch is number `first_epoch` of the training: it keys its shuffle.
    X: Any
    y: NDArray[np.int64]
    sample_weight: Array
    order: NDArray[np.int64]
    batch_size: int
    shuffled: bool
    seed: np.uint64
    first_epoch: int
    # What few networks need (see `extras`), or an empty tuple.
    extras: Any
    # The network (see `Net`).
    params: Array
    table: NDArray[np.int64]
    # The solver: its code, its state (see `solver_step`), and its numbers: rates, and for Adam the powers of the betas.
    solver: int
    state: Array
    numbers: NDArray[np.float64]
    # Memory: `Layout.workspace`'s buffer, `scratch_size` numbers for each part, a loss and a class for each row of a
    # batch, a sum of squares for each block of weights, and a loss for each epoch (a ring: a call has no more epochs
    # than it has places).
    buffer: Array
    grads: Array
    scratch: Array
    scratch_size: int
    losses: Array
    targets: Array
    squares: NDArray[np.float64]
    epoch_losses: NDArray[np.float64]
    # What was good at the end of the last epoch: parameters (all finite), state and numbers, to fall back on.
    good_params: Array
    good_state: Array
    good_numbers: NDArray[np.float64]
    # See `team`.
    team: NDArray[np.int64]


# The phases of a batch, and the chunks of a phase for each thread.
PHASES = 2
CHUNKS = 2


class Memory(NamedTuple):
    """The parts of a `Run` that are memory to work in."""

    table: NDArray[np.int64]
    buffer: Array
    grads: Array
    scratch: Array
    scratch_size: int

    def times(self, n: int) -> Memory:
        """As much for each of `n` threads that work by themselves, whose parts begin on a line."""
        buffer, grads, scratch = (several(part, n) for part in (self.buffer, self.grads, self.scratch))
        return Memory(self.table, buffer, grads, scratch, self.scratch_size)


@dataclass(frozen=True, eq=False)
class Method:
    """A way to train: its bodies, the phases of a batch, and how much memory and how many chunks it takes.

    `memory` is a function of layout, batch size and threads, `chunks` of batch size and threads.
    """

    bodies: Bodies
    phases: int
    memory: Callable[[Layout, int, int], Memory]
    chunks: Callable[[int, int], int]
    kernel: Kernel = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", phased(self.bodies))


class Batch(NamedTuple):
    """One mini-batch: its first sample in the epoch's order, and its length."""

    first: int
    n: int


@jit
def epoch_of(run: Run, number: int) -> tuple[int, int]:
    """The epoch, counted from this run's first, that batch `number` belongs to, and its number within."""
    per_epoch = (run.y.size + run.batch_size - 1) // run.batch_size
    epoch = number // per_epoch
    return epoch, number - epoch * per_epoch


@jit
def batch_of(run: Run, number: int) -> Batch:
    """Batch `number`, counted from this run's first."""
    _, within = epoch_of(run, number)
    first = within * run.batch_size
    return Batch(first, min(run.batch_size, run.y.size - first))


@jit
def input_rows(run: Run, batch: Batch, row: int) -> Left:
    """The batch's inputs from `row` on: gathered rows where the epoch is shuffled, otherwise X itself."""
    table = run.table
    if run.shuffled:
        stride = table[0, STRIDE]
        return Left(run.buffer, table[0, A_START] + row * stride, stride, 1)
    n_in = table[0, N]
    return Left(run.X, (batch.first + row) * n_in, n_in, 1)


@jit
def sample_of(run: Run, batch: Batch, row: int) -> int:
    """Which sample is row `row` of the batch."""
    return run.order[batch.first + row] if run.shuffled else batch.first + row


@jit
def take_targets(run: Run, batch: Batch, first: int, targets: Array) -> None:
    """The class indices of the batch's rows from `first` on."""
    start = batch.first + first
    if run.shuffled:
        order = run.order[start : start + targets.size]
        for i in range(targets.size):
            targets[i] = run.y[order[i]]
    else:
        y = run.y[start : start + targets.size]
        for i in range(targets.size):
            targets[i] = y[i]


@jit
def gather(run: Run, batch: Batch, first: int, rows: int) -> None:
    """Copy the inputs of the batch's rows from `first` on next to each other."""
    n_in = run.table[0, N]
    for i in range(first, first + rows):
        target = input_rows(run, batch, i).start
        source = sample_of(run, batch, i) * n_in
        copy(run.X[source : source + n_in], run.buffer[target : target + n_in])


@jit
def output_rows(run: Run, batch: Batch, first: int, rows: int, columns: Array) -> None:
    """F3, F4 and B1 for the batch's rows from `first` on; the delta takes the place of the logits."""
    table, buffer = run.table, run.buffer
    output = table.shape[0] - 1
    n_classes, stride = table[output, N], table[output, STRIDE]
    wide = side_by_side(rows, buffer.itemsize)
    start = table[output, A_START] + first * stride
    logits = buffer[start : start + rows * stride]
    losses, targets = run.losses[first : first + rows], run.targets[first : first + rows]
    take_targets(run, batch, first, targets)
    to_columns(logits, stride, rows, n_classes, columns)
    logits_of_targets(columns, wide, n_classes, targets, losses)
    softmax_columns(columns, wide, n_classes)
    losses_of_columns(columns, wide, n_classes, losses)
    total_weight = buffer.dtype.type(run.numbers[TOTAL_WEIGHT])
    output_delta_columns(columns, wide, n_classes, targets)
    if run.sample_weight.size:
        for i in range(rows):
            weight = run.sample_weight[sample_of(run, batch, first + i)]
            losses[i] *= weight
            for j in range(n_classes):
                columns[j * wide + i] *= weight
    divide(columns[: wide * n_classes], total_weight)
    to_rows(columns, rows, n_classes, logits, stride)


@jit
def train_layer(net: Net, layer: int, buffer: Array, block: Block) -> None:
    """F2 where the network learns."""
    start, stride = net.table[layer, A_START], net.table[layer, STRIDE]
    here = slice(start + block.first * stride, start + (block.first + block.rows) * stride)
    activate(net.table[layer, ACTIVATION], buffer[here])


@jit
def slope_of_output(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, of a plain activation."""
    start = run.table[layer, A_START] + first * run.table[layer, STRIDE]
    delta = run.buffer[here]
    multiply_by_derivative(run.table[layer, ACTIVATION], delta, run.buffer[start : start + delta.size])


def _slope(run: Run, layer: int, here: slice, first: int) -> None:
    """Stands for the second factor of B4 in the template below."""


def _backward_rows(run: Run, block: Any) -> None:
    table, buffer, first, rows = run.table, run.buffer, block.first, block.rows
    for layer in range(table.shape[0] - 1, 1, -1):
        above, stride = table[layer, STRIDE], table[layer - 1, STRIDE]
        start = table[layer - 1, DELTA_START] + first * stride
        multiply(
            Out(buffer, start, stride, rows, table[layer - 1, LINES]),
            Left(buffer, table[layer, DELTA_START] + first * above, above, 1),
            Matrix(buffer, table[layer, WT_START], 0),
            Init(buffer, 0),
            table[layer, N],
        )
        _slope(run, layer - 1, slice(start, start + rows * stride), first)


def backward_rows(slope: Callable[[Run, int, slice, int], None]) -> Callable[[Run, Any], None]:
    """B4 from the output down to the first hidden layer: ``backward(run, block)``, for a block of the buffer's rows.

    ``slope(run, layer, here, first)`` multiplies the deltas that lie `here`, of the rows from `first` on, by the
    derivative of the layer's activation.
    """
    return jit(instance(_backward_rows, _slope=slope))


_forward, _backward = forward_rows(train_layer), backward_rows(slope_of_output)


@jit
def rows_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    """Everything up to the deltas, for this part's rows of batch `number`, a block at a time while it is in cache."""
    batch = batch_of(run, number)
    columns = run.scratch[worker * run.scratch_size : (worker + 1) * run.scratch_size]
    first, last = share(batch.n, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        if run.shuffled:
            gather(run, batch, i, rows)
        block = Block(i, rows)
        _forward(Net(run.params, run.table), input_rows(run, batch, i), run.buffer, block)
        output_rows(run, batch, i, rows, columns)
        _backward(run, block)
    if run.numbers[ALPHA] > 0:
        squares_of_weights(run, part, parts, worker)


@jit
def squares_of_weights(run: Run, part: int, parts: int, worker: int) -> None:
    """This part's share of ``sum W**2``, one number for each block of a layer's packed weights."""
    table = run.table
    stripes = run.scratch[worker * run.scratch_size : worker * run.scratch_size + SQUARES_STRIPES]
    offset = 0
    for layer in range(1, table.shape[0]):
        weights = run.params[table[layer, W_START] : table[layer, B_START]]
        n_blocks = (weights.size + SQUARES_BLOCK - 1) // SQUARES_BLOCK
        first, last = share(n_blocks, 1, part, parts)
        for block in range(first, last):
            stripes[:] = 0
            for start in range(block * SQUARES_BLOCK, min((block + 1) * SQUARES_BLOCK, weights.size), SQUARES_STRIPES):
                w = weights[start : start + SQUARES_STRIPES]
                for j in range(w.size):
                    stripes[j] = fma(w[j], w[j], stripes[j])
            run.squares[offset + block] = ordered_sum(stripes)
        offset += n_blocks


_UNITS = math.lcm(ROWS, lanes_of(4)), math.lcm(ROWS, lanes_of(8))


@register_jitable  # type: ignore[untyped-decorator]
def feature_unit(itemsize: int) -> int:
    """Parts own whole multiples of so many features: whole tiles, and whole vectors for `transpose`."""
    return _UNITS[0] if itemsize == 4 else _UNITS[1]


@jit
def transpose(run: Run, layer: int, k: int, rows: int) -> None:
    """Copy features k to k + rows of a layer's weights to the transposed panels that B4 reads.

    `k` is a whole number of vectors, or the transposed panels' columns from `k` on would lie across two.
    """
    params, buffer, table = run.params, run.buffer, run.table
    line, lanes = LINE_BYTES // params.itemsize, lanes_of(params.itemsize)
    n_in, n_out = table[layer - 1, N], table[layer, N]
    for i in range(k, k + rows, lanes):
        target = table[layer, WT_START] + place(0, i, n_out, n_in, line)
        step = place(1, i, n_out, n_in, line) - place(0, i, n_out, n_in, line)
        for j in range(0, n_out, lanes):
            source = table[layer, W_START] + place(i, j, n_in, n_out, line)
            wide = place(1, j, n_in, n_out, line) - place(0, j, n_in, n_out, line)
            transpose_block(
                Rows(buffer, target + j * step, step, n_out - j), Rows(params, source, wide, min(lanes, n_in - i))
            )


@jit
def rates_now(run: Run) -> Rates:
    """The numbers of the batch's step, in the parameters' dtype."""
    numbers = run.numbers
    dtype = run.params.dtype.type
    return Rates(
        dtype(numbers[STEP_NOW]),
        dtype(numbers[MOMENTUM]),
        dtype(numbers[BETA_1]),
        dtype(numbers[BETA_2]),
        dtype(numbers[EPSILON]),
    )


@jit
def kept_by_decay(run: Run) -> float:
    """What AdamW's step leaves of a weight before it adds to it; 1 without decay."""
    return run.params.dtype.type(1 - run.numbers[STEP] * run.numbers[WEIGHT_DECAY])  # type: ignore[no-any-return]


class Ahead(NamedTuple):
    """Inputs that the next batch will read: `rows` of its rows from `first` on, each in so many pieces."""

    first: int
    rows: int
    pieces: int


@jit
def ahead(run: Run, number: int, part: int, parts: int) -> Ahead:
    """This part's share of the inputs of the batch after batch `number`; none where it begins an epoch."""
    batch, n_in = batch_of(run, number), run.table[0, N]
    following = batch.first + batch.n
    first, last = share(min(run.batch_size, run.y.size - following), 1, part, parts)
    piece = PREFETCHED_LINES * LINE_BYTES // run.X.itemsize
    return Ahead(following + first, last - first, (n_in + piece - 1) // piece)


@jit
def prefetch_pieces(run: Run, wanted: Ahead, row: int, piece: int, n: int) -> tuple[int, int]:
    """Prefetch the `n` pieces from piece `piece` of row `row` on; where to go on."""
    for _ in range(n):
        if row < wanted.rows:
            sample = run.order[wanted.first + row] if run.shuffled else wanted.first + row
            prefetch(run.X, sample * run.table[0, N] + piece * (PREFETCHED_LINES * LINE_BYTES // run.X.itemsize))
            piece += 1
            if piece == wanted.pieces:
                row, piece = row + 1, 0
    return row, piece


@jit
def features_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    """B2, B3 and U1 for this part's features of every layer: each tile of gradients is used while it is in L1."""
    batch = batch_of(run, number)
    params, table, buffer = run.params, run.table, run.buffer
    scratch = run.scratch[worker * run.scratch_size : (worker + 1) * run.scratch_size]
    slot_1, slot_2 = run.state[: params.size], run.state[params.size :]
    line = LINE_BYTES // params.itemsize
    alpha = run.numbers[ALPHA]
    decay = params.dtype.type(alpha / run.numbers[TOTAL_WEIGHT])
    rates, kept = rates_now(run), kept_by_decay(run)
    in_registers = run.solver == _SGD and decay == 0
    wanted = ahead(run, number, part, parts)
    row = piece = 0
    for layer in range(1, table.shape[0]):
        n_in, stride = table[layer - 1, N], table[layer, STRIDE]
        inputs = input_rows(run, batch, 0)
        if layer > 1:
            inputs = Left(buffer, table[layer - 1, A_START], table[layer - 1, STRIDE], 1)
        first, last = share(n_in, feature_unit(params.itemsize), part, parts)
        n_tiles = max(1, (table[layer, LINES] + 1) // PANEL_LINES * ((last - first + ROWS - 1) // ROWS))
        pieces_a_tile = (wanted.rows * wanted.pieces + n_tiles - 1) // n_tiles if layer == 1 else 0
        for panel in range(0, table[layer, LINES], PANEL_LINES):
            n_lines = min(PANEL_LINES, table[layer, LINES] - panel)
            wide = n_lines * line
            delta = Right(buffer, table[layer, DELTA_START] + panel * line, stride)
            weights = table[layer, W_START] + panel * line * n_in
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
            n = table[layer, LINES] * line
            sum_rows(buffer[table[layer, DELTA_START] :], stride, batch.n, scratch[:n])
            here = slice(table[layer, B_START], table[layer, B_START] + n)
            solver_step(run.solver, params[here], scratch, slot_1[here], slot_2[here], rates)


@jit
def start_batch(run: Run, number: int) -> None:
    """What comes before a batch: an epoch's first shuffles, weights are added up, Adam's powers move on by one."""
    epoch, within = epoch_of(run, number)
    if within == 0:
        run.epoch_losses[epoch % run.epoch_losses.size] = 0.0
        if run.shuffled:
            shuffle(run.order, run.seed, run.first_epoch + epoch)
    numbers = run.numbers
    batch = batch_of(run, number)
    numbers[TOTAL_WEIGHT] = batch.n
    if run.sample_weight.size:
        for i in range(batch.n):
            run.losses[i] = run.sample_weight[sample_of(run, batch, i)]
        numbers[TOTAL_WEIGHT] = ordered_sum(run.losses[: batch.n])
    numbers[STEP_NOW] = numbers[STEP]
    # A batch that weighs nothing is no step, and its bias isn't corrected either.
    if run.solver == _ADAM and numbers[TOTAL_WEIGHT] != 0:
        numbers[POWER_1] *= numbers[BETA_1]
        numbers[POWER_2] *= numbers[BETA_2]
        numbers[STEP_NOW] *= np.sqrt(1.0 - numbers[POWER_2]) / (1.0 - numbers[POWER_1])


@jit
def account_batch(run: Run, number: int) -> bool:
    """Add the batch's loss to its epoch's; False if it isn't finite, and no step may follow.

    A batch's mean loss is (sum of weighted losses + alpha / 2 * sum W**2) / total weight; an epoch's is the mean
    over its samples.
    """
    epoch, _ = epoch_of(run, number)
    batch = batch_of(run, number)
    loss = ordered_sum(run.losses[: batch.n])
    alpha = run.numbers[ALPHA]
    if alpha > 0:
        loss += 0.5 * alpha * ordered_sum(run.squares)
    run.epoch_losses[epoch % run.epoch_losses.size] += loss / run.numbers[TOTAL_WEIGHT] * batch.n / run.y.size
    return bool(np.isfinite(loss))


@jit
def finish_batch(run: Run, number: int) -> bool:
    """What comes after a batch: an epoch's last keeps what is good. False if a parameter isn't finite then."""
    batch = batch_of(run, number)
    if batch.first + batch.n < run.y.size:
        return True
    strangers = 0
    for i in range(run.params.size):
        strangers += 0 if abs(run.params[i]) < np.inf else 1
    if strangers:
        return False
    copy(run.params, run.good_params)
    copy(run.state, run.good_state)
    copy(run.numbers, run.good_numbers)
    return True


@jit
def begin(run: Run, phase: int) -> None:
    """Bring the transposed weights up to date (they are derived, and nothing relies on an earlier run's)."""
    for layer in range(2, run.table.shape[0]):
        transpose(run, layer, 0, run.table[layer - 1, N])
    start_batch(run, phase // PHASES)


@jit
def train_batches_chunk(run: Run, phase: int, part: int, parts: int, worker: int) -> None:
    """A part of a batch's first phase, the rows, or of its second, the features."""
    number = phase // PHASES
    if run.numbers[TOTAL_WEIGHT] == 0:
        return
    if phase % PHASES == 0:
        rows_phase(run, number, part, parts, worker)
    else:
        features_phase(run, number, part, parts, worker)


@jit
def between(run: Run, phase: int, last: int) -> bool:
    """What follows a phase, on one thread; False if the batch diverged."""
    number = phase // PHASES
    if phase % PHASES == 0:
        return bool(run.numbers[TOTAL_WEIGHT] == 0 or account_batch(run, number))
    if not finish_batch(run, number):
        return False
    if phase + 1 < last:
        start_batch(run, number + 1)
    return True


def memory(layout: Layout, batch_size: int, n_threads: int) -> Memory:
    """What `by_panels` works in."""
    dtype = layout.dtype
    table, size = layout.workspace(batch_size, training=True)
    tile_size = ROWS * PANEL_LINES * line_elements(dtype)
    scratch_size = max(tile_size, SQUARES_STRIPES, int(table[:, STRIDE].max()), columns_size(layout.sizes[-1]))
    scratch = aligned_zeros(n_threads * scratch_size, dtype)
    return Memory(table, aligned_zeros(size, dtype), np.zeros(0, dtype), scratch, scratch_size)


BY_PANELS = Method(
    bodies=Bodies(begin, train_batches_chunk, between),
    phases=PHASES,
    memory=memory,
    chunks=lambda batch_size, n_threads: CHUNKS * n_threads,
)
