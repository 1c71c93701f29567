"""What few networks need, in a kernel of its own that is compiled when one does: everybody else pays nothing for it.

    outputs      softmax with smoothed labels; logistic (several labels a sample); identity (regression)
    dropout      a hidden unit's output is 0 with probability p, and divided by 1 - p otherwise
    clip_norm    a batch's gradient is made no longer than this before its step
    activations  whose derivative isn't a function of their output
    inputs       of which few aren't 0 (see `sparse`)

Batches go through the phases of `epoch`, with two more where gradients are clipped: nothing may step before the length
of the whole gradient is known. Samples lie in rows, also in narrow networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.epoch.panels import (
    ALPHA,
    CHUNKS,
    SQUARES_BLOCK,
    SQUARES_STRIPES,
    TOTAL_WEIGHT,
    Batch,
    Memory,
    Method,
    Run,
    account_batch,
    backward_rows,
    batch_of,
    epoch_of,
    feature_unit,
    finish_batch,
    gather,
    input_rows,
    kept_by_decay,
    rates_now,
    sample_of,
    squares_of_weights,
    start_batch,
    take_targets,
    transpose,
)
from fastnn.kernels.epoch.team import Bodies
from fastnn.kernels.equations.activation import LOGISTIC, activate_keeping
from fastnn.kernels.equations.elementary import exp_of, log_of
from fastnn.kernels.equations.layer import sum_rows
from fastnn.kernels.equations.loss import (
    columns_size,
    divide,
    logits_of_targets,
    losses_of_columns,
    ordered_sum,
    side_by_side,
    softmax_columns,
    to_columns,
    to_rows,
)
from fastnn.kernels.equations.shuffle import mix, random_bits
from fastnn.kernels.equations.solver import CODES, add_penalty, shrink, solver_step
from fastnn.kernels.forward.rows import OUTPUTS, SOFTMAX, Net, forward_rows, product
from fastnn.kernels.forward.sparse import Panels, SparseRows, sparse_product, sparse_weight_gradient, transpose_sparse
from fastnn.kernels.layout import (
    A_START,
    ACTIVATION,
    B_START,
    DELTA_START,
    END,
    LINES,
    ROW_BLOCK,
    SLOPE_START,
    STRIDE,
    W_START,
    Layout,
    N,
    aligned_zeros,
    line_elements,
)
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Init, Left, LeftColumns, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import instance, share


class Extras(NamedTuple):
    """What a `Run` needs beside the usual.

    `targets` are plain rows of numbers, as many as the network has outputs; none where the output is softmax, whose
    targets are `Run.y`. `clip_norm` is infinite where nothing is clipped. `squares` has a number for each block of
    parameters. `transposed` is memory for a batch of sparse samples (see `sparse`), or an empty tuple.
    """

    output: int
    targets: Array
    dropout: float
    label_smoothing: float
    clip_norm: float
    squares: NDArray[np.float64]
    transposed: Any


_SGD = CODES["sgd"]

PHASES = 4
ROWS_PHASE, FEATURES_PHASE, SQUARES_PHASE, STEP_PHASE = range(PHASES)


class Dropping(NamedTuple):
    """A block of the buffer's rows (see `Block`), with what its dropout is a function of."""

    first: int
    rows: int
    key: np.uint64
    position: int
    dropout: float


@jit
def dropping(run: Run, number: int, first: int, rows: int) -> Dropping:
    """The block of batch `number` whose rows are so many from `first` on."""
    epoch, _ = epoch_of(run, number)
    key = mix(mix(np.uint64(run.seed)) + np.uint64(run.first_epoch + epoch))
    return Dropping(first, rows, key, batch_of(run, number).first + first, run.extras.dropout)


