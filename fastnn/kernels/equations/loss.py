"""The output layer: softmax (F3), cross-entropy (F4) and their common gradient (B1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from fastnn.kernels.arrays import Array, class_indices, copy, deliver, destination, flat, operand
from fastnn.kernels.equations.elementary import exp_of, log_of
from fastnn.kernels.layout import ROW_BLOCK
from fastnn.kernels.simd.moves import transpose_block
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Rows
from fastnn.kernels.simd.shape import lanes_of
from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import jit, jit_entry
from fastnn.runtime.launch import kernel, launch, share
from fastnn.runtime.threads import threads_for

# Floating-point operations that an exp and its share of a softmax cost.
_OPERATIONS_PER_EXP = 30.0


@register_jitable  # type: ignore[untyped-decorator]
def side_by_side(n: int, itemsize: int) -> int:
    """The width of columns for `n` samples: whole vectors."""
    lanes: int = lanes_of(itemsize)
    return (n + lanes - 1) // lanes * lanes


@jit
def rows_with_room(rows: Array, stride: int, n: int, width: int) -> int:
    """How many of the `n` rows have `width` numbers before the array ends: there whole vectors may be used."""
    with_room: int = max(0, min(n, (rows.size - width) // stride + 1))
    return with_room


@jit
def to_columns(rows: Array, stride: int, n: int, n_classes: int, columns: Array) -> None:
    """Lay `n` rows of logits side by side: ``columns[j * wide + i] = rows[i * stride + j]``, 0 from sample n on."""
    lanes, wide = lanes_of(rows.itemsize), side_by_side(n, rows.itemsize)
    vectors = rows_with_room(rows, stride, n, side_by_side(n_classes, rows.itemsize))
    for i in range(0, vectors, lanes):
        for j in range(0, n_classes, lanes):
            target = Rows(columns, j * wide + i, wide, n_classes - j)
            transpose_block(target, Rows(rows, i * stride + j, stride, vectors - i))
    for i in range(vectors, wide):
        for j in range(n_classes):
            columns[j * wide + i] = rows[i * stride + j] if i < n else 0


@jit
def to_rows(columns: Array, n: int, n_classes: int, rows: Array, stride: int) -> None:
    """`to_columns` undone. Between the rows it may leave zeros; it writes them in order, and none outside `rows`."""
    lanes, wide = lanes_of(rows.itemsize), side_by_side(n, rows.itemsize)
    padded = side_by_side(n_classes, rows.itemsize)
    vectors = rows_with_room(rows, stride, n, padded)
    for i in range(0, vectors, lanes):
        # The last classes first: their vector may reach into the next row.
        for j in range(padded - lanes, -1, -lanes):
            target = Rows(rows, i * stride + j, stride, vectors - i)
            transpose_block(target, Rows(columns, j * wide + i, wide, n_classes - j))
    for i in range(vectors, n):
        row = rows[i * stride : i * stride + n_classes]
        for j in range(n_classes):
            row[j] = columns[j * wide + i]


@jit
def softmax_columns(columns: Array, n: int, n_classes: int) -> None:
    """F3 in place for `n` samples side by side: ``p = exp(z - max z) / sum exp(z - max z)``, summed in order of j.

    ``columns[j * n + i]`` is logit j of sample i. Two rows more hold ``max z`` and the sum. The rounding error of
    ``z - max z`` is put back to first order: without, p = exp(-50) is off by up to 20 ULP in float32.
    """
    largest = columns[n_classes * n : (n_classes + 1) * n]
    total = columns[(n_classes + 1) * n : (n_classes + 2) * n]
    copy(columns[:n], largest)
    for j in range(1, n_classes):
        z = columns[j * n : (j + 1) * n]
        for i in range(n):
            largest[i] = max(largest[i], z[i])
    for i in range(n):
        total[i] = 0
    for j in range(n_classes):
        z = columns[j * n : (j + 1) * n]
        for i in range(n):
            shifted = z[i] - largest[i]
            back = shifted - z[i]
            lost = (z[i] - (shifted - back)) - (largest[i] + back)
            e = exp_of(shifted)
            e = fma(e, lost, e) if lost == lost else e
            z[i] = e
            total[i] += e
    for j in range(n_classes):
        p = columns[j * n : (j + 1) * n]
        for i in range(n):
            p[i] /= total[i]


@jit
def logits_of_targets(columns: Array, wide: int, n_classes: int, targets: Array, logits: Array) -> None:
    """``logits[i] = z[i, targets[i]]``. The targets are numbers of the same dtype: vectors can compare them."""
    for j in range(n_classes):
        target = targets.dtype.type(j)
        z = columns[j * wide : j * wide + targets.size]
        for i in range(targets.size):
            before, here = logits[i], z[i]  # loaded in any case, so that there is no branch
            logits[i] = here if targets[i] == target else before


@jit
def losses_of_columns(columns: Array, wide: int, n_classes: int, losses: Array) -> None:
    """F4 after F3: ``-log p[y] = log(sum exp(z - max z)) - (z[y] - max z)``; `losses` holds the logits ``z[y]``."""
    largest = columns[n_classes * wide : (n_classes + 1) * wide]
    total = columns[(n_classes + 1) * wide : (n_classes + 2) * wide]
    for i in range(losses.size):
        losses[i] = log_of(total[i]) - (losses[i] - largest[i])


@jit
def output_delta_columns(columns: Array, wide: int, n_classes: int, targets: Array) -> None:
    """B1 in place after F3, up to the mean's 1/n: ``delta = p - onehot(y)``."""
    zero, one = columns.dtype.type(0), columns.dtype.type(1)
    for j in range(n_classes):
        target = targets.dtype.type(j)
        p = columns[j * wide : j * wide + targets.size]
        for i in range(targets.size):
            p[i] -= one if targets[i] == target else zero


