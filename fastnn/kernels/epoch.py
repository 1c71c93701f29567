"""A run of mini-batches: the article's loop, compiled.

    for each mini-batch:
        rows      gather -> F1 F2 ... F1 F3 F4 -> B1 -> B4 down to the first hidden layer     (with the old weights)
        features  B2 B3 U1, layer by layer

Each of the two phases is a parallel region. In the first a part owns rows of the batch, in the second features
(rows of W), so no two parts add into one number, and neither their count nor their order shows in a result. Nothing
is allocated per batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from fastnn.kernels.activation import multiply_by_derivative
from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.forward import Net, forward_rows
from fastnn.kernels.layer import ROW_BLOCK, Panels, multiply, sum_rows
from fastnn.kernels.layout import A_START, B_START, DELTA_START, LINES, STRIDE, W_START, WT_START, N, place
from fastnn.kernels.loss import divide, ordered_sum, output_delta_row, row_loss, scale, softmax_row
from fastnn.kernels.shuffle import shuffle
from fastnn.kernels.solver import CODES, Rates, add_penalty, solver_step
from fastnn.kernels.tile import LINE_BYTES, PANEL_LINES, ROWS, Init, Left, Out, Right, fma, tile
from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.launch import Twins, get_mask, jit, jit_parallel, set_mask, share

_ADAM = CODES["adam"]

# The L2 penalty adds squares in blocks of this many weights and stripes of that many within one. Both fix the order
# of the sum; 128 stripes keep eight vector registers' worth of additions in flight.
SQUARES_BLOCK = 4096
SQUARES_STRIPES = 128

# Entries of `Run.numbers`; the powers are beta_1**t and beta_2**t, and
# STEP_NOW is the step of the batch at hand, which for Adam is corrected for the moments' bias, and TOTAL_WEIGHT the
# sum of its samples' weights: n without weights.
STEP, MOMENTUM, BETA_1, BETA_2, EPSILON, ALPHA, POWER_1, POWER_2, STEP_NOW, TOTAL_WEIGHT = range(10)


class Run(NamedTuple):
    """Everything that a run of mini-batches reads and writes.

    One flat tuple, since only arrays and numbers can enter a parallel region.
    """

    # The samples: plain rows of X, class indices y, weights (none: all weigh 1), and the order of the epoch at hand
    # (written by the run). The run's first epoch is number `first_epoch` of the training, which keys its shuffle.
    X: Array
    y: NDArray[np.int64]
    sample_weight: Array
    order: NDArray[np.int64]
    batch_size: int
    shuffled: bool
    seed: np.uint64
    first_epoch: int
    # The network (see `Net`).
    params: Array
    table: NDArray[np.int64]
    activation: int
    # The solver: its code, its state (see `solver_step`), and its numbers: rates, and for Adam the powers of the betas.
    solver: int
    state: Array
    numbers: NDArray[np.float64]
    # Memory: `Layout.workspace`'s buffer, `scratch_size` numbers for each part, a loss for each row of a batch, a
    # sum of squares for each block of weights, and a loss for
    # each epoch (a ring: a call has no more epochs than it has places).
    buffer: Array
    scratch: Array
    scratch_size: int
    losses: Array
    squares: NDArray[np.float64]
    epoch_losses: NDArray[np.float64]
    # What was good at the end of the last epoch: parameters (all finite), state and numbers, to fall back on.
    good_params: Array
    good_state: Array
    good_numbers: NDArray[np.float64]


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
def gather(run: Run, batch: Batch, first: int, rows: int) -> None:
    """Copy the inputs of the batch's rows from `first` on next to each other."""
    n_in = run.table[0, N]
    for i in range(first, first + rows):
        target = input_rows(run, batch, i).start
        source = sample_of(run, batch, i) * n_in
        copy(run.X[source : source + n_in], run.buffer[target : target + n_in])