@jit
def keep_slopes(net: Net, layer: int, buffer: Array, block: Dropping) -> None:
    """F2 and dropout of a hidden layer, with their common derivative."""
    table = net.table
    stride, n = table[layer, STRIDE], table[layer, N]
    start, slope = table[layer, A_START] + block.first * stride, table[layer, SLOPE_START] + block.first * stride
    size = block.rows * stride
    activate_keeping(table[layer, ACTIVATION], buffer[start : start + size], buffer[slope : slope + size])
    if block.dropout > 0:
        # Another stream for each layer, none of them the shuffle's.
        key = mix(block.key + np.uint64(layer))
        for i in range(block.rows):
            here, there = start + i * stride, slope + i * stride
            drop(buffer[here : here + n], buffer[there : there + n], key, (block.position + i) * n, block.dropout)


@jit
def drop(a: Array, slope: Array, key: np.uint64, index: int, dropout: float) -> None:
    """Dropout of one sample's units, whose random numbers are those of stream `key` from `index` on."""
    zero, scale = a.dtype.type(0), a.dtype.type(1 / (1 - dropout))
    least = np.uint64(dropout * 4294967296.0)
    base = np.uint64(index)
    for j in range(a.size):
        kept = scale if (random_bits(key, base + np.uint64(j)) >> np.uint64(32)) >= least else zero
        a[j] *= kept
        slope[j] *= kept


@jit
def stored_slope(run: Run, layer: int, here: slice, first: int) -> None:
    """The second factor of B4, as the forward pass wrote it down."""
    start = run.table[layer, SLOPE_START] + first * run.table[layer, STRIDE]
    delta = run.buffer[here]
    slope = run.buffer[start : start + delta.size]
    for i in range(delta.size):
        delta[i] *= slope[i]


@jit
def bias_gradient_of_plain(run: Run, batch: Batch, layer: int, gradient: Array) -> None:
    """B3."""
    sum_rows(run.buffer[run.table[layer, DELTA_START] :], run.table[layer, STRIDE], batch.n, gradient)


@jit
def smoothed_softmax(run: Run, batch: Batch, first: int, rows: int, columns: Array) -> None:
    """F3, F4 and B1 where a target is ``1 - s`` of its class and ``s / n_classes`` of each."""
    table, buffer = run.table, run.buffer
    output = table.shape[0] - 1
    n_classes, stride = table[output, N], table[output, STRIDE]
    wide = side_by_side(rows, buffer.itemsize)
    start = table[output, A_START] + first * stride
    logits = buffer[start : start + rows * stride]
    losses, targets = run.losses[first : first + rows], run.targets[first : first + rows]
    dtype = buffer.dtype.type
    every = dtype(run.extras.label_smoothing / n_classes)
    own = dtype(1 - run.extras.label_smoothing)
    take_targets(run, batch, first, targets)
    to_columns(logits, stride, rows, n_classes, columns)
    logits_of_targets(columns, wide, n_classes, targets, losses)
    for i in range(rows):
        losses[i] *= own
    for j in range(n_classes):
        z = columns[j * wide : j * wide + rows]
        for i in range(rows):
            losses[i] = fma(every, z[i], losses[i])
    softmax_columns(columns, wide, n_classes)
    losses_of_columns(columns, wide, n_classes, losses)
    for j in range(n_classes):
        target = dtype(j)
        p = columns[j * wide : j * wide + rows]
        for i in range(rows):
            p[i] -= every + (own if targets[i] == target else dtype(0))
    to_rows(columns, rows, n_classes, logits, stride)


@jit
def separate_outputs(run: Run, batch: Batch, first: int, rows: int) -> None:
    """The outputs of several labels (logistic), or of a regression (identity): loss and delta of each by itself.

    logistic  loss = sum_j log(1 + exp(z_j)) - y_j z_j;  delta = 1 / (1 + exp(-z)) - y
    identity  loss = sum_j (z_j - y_j)**2 / 2;           delta = z - y
    """
    table, buffer = run.table, run.buffer
    output = table.shape[0] - 1
    n_outputs, stride = table[output, N], table[output, STRIDE]
    start = table[output, A_START] + first * stride
    dtype = buffer.dtype.type
    one, half = dtype(1), dtype(0.5)
    own, every = dtype(1 - run.extras.label_smoothing), dtype(run.extras.label_smoothing / 2)
    for i in range(rows):
        z = buffer[start + i * stride : start + i * stride + n_outputs]
        place = sample_of(run, batch, first + i) * n_outputs
        y = run.extras.targets[place : place + n_outputs]
        loss = dtype(0)
        if run.extras.output == LOGISTIC:
            for j in range(n_outputs):
                target = fma(own, y[j], every)
                e = exp_of(-abs(z[j]))
                loss += max(z[j], dtype(0)) - target * z[j] + log_of(one + e)
                z[j] = (one if z[j] >= 0 else e) / (one + e) - target
        else:
            for j in range(n_outputs):
                z[j] -= y[j]
                loss += half * z[j] * z[j]
        run.losses[first + i] = loss