@jit
def divide(a: Array, divisor: float) -> None:
    """``a /= divisor``."""
    for j in range(a.size):
        a[j] /= divisor


@jit
def ordered_sum(values: Array) -> float:
    """``sum_i values[i]`` in float64: eight stripes in index order, joined in a fixed tree, then the rest."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = values.size // 8 * 8
    for i in range(0, whole, 8):
        s0 += values[i]
        s1 += values[i + 1]
        s2 += values[i + 2]
        s3 += values[i + 3]
        s4 += values[i + 4]
        s5 += values[i + 5]
        s6 += values[i + 6]
        s7 += values[i + 7]
    rest = 0.0
    for i in range(whole, values.size):
        rest += values[i]
    total: float = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)) + rest
    return total


@keep_on_disk
@jit_entry
def _sum(values: Array) -> float:
    return ordered_sum(values)


class Softmax(NamedTuple):
    """What F3 reads and writes: plain rows, and columns for each part (see `columns_for`)."""

    z: Array
    out: Array
    columns: Array
    n_rows: int
    n_classes: int


@register_jitable  # type: ignore[untyped-decorator]
def columns_size(n_classes: int) -> int:
    """The numbers that the columns of ``ROW_BLOCK`` samples take."""
    return ROW_BLOCK * (n_classes + 2)


@jit
def softmax_rows(args: Softmax, part: int, parts: int) -> None:
    """F3 for this part's rows."""
    n_classes, size = args.n_classes, columns_size(args.n_classes)
    columns = args.columns[part * size : (part + 1) * size]
    first, last = share(args.n_rows, ROW_BLOCK, part, parts)
    for i in range(first, last, ROW_BLOCK):
        n = min(ROW_BLOCK, last - i)
        here = slice(i * n_classes, (i + n) * n_classes)
        to_columns(args.z[here], n_classes, n, n_classes, columns)
        softmax_columns(columns, side_by_side(n, args.z.itemsize), n_classes)
        to_rows(columns, n, n_classes, args.out[here], n_classes)


_softmax = kernel(softmax_rows)


def softmax(z: Array, out: Array | None = None) -> Array:
    """Class probabilities (F3): ``p = softmax(z)``, per row; exact at logits of ±1000.

    Parameters
    ----------
    z : ndarray of shape (n, n_classes), float32 or float64
    out : ndarray of the same shape and dtype, optional
        Where to put the result; may be `z` itself.

    Returns
    -------
    p : ndarray of shape (n, n_classes)
        Rows that add up to 1; NaN where the row holds NaN or +inf.

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If `z` isn't two-dimensional or `out` doesn't fit.
    """
    z = operand("z", z, 2)
    result = destination(out, z.shape, z.dtype, (z,) if out is not z else ())
    if result.size:
        threads = threads_for(_OPERATIONS_PER_EXP * z.size)
        columns = np.empty(threads * columns_size(z.shape[1]), z.dtype)
        launch(_softmax, Softmax(flat(z), flat(result), columns, *z.shape), threads=threads)
    return deliver(result, out)


class CrossEntropy(NamedTuple):
    """What F4 reads and writes: plain rows `z`, targets, a loss for each row, columns for each part."""

    z: Array
    targets: Array
    losses: Array
    columns: Array
    n_rows: int
    n_classes: int


