"""The first layer of the general program from sparse samples, of which few numbers aren't 0."""

from __future__ import annotations

from fastnn.kernels.arrays import copy
from fastnn.kernels.epoch.frame import Inputs
from fastnn.kernels.epoch.general import general, is_clipped, outputs_of, use_gradient, weights_of_rows
from fastnn.kernels.epoch.hidden import WITH_SLOPES
from fastnn.kernels.epoch.run import Batch, Run, nth_piece
from fastnn.kernels.epoch.weights import feature_unit, step_of
from fastnn.kernels.equations.solver import CODES
from fastnn.kernels.forward.sparse import Panels, SparseRows, sparse_product, sparse_weight_gradient, transpose_sparse
from fastnn.kernels.simd.operands import Init, Out
from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, ROWS
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import share

_SGD = CODES["sgd"]


@jit
def sparse_rows(run: Run, batch: Batch, first: int, rows: int) -> SparseRows:
    """The inputs of the batch's rows from `first` on."""
    return SparseRows(run.X, run.order, batch.first + first)


@jit
def sparse_weights(run: Run, batch: Batch, layer: int, part: int, parts: int, worker: int) -> None:
    """`weights_of_rows` for samples that are sparse."""
    if layer > 1:
        weights_of_rows(run, batch, outputs_of(run, layer - 1), layer, part, parts, worker)
        return
    buffer, this, n_in = run.buffer, run.layers[1], run.layers[0].n
    line, clipped = LINE_BYTES // buffer.itemsize, is_clipped(run)
    scratch = run.scratch[nth_piece(worker, run.scratch_size)]
    first, last = share(n_in, feature_unit(buffer.itemsize), part, parts)
    transpose_sparse(SparseRows(run.X, run.order, batch.first), batch.n, first, last, run.transposed)
    delta = Panels(buffer, this.delta_at, PANEL_LINES * line, this.stride)
    # A weight whose gradient is 0 stays as it is, unless something else moves it.
    now = step_of(run.numbers[0], run.params)
    idle = run.solver == _SGD and now.penalty == 0 and now.kept == 1 and not clipped
    for k in range(first, last, ROWS):
        rows = min(ROWS, last - k)
        out = Out(scratch, 0, 0, rows, this.lines)
        if not sparse_weight_gradient(run.transposed, k, out, delta, Init(buffer, 0)) and idle:
            continue
        for panel in range(0, this.lines, PANEL_LINES):
            wide = min(PANEL_LINES, this.lines - panel) * line
            start = this.w_at + panel * line * n_in + k * wide
            here = slice(start, start + rows * wide)
            gradient = scratch[rows * panel * line : rows * (panel * line + wide)]
            if clipped:
                copy(gradient, run.grads[here])
                gradient = run.grads[here]
            use_gradient(run, here, gradient, clipped)


SPARSE_ROWS = Inputs(sparse_rows, sparse_product)
SPARSE = general("sparse", WITH_SLOPES, SPARSE_ROWS, sparse_weights)