@jit
def output_rows(run: Run, batch: Batch, first: int, rows: int, columns: Array) -> None:
    """The loss and the delta of the batch's rows from `first` on; the delta takes the place of the logits."""
    table, buffer = run.table, run.buffer
    output = table.shape[0] - 1
    stride = table[output, STRIDE]
    if run.extras.output == SOFTMAX:
        smoothed_softmax(run, batch, first, rows, columns)
    else:
        separate_outputs(run, batch, first, rows)
    start = table[output, A_START] + first * stride
    if run.sample_weight.size:
        for i in range(rows):
            weight = run.sample_weight[sample_of(run, batch, first + i)]
            run.losses[first + i] *= weight
            delta = buffer[start + i * stride : start + i * stride + table[output, N]]
            for j in range(delta.size):
                delta[j] *= weight
    for i in range(rows):
        here = start + i * stride
        divide(buffer[here : here + table[output, N]], buffer.dtype.type(run.numbers[TOTAL_WEIGHT]))


@jit
def gathered(run: Run, batch: Batch, first: int, rows: int) -> Left:
    """The inputs of the batch's rows from `first` on."""
    if run.shuffled:
        gather(run, batch, first, rows)
    return input_rows(run, batch, first)


@jit
def inputs_of_sparse(run: Run, batch: Batch, first: int, rows: int) -> SparseRows:
    """The inputs of the batch's rows from `first` on."""
    return SparseRows(run.X, run.order, batch.first + first)


def _inputs(run: Run, batch: Batch, first: int, rows: int) -> Any:
    """Stand, with the next, for what depends on the kind of inputs and layers, in the templates below."""


def _forward(net: Net, inputs: Any, buffer: Array, block: Any) -> None: ...


def _backward(run: Run, block: Any) -> None: ...


def _weights(run: Run, batch: Batch, layer: int, part: int, parts: int, worker: int) -> None: ...


def _bias_gradient(run: Run, batch: Batch, layer: int, gradient: Array) -> None: ...


def _rows_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    # Everything up to the deltas, as in `epoch`.
    batch = batch_of(run, number)
    columns = run.scratch[scratch_place(run, worker)]
    first, last = share(batch.n, ROWS, part, parts)
    for i in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - i)
        block = dropping(run, number, i, rows)
        _forward(Net(run.params, run.table), _inputs(run, batch, i, rows), run.buffer, block)
        output_rows(run, batch, i, rows, columns)
        _backward(run, block)
    if run.numbers[ALPHA] > 0:
        squares_of_weights(run, part, parts, worker)


@jit
def is_clipped(run: Run) -> bool:
    """Whether no step may be taken before the length of the whole gradient is known."""
    return run.extras.clip_norm < np.inf  # type: ignore[no-any-return]


@jit
def scratch_place(run: Run, worker: int) -> slice:
    """Where a thread's own memory is."""
    return slice(worker * run.scratch_size, (worker + 1) * run.scratch_size)


@jit
def decay_of(run: Run) -> float:
    """The factor of a weight in the penalty's gradient."""
    return run.params.dtype.type(run.numbers[ALPHA] / run.numbers[TOTAL_WEIGHT])  # type: ignore[no-any-return]


