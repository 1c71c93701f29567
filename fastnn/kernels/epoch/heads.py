"""Output layers during training: the losses (F4) and the deltas (B1) of a batch's rows.

    softmax   loss = -log p[y];                             delta = p - onehot(y)
              with smoothed labels, a target is ``1 - s`` of its class and ``s / n_classes`` of each
    logistic  loss = sum_j log(1 + exp(z_j)) - y_j z_j;     delta = 1 / (1 + exp(-z)) - y
    identity  loss = sum_j (z_j - y_j)**2 / 2;              delta = z - y
    exp       loss = sum_j exp(z_j) - y_j + y_j (log y_j - z_j);  delta = exp(z) - y
              which is half of the Poisson distribution's deviance; ``0 log 0`` is 0

A delta is multiplied by the sample's weight, divided by the batch's total weight, and takes the place of the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.kernels.arrays import Array
from fastnn.kernels.epoch.run import Batch, Run, inlined, sample_of, take_targets
from fastnn.kernels.equations.activation import LOGISTIC
from fastnn.kernels.equations.elementary import exp_of, log_of
from fastnn.kernels.equations.loss import (
    divide,
    logits_of_targets,
    losses_of_columns,
    output_delta_columns,
    side_by_side,
    softmax_columns,
    to_columns,
    to_rows,
)
from fastnn.kernels.forward.rows import EXP, SOFTMAX
from fastnn.kernels.simd.numbers import fma
from fastnn.runtime.compiler import jit
from fastnn.runtime.template import instance


@jit
def plain_labels(general: Any, columns: Array, wide: int, n_classes: int, losses: Array) -> None:
    """Leave `losses` as they are: the loss of a plain label is made of the logit of the sample's class."""
    return  # a body of a docstring alone can't be compiled with NUMBA_DEBUGINFO=1


@jit
def plain_delta(general: Any, columns: Array, wide: int, n_classes: int, targets: Array) -> None:
    """B1 without its last step, the division by the batch's total weight."""
    output_delta_columns(columns, wide, n_classes, targets)


@jit
def smooth_labels(general: Any, columns: Array, wide: int, n_classes: int, losses: Array) -> None:
    """Replace each logit in `losses` by the mean of its sample's logits, weighted by the smoothed label."""
    # The smoothed label is `every` for each class, and `own` more for the sample's class.
    dtype = columns.dtype.type
    every, own = dtype(general.label_smoothing / n_classes), dtype(1 - general.label_smoothing)
    for i in range(losses.size):
        losses[i] *= own
    for j in range(n_classes):
        z = columns[j * wide : j * wide + losses.size]
        for i in range(losses.size):
            losses[i] = fma(every, z[i], losses[i])


@jit
def smoothed_delta(general: Any, columns: Array, wide: int, n_classes: int, targets: Array) -> None:
    """B1 with smoothed labels, without its last step, the division by the batch's total weight."""
    dtype = columns.dtype.type
    every, own = dtype(general.label_smoothing / n_classes), dtype(1 - general.label_smoothing)
    for j in range(n_classes):
        target = dtype(j)
        p = columns[j * wide : j * wide + targets.size]
        for i in range(targets.size):
            p[i] -= every + (own if targets[i] == target else dtype(0))


def _labels(general: Any, columns: Array, wide: int, n_classes: int, losses: Array) -> None:
    """A placeholder, like the next two functions: `instance` replaces them by bodies in the templates below."""


def _delta(general: Any, columns: Array, wide: int, n_classes: int, targets: Array) -> None: ...


def _softmax(run: Run, batch: Batch, first: int, rows: int, columns: Array, wide: int) -> None: ...


def _softmax_columns(run: Run, batch: Batch, first: int, rows: int, columns: Array, wide: int) -> None:
    n_classes = run.layers[run.layers.size - 1].n
    losses, targets = run.losses[first : first + rows], run.targets[first : first + rows]
    logits_of_targets(columns, wide, n_classes, targets, losses)
    _labels(run.general, columns, wide, n_classes, losses)
    softmax_columns(columns, wide, n_classes)
    losses_of_columns(columns, wide, n_classes, losses)
    _delta(run.general, columns, wide, n_classes, targets)
    if run.sample_weight.size:
        for i in range(rows):
            weight = run.sample_weight[sample_of(run, batch, first + i)]
            losses[i] *= weight
            for j in range(n_classes):
                columns[j * wide + i] *= weight
    divide(columns[: wide * n_classes], columns.dtype.type(run.numbers[0].total_weight))