@jit
def output_rows(run: Run, batch: Batch, first: int, rows: int) -> None:
    """F3, F4 and B1 for the batch's rows from `first` on; the delta takes the place of the logits."""
    table, buffer = run.table, run.buffer
    output = table.shape[0] - 1
    stride = table[output, STRIDE]
    total_weight = buffer.dtype.type(run.numbers[TOTAL_WEIGHT])
    for i in range(first, first + rows):
        start = table[output, A_START] + i * stride
        sample = sample_of(run, batch, i)
        true = run.y[sample]
        row = buffer[start : start + stride]
        z_true = row[true]
        largest, total = softmax_row(row, table[output, N])
        loss = row_loss(z_true, largest, total)
        output_delta_row(row, true)
        if run.sample_weight.size:
            loss *= run.sample_weight[sample]
            scale(row, run.sample_weight[sample])
        divide(row, total_weight)
        run.losses[i] = loss


@jit
def backward_rows(run: Run, first: int, rows: int) -> None:
    """B4 from the output down to the first hidden layer, for the buffer's rows from `first` on."""
    table, buffer = run.table, run.buffer
    for layer in range(table.shape[0] - 1, 1, -1):
        above, stride = table[layer, STRIDE], table[layer - 1, STRIDE]
        start = table[layer - 1, DELTA_START] + first * stride
        multiply(
            Out(buffer, start, stride, rows, table[layer - 1, LINES]),
            Left(buffer, table[layer, DELTA_START] + first * above, above, 1),
            Panels(buffer, table[layer, WT_START]),
            Init(buffer, 0),
            table[layer, N],
        )
        a = table[layer - 1, A_START] + first * stride
        n = rows * stride
        multiply_by_derivative(run.activation, buffer[start : start + n], buffer[a : a + n])