@jit
def weights_of_rows(run: Run, batch: Batch, inputs: Left, layer: int, part: int, parts: int, worker: int) -> None:
    """B2, with the penalty's gradient, for this part's features of a layer, from the rows that come into it.

    Into `Run.grads` where gradients are clipped; otherwise U1 follows at once, while a tile is in L1.
    """
    params, table, buffer = run.params, run.table, run.buffer
    line, clipped = LINE_BYTES // params.itemsize, is_clipped(run)
    scratch = run.scratch[scratch_place(run, worker)]
    n_in = table[layer - 1, N]
    first, last = share(n_in, feature_unit(params.itemsize), part, parts)
    for panel in range(0, table[layer, LINES], PANEL_LINES):
        n_lines = min(PANEL_LINES, table[layer, LINES] - panel)
        wide = n_lines * line
        delta = Right(buffer, table[layer, DELTA_START] + panel * line, table[layer, STRIDE])
        weights = table[layer, W_START] + panel * line * n_in
        for k in range(first, last, ROWS):
            rows = min(ROWS, last - k)
            here = slice(weights + k * wide, weights + (k + rows) * wide)
            gradient = run.grads[here] if clipped else scratch[: rows * wide]
            features = LeftColumns(inputs.data, inputs.start + k, inputs.row)
            tile(Out(gradient, 0, wide, rows, n_lines), features, delta, Init(buffer, 0), batch.n)
            use_gradient(run, here, gradient, clipped)


@jit
def use_gradient(run: Run, here: slice, gradient: Array, clipped: bool) -> None:
    """Add the penalty's gradient to that of the weights that lie `here`; step, unless it has to be clipped before."""
    decay = decay_of(run)
    if decay > 0:
        add_penalty(gradient, run.params[here], decay)
    if not clipped:
        step(run, here, gradient, kept_by_decay(run))


@jit
def weights_of_plain(run: Run, batch: Batch, layer: int, part: int, parts: int, worker: int) -> None:
    """`weights_of_rows` where the inputs are plain rows."""
    inputs = input_rows(run, batch, 0)
    if layer > 1:
        inputs = Left(run.buffer, run.table[layer - 1, A_START], run.table[layer - 1, STRIDE], 1)
    weights_of_rows(run, batch, inputs, layer, part, parts, worker)


@jit
def weights_of_sparse(run: Run, batch: Batch, layer: int, part: int, parts: int, worker: int) -> None:
    """The same where the first layer's inputs are sparse."""
    if layer > 1:
        hidden = Left(run.buffer, run.table[layer - 1, A_START], run.table[layer - 1, STRIDE], 1)
        weights_of_rows(run, batch, hidden, layer, part, parts, worker)
        return
    params, table, buffer = run.params, run.table, run.buffer
    line, clipped = LINE_BYTES // params.itemsize, is_clipped(run)
    scratch = run.scratch[scratch_place(run, worker)]
    n_in, n_lines = table[0, N], table[1, LINES]
    first, last = share(n_in, feature_unit(params.itemsize), part, parts)
    transpose_sparse(SparseRows(run.X, run.order, batch.first), batch.n, first, last, run.extras.transposed)
    delta = Panels(buffer, table[1, DELTA_START], PANEL_LINES * line, table[1, STRIDE])
    # Whose gradient is 0 stays as it is, unless something else moves it.
    idle = run.solver == _SGD and decay_of(run) == 0 and kept_by_decay(run) == 1 and not clipped
    for k in range(first, last, ROWS):
        rows = min(ROWS, last - k)
        out = Out(scratch, 0, 0, rows, n_lines)
        if not sparse_weight_gradient(run.extras.transposed, k, out, delta, Init(buffer, 0)) and idle:
            continue
        for panel in range(0, n_lines, PANEL_LINES):
            wide = min(PANEL_LINES, n_lines - panel) * line
            start = table[1, W_START] + panel * line * n_in + k * wide
            here = slice(start, start + rows * wide)
            gradient = scratch[rows * panel * line : rows * (panel * line + wide)]
            if clipped:
                copy(gradient, run.grads[here])
                gradient = run.grads[here]
            use_gradient(run, here, gradient, clipped)