def _softmax_rows(run: Run, batch: Batch, first: int, rows: int, columns: Array) -> None:
    buffer, output = run.buffer, run.layers[run.layers.size - 1]
    start = output.a_at + first * output.stride
    logits = buffer[start : start + rows * output.stride]
    # The targets are written one by one here, well before they are read: a read of a whole vector has to wait for such
    # writes if it comes soon after them.
    take_targets(run, batch, first, run.targets[first : first + rows])
    to_columns(logits, output.stride, rows, output.n, columns)
    _softmax(run, batch, first, rows, columns, side_by_side(rows, buffer.itemsize))
    to_rows(columns, rows, output.n, logits, output.stride)


def _of_columns(labels: Callable[..., None], delta: Callable[..., None]) -> Callable[..., None]:
    # Inlined as source, because a call passes every field of the run: for small networks this takes a notable time.
    found: Callable[..., None] = inlined(instance(_softmax_columns, _labels=labels, _delta=delta))
    return found


# F3, F4 and B1 of `rows` samples of the batch from `first` on, whose logits lie side by side: logit j of sample i is
# ``columns[j * wide + i]``. The caller must have called `take_targets` for these samples, some time before.
softmax_of_columns = _of_columns(plain_labels, plain_delta)
# The same for samples whose logits lie in rows of the buffer; `columns` is memory to work in. It calls `take_targets`.
softmax_of_rows = jit(instance(_softmax_rows, "plain", _softmax=softmax_of_columns))
_smoothed_of_rows = jit(instance(_softmax_rows, "smoothed", _softmax=_of_columns(smooth_labels, smoothed_delta)))


@jit
def separate_outputs(run: Run, batch: Batch, first: int, rows: int) -> None:
    """The outputs of several labels (logistic), or of a regression (identity, exp), each of them by itself."""
    buffer, layers = run.buffer, run.layers
    n_outputs, stride = layers[layers.size - 1].n, layers[layers.size - 1].stride
    start = layers[layers.size - 1].a_at + first * stride
    dtype = buffer.dtype.type
    one, half = dtype(1), dtype(0.5)
    own, every = dtype(1 - run.general.label_smoothing), dtype(run.general.label_smoothing / 2)
    for i in range(rows):
        z = buffer[start + i * stride : start + i * stride + n_outputs]
        sample = sample_of(run, batch, first + i)
        y = run.general.targets[sample * n_outputs : (sample + 1) * n_outputs]
        loss = dtype(0)
        if run.general.output == LOGISTIC:
            for j in range(n_outputs):
                target = fma(own, y[j], every)
                e = exp_of(-abs(z[j]))
                loss += max(z[j], dtype(0)) - target * z[j] + log_of(one + e)
                z[j] = (one if z[j] >= 0 else e) / (one + e) - target
        elif run.general.output == EXP:
            for j in range(n_outputs):
                delta = exp_of(z[j]) - y[j]
                # By z and not by exp(z), which may be 0: the loss is finite as long as exp(z) is.
                loss += delta
                if y[j] > 0:
                    loss += y[j] * (log_of(y[j]) - z[j])
                z[j] = delta
        else:
            for j in range(n_outputs):
                z[j] -= y[j]
                loss += half * z[j] * z[j]
        if run.sample_weight.size:
            weight = run.sample_weight[sample]
            loss *= weight
            for j in range(n_outputs):
                z[j] *= weight
        run.losses[first + i] = loss
        divide(z, dtype(run.numbers[0].total_weight))


@jit
def any_output(run: Run, batch: Batch, first: int, rows: int, columns: Array) -> None:
    """F4 and B1 of `rows` rows of the batch from `first` on, for any kind of output; `columns` is memory to work in."""
    if run.general.output == SOFTMAX:
        _smoothed_of_rows(run, batch, first, rows, columns)
    else:
        separate_outputs(run, batch, first, rows)