@jit
def rows_phase(run: Run, number: int, part: int, parts: int) -> None:
    """Everything up to the deltas, for this part's rows of batch `number`, a block at a time while it is in cache."""
    batch = batch_of(run, number)
    first, last = share(batch.n, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        if run.shuffled:
            gather(run, batch, i, rows)
        forward_rows(Net(run.params, run.table, run.activation), input_rows(run, batch, i), run.buffer, i, rows)
        output_rows(run, batch, i, rows)
        backward_rows(run, i, rows)
    if run.numbers[ALPHA] > 0:
        squares_of_weights(run, part, parts)


@jit
def squares_of_weights(run: Run, part: int, parts: int) -> None:
    """This part's share of ``sum W**2``, one number for each block of a layer's packed weights."""
    table = run.table
    stripes = run.scratch[part * run.scratch_size : part * run.scratch_size + SQUARES_STRIPES]
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


@jit
def transpose(run: Run, layer: int, k: int, rows: int) -> None:
    """Copy features k to k + rows of a layer's weights to the transposed panels that B4 reads."""
    params, buffer, table = run.params, run.buffer, run.table
    line = LINE_BYTES // params.itemsize
    n_in, n_out = table[layer - 1, N], table[layer, N]
    for i in range(k, k + rows):
        target = table[layer, WT_START] + place(0, i, n_out, n_in, line)
        step = place(1, i, n_out, n_in, line) - place(0, i, n_out, n_in, line)
        for first in range(0, n_out, PANEL_LINES * line):
            source = table[layer, W_START] + place(i, first, n_in, n_out, line)
            row = params[source : source + min(PANEL_LINES * line, n_out - first)]
            column = buffer[target + first * step :]
            for j in range(row.size):
                column[j * step] = row[j]


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
def features_phase(run: Run, number: int, part: int, parts: int) -> None:
    """B2, B3 and U1 for this part's features of every layer: each tile of gradients is used while it is in L1."""
    batch = batch_of(run, number)
    params, table, buffer = run.params, run.table, run.buffer
    scratch = run.scratch[part * run.scratch_size : (part + 1) * run.scratch_size]
    slot_1, slot_2 = run.state[: params.size], run.state[params.size :]
    line = LINE_BYTES // params.itemsize
    alpha = run.numbers[ALPHA]
    decay = params.dtype.type(alpha / run.numbers[TOTAL_WEIGHT])
    rates = rates_now(run)
    for layer in range(1, table.shape[0]):
        n_in, stride = table[layer - 1, N], table[layer, STRIDE]
        inputs = input_rows(run, batch, 0)
        if layer > 1:
            inputs = Left(buffer, table[layer - 1, A_START], table[layer - 1, STRIDE], 1)
        first, last = share(n_in, ROWS, part, parts)
        for panel in range(0, table[layer, LINES], PANEL_LINES):
            n_lines = min(PANEL_LINES, table[layer, LINES] - panel)
            wide = n_lines * line
            delta = Right(buffer, table[layer, DELTA_START] + panel * line, stride)
            weights = table[layer, W_START] + panel * line * n_in
            for k in range(first, last, ROWS):
                rows = min(ROWS, last - k)
                out = Out(scratch, 0, wide, rows, n_lines)
                tile(out, Left(inputs.data, inputs.start + k, 1, inputs.row), delta, Init(buffer, 0), batch.n)
                here = slice(weights + k * wide, weights + (k + rows) * wide)
                if decay > 0:  # on weights only, not on biases
                    add_penalty(scratch, params[here], decay)
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
    """What comes before a batch: an epoch's first shuffles, and Adam's powers move on by one."""
    epoch, within = epoch_of(run, number)
    if within == 0:
        run.epoch_losses[epoch % run.epoch_losses.size] = 0.0
        if run.shuffled:
            shuffle(run.order, run.seed, run.first_epoch + epoch)
    numbers = run.numbers
    numbers[STEP_NOW] = numbers[STEP]
    if run.solver == _ADAM:
        numbers[POWER_1] *= numbers[BETA_1]
        numbers[POWER_2] *= numbers[BETA_2]
        numbers[STEP_NOW] *= np.sqrt(1.0 - numbers[POWER_2]) / (1.0 - numbers[POWER_1])
    batch = batch_of(run, number)
    numbers[TOTAL_WEIGHT] = batch.n
    if run.sample_weight.size:
        for i in range(batch.n):
            run.losses[i] = run.sample_weight[sample_of(run, batch, i)]
        numbers[TOTAL_WEIGHT] = ordered_sum(run.losses[: batch.n])


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
def prepare(run: Run) -> None:
    """Bring the transposed weights up to date: they are derived, and nothing relies on an earlier run's."""
    for layer in range(2, run.table.shape[0]):
        transpose(run, layer, 0, run.table[layer - 1, N])


@keep_on_disk
@jit
def run_serial(run: Run, first: int, last: int) -> int:
    """Batches `first` to `last` - 1 on this thread; returns `last`, or the number of the batch that diverged."""
    prepare(run)
    for number in range(first, last):
        start_batch(run, number)
        if run.numbers[TOTAL_WEIGHT] != 0:
            rows_phase(run, number, 0, 1)
            if not account_batch(run, number):
                return number
            features_phase(run, number, 0, 1)
        if not finish_batch(run, number):
            return number
    return last


@keep_on_disk
@jit_parallel
def run_parallel(run: Run, first: int, last: int, n_threads: int) -> int:
    """`run_serial` with each phase a parallel region: the same bits.

    Only `run` and integers enter a region: Numba rebuilds a named tuple there only if it is an argument.
    """
    caller = get_mask()
    set_mask(n_threads)
    prepare(run)
    done = last
    for number in range(first, last):
        start_batch(run, number)
        if run.numbers[TOTAL_WEIGHT] != 0:
            for part in prange(n_threads):
                rows_phase(run, number, np.int64(part), n_threads)  # type: ignore[arg-type]
            if not account_batch(run, number):
                done = number
                break
            for part in prange(n_threads):
                features_phase(run, number, np.int64(part), n_threads)  # type: ignore[arg-type]
        if not finish_batch(run, number):
            done = number
            break
    set_mask(caller)
    return done


train_batches = Twins("train_batches", run_serial, run_parallel)