def _features_phase(run: Run, number: int, part: int, parts: int, worker: int) -> None:
    # B2 and B3 for this part's features of every layer, and U1 unless gradients are clipped.
    batch, table, clipped = batch_of(run, number), run.table, is_clipped(run)
    for layer in range(1, table.shape[0]):
        _weights(run, batch, layer, part, parts, worker)
        if layer > 1 and not clipped:
            first, last = share(table[layer - 1, N], feature_unit(run.params.itemsize), part, parts)
            transpose(run, layer, first, last - first)
        if part == layer % parts:
            here = slice(table[layer, B_START], table[layer, END])
            gradient = run.grads[here] if clipped else run.scratch[scratch_place(run, worker)][: here.stop - here.start]
            _bias_gradient(run, batch, layer, gradient)
            if not clipped:
                step(run, here, gradient, run.params.dtype.type(1))


@jit
def step(run: Run, here: slice, gradient: Array, kept: float) -> None:
    """U1 for the parameters that lie `here`, of which decay leaves so much."""
    params = run.params
    if kept < 1:
        shrink(params[here], kept)
    slot_1, slot_2 = run.state[: params.size], run.state[params.size :]
    solver_step(run.solver, params[here], gradient, slot_1[here], slot_2[here], rates_now(run))


@jit
def squares_phase(run: Run, part: int, parts: int, worker: int) -> None:
    """The sums of squares of this part's blocks of the gradient."""
    stripes = run.scratch[scratch_place(run, worker)][:SQUARES_STRIPES]
    first, last = share(run.extras.squares.size, 1, part, parts)
    for block in range(first, last):
        stripes[:] = 0
        for start in range(block * SQUARES_BLOCK, min((block + 1) * SQUARES_BLOCK, run.params.size), SQUARES_STRIPES):
            g = run.grads[start : start + SQUARES_STRIPES]
            for j in range(g.size):
                stripes[j] = fma(g[j], g[j], stripes[j])
        run.extras.squares[block] = ordered_sum(stripes)


@jit
def step_phase(run: Run, part: int, parts: int) -> None:
    """U1 for this part's features of every layer, by the gradient made no longer than `clip_norm`."""
    params, grads, table = run.params, run.grads, run.table
    line = LINE_BYTES // params.itemsize
    norm, clip = np.sqrt(ordered_sum(run.extras.squares)), run.extras.clip_norm
    scale = params.dtype.type(clip / norm if norm > clip else 1.0)
    for layer in range(1, table.shape[0]):
        n_in = table[layer - 1, N]
        first, last = share(n_in, feature_unit(params.itemsize), part, parts)
        for panel in range(0, table[layer, LINES], PANEL_LINES):
            wide = min(PANEL_LINES, table[layer, LINES] - panel) * line
            weights = table[layer, W_START] + panel * line * n_in
            here = slice(weights + first * wide, weights + last * wide)
            if scale < 1:
                shrink(grads[here], scale)
            step(run, here, grads[here], kept_by_decay(run))
        if layer > 1:
            transpose(run, layer, first, last - first)
        if part == layer % parts:
            here = slice(table[layer, B_START], table[layer, END])
            if scale < 1:
                shrink(grads[here], scale)
            step(run, here, grads[here], params.dtype.type(1))