@jit
def cross_entropy_rows(args: CrossEntropy, part: int, parts: int) -> None:
    """F4 for this part's rows."""
    n_classes, size = args.n_classes, columns_size(args.n_classes)
    columns = args.columns[part * size : (part + 1) * size]
    first, last = share(args.n_rows, ROW_BLOCK, part, parts)
    for start in range(first, last, ROW_BLOCK):
        n = min(ROW_BLOCK, last - start)
        to_columns(args.z[start * n_classes : (start + n) * n_classes], n_classes, n, n_classes, columns)
        losses, targets = args.losses[start : start + n], args.targets[start : start + n]
        wide = side_by_side(n, args.z.itemsize)
        logits_of_targets(columns, wide, n_classes, targets, losses)
        softmax_columns(columns, wide, n_classes)
        losses_of_columns(columns, wide, n_classes, losses)


_cross_entropy = kernel(cross_entropy_rows)


def cross_entropy(z: Array, y: Array) -> float:
    """Mean loss of logits (F4): ``loss = -mean_i log softmax(z)[i, y_i]``, by log-sum-exp.

    Parameters
    ----------
    z : ndarray of shape (n, n_classes), float32 or float64
        Logits; n must be at least 1.
    y : ndarray of shape (n,), integer
        Class indices, from 0 to n_classes - 1.

    Returns
    -------
    loss : float
        In nats; the losses of the samples are added in a fixed order.

    Raises
    ------
    TypeError
        If a dtype is another one.
    ValueError
        If the shapes don't fit together, `y` is out of range, or there are no rows.
    """
    z = operand("z", z, 2)
    n_rows, n_classes = z.shape
    if n_rows == 0 or n_classes == 0:
        raise ValueError(f"cross_entropy needs at least one row and one class, got z of shape {z.shape}.")
    y = class_indices(y, n_rows, n_classes)
    losses = np.empty(n_rows, z.dtype)
    threads = threads_for(_OPERATIONS_PER_EXP * z.size)
    columns = np.empty(threads * columns_size(n_classes), z.dtype)
    launch(
        _cross_entropy, CrossEntropy(flat(z), y.astype(z.dtype), losses, columns, n_rows, n_classes), threads=threads
    )
    return float(_sum(losses) / n_rows)


class OutputDelta(NamedTuple):
    """What B1 reads and writes: plain rows, targets, columns for each part."""

    p: Array
    targets: Array
    out: Array
    columns: Array
    n_rows: int
    n_classes: int


@jit
def output_delta_rows(args: OutputDelta, part: int, parts: int) -> None:
    """B1 for this part's rows."""
    n_classes, size = args.n_classes, columns_size(args.n_classes)
    columns = args.columns[part * size : (part + 1) * size]
    n_rows = args.out.dtype.type(args.n_rows)
    first, last = share(args.n_rows, ROW_BLOCK, part, parts)
    for i in range(first, last, ROW_BLOCK):
        n = min(ROW_BLOCK, last - i)
        here = slice(i * n_classes, (i + n) * n_classes)
        wide = side_by_side(n, args.p.itemsize)
        to_columns(args.p[here], n_classes, n, n_classes, columns)
        output_delta_columns(columns, wide, n_classes, args.targets[i : i + n])
        divide(columns[: n_classes * wide], n_rows)
        to_rows(columns, n, n_classes, args.out[here], n_classes)


_output_delta = kernel(output_delta_rows)


def output_delta(p: Array, y: Array, out: Array | None = None) -> Array:
    """Gradient of the mean loss in the output layer's logits (B1): ``delta = (p - onehot(y)) / n``.

    Parameters
    ----------
    p : ndarray of shape (n, n_classes), float32 or float64
        Class probabilities.
    y : ndarray of shape (n,), integer
        Class indices, from 0 to n_classes - 1.
    out : ndarray of the same shape and dtype as `p`, optional
        Where to put the result; may be `p` itself.

    Returns
    -------
    delta : ndarray of shape (n, n_classes)

    Raises
    ------
    TypeError
        If a dtype is another one, or they differ.
    ValueError
        If the shapes don't fit together or `y` is out of range.
    """
    p = operand("p", p, 2)
    y = class_indices(y, *p.shape)
    result = destination(out, p.shape, p.dtype, (p, y) if out is not p else (y,))
    if result.size:
        threads = threads_for(3.0 * p.size)
        columns = np.empty(threads * columns_size(p.shape[1]), p.dtype)
        args = OutputDelta(flat(p), y.astype(p.dtype), flat(result), columns, *p.shape)
        launch(_output_delta, args, threads=threads)
    return deliver(result, out)