@jit
def begin(run: Run, phase: int) -> None:
    """What comes before the first phase, as in `epoch`."""
    for layer in range(2, run.table.shape[0]):
        transpose(run, layer, 0, run.table[layer - 1, N])
    start_batch(run, phase // PHASES)


def _chunk(run: Run, phase: int, part: int, parts: int, worker: int) -> None:
    number, kind = phase // PHASES, phase % PHASES
    if run.numbers[TOTAL_WEIGHT] == 0:
        return
    if kind == ROWS_PHASE:
        _rows_phase(run, number, part, parts, worker)
    elif kind == FEATURES_PHASE:
        _features_phase(run, number, part, parts, worker)
    elif is_clipped(run):
        if kind == SQUARES_PHASE:
            squares_phase(run, part, parts, worker)
        else:
            step_phase(run, part, parts)


@jit
def between(run: Run, phase: int, last: int) -> bool:
    """What follows a phase, on one thread; False if the batch diverged."""
    number, kind = phase // PHASES, phase % PHASES
    if kind == ROWS_PHASE:
        return bool(run.numbers[TOTAL_WEIGHT] == 0 or account_batch(run, number))
    if kind != STEP_PHASE:
        return True
    if not finish_batch(run, number):
        return False
    if phase + 1 < last:
        start_batch(run, number + 1)
    return True


class Inputs(NamedTuple):
    """What depends on the kind of inputs.

    Parameters
    ----------
    rows : ``rows(run, batch, first, rows)``
        So many rows of a batch, for `product`.
    product : ``product(net, layer, inputs, buffer, block)``
        F1 (see `forward_rows`).
    weights : ``weights(run, batch, layer, part, parts, worker)``
        B2 of a layer, and U1 unless gradients are clipped.
    sparse : bool
        Whether inputs are read where they lie, and their gradients are kept for all panels at once.
    """

    rows: Callable[..., Any]
    product: Callable[..., None]
    weights: Callable[..., None]
    sparse: bool


class Hidden(NamedTuple):
    """What depends on the kind of hidden layers.

    Parameters
    ----------
    keep : ``keep(net, layer, buffer, block)``
        F2 (see `forward_rows`).
    slope : ``slope(run, layer, here, first)``
        The second factor of B4 (see `backward_rows`).
    bias_gradient : ``bias_gradient(run, batch, layer, gradient)``
        B3, and the gradient of whatever else of the layer isn't its weights.
    """

    keep: Callable[..., None]
    slope: Callable[..., None]
    bias_gradient: Callable[..., None]


def with_extras(inputs: Inputs, hidden: Hidden) -> Method:
    """The way to train such layers from such inputs."""

    def memory(layout: Layout, batch_size: int, n_threads: int) -> Memory:
        dtype = layout.dtype
        table, size = layout.workspace(batch_size, training=True, slopes=True, inputs=not inputs.sparse)
        line = line_elements(dtype)
        block = ROWS * max(PANEL_LINES, int(table[1, LINES]) if inputs.sparse else 0) * line
        biases = int((table[1:, END] - table[1:, B_START]).max())
        scratch_size = max(block, SQUARES_STRIPES, biases, columns_size(layout.sizes[-1]))
        scratch = aligned_zeros(n_threads * scratch_size, dtype)
        return Memory(table, aligned_zeros(size, dtype), aligned_zeros(layout.n_params, dtype), scratch, scratch_size)

    forward, backward = forward_rows(hidden.keep, inputs.product), backward_rows(hidden.slope)
    # The first names the kernel, on disk too.
    name = f"{inputs.rows.__name__}_{hidden.keep.__name__}"
    rows = jit(instance(_rows_phase, name, _inputs=inputs.rows, _forward=forward, _backward=backward))
    features = jit(instance(_features_phase, _weights=inputs.weights, _bias_gradient=hidden.bias_gradient))
    return Method(
        bodies=Bodies(begin, jit(instance(_chunk, _rows_phase=rows, _features_phase=features)), between),
        phases=PHASES,
        memory=memory,
        chunks=lambda batch_size, n_threads: CHUNKS * n_threads,
    )


PLAIN_ROWS = Inputs(gathered, product, weights_of_plain, sparse=False)
SPARSE_ROWS = Inputs(inputs_of_sparse, sparse_product, weights_of_sparse, sparse=True)
_LAYERS = Hidden(keep_slopes, stored_slope, bias_gradient_of_plain)

WITH_EXTRAS = with_extras(PLAIN_ROWS, _LAYERS)
FROM_SPARSE = with_extras(SPARSE_ROWS, _LAYERS)


def extras(output: str, n_params: int, dtype: Any, workers: int, **others: Any) -> Extras:
    """The `Extras` of runs with such an output, for so many workers at once.

    `others` are its other parts, of which targets and transposed may be missing.
    """
    parts = {"targets": np.empty(0, dtype), "transposed": (), **others}
    squares = np.zeros(workers * -(-n_params // SQUARES_BLOCK))
    return Extras(output=OUTPUTS[output], squares=squares, **parts)
