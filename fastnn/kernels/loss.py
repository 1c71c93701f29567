"""The output layer: softmax (F3), cross-entropy (F4) and their common gradient (B1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.kernels.arrays import Array, class_indices, copy, deliver, destination, flat, operand
from fastnn.kernels.elementary import exp_of, log_of
from fastnn.kernels.tile import fma
from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.launch import jit, launch, share, threads_for, twins

# Floating-point operations that an exp and its share of a softmax cost.
_OPERATIONS_PER_EXP = 30.0


@jit
def softmax_row(a: Array, n: int) -> tuple[float, float]:
    """F3 in place: ``a = exp(z - max z) / sum exp(z - max z)``; returns ``max z`` and the sum.

    The first `n` numbers are logits; the rest (the padding) end as zeros. The rounding error of ``z - max z`` is
    put back to first order: without, p = exp(-50) is off by up to 20 ULP in float32.
    """
    largest = a[0]
    for j in range(1, n):
        largest = max(largest, a[j])
    for j in range(a.size):
        z = a[j]
        shifted = z - largest
        back = shifted - z
        lost = (z - (shifted - back)) - (largest + back)
        e = exp_of(shifted)
        a[j] = fma(e, lost, e) if lost == lost else e
    total = a[0]
    for j in range(1, n):
        total += a[j]
    divide(a, total)
    for j in range(n, a.size):
        a[j] = 0
    return largest, total


@jit
def row_loss(z_true: float, largest: float, total: float) -> float:
    """F4 for one sample: ``-log p[y] = log(sum exp(z - max z)) - (z[y] - max z)``."""
    return log_of(total) - (z_true - largest)  # type: ignore[no-any-return]


@jit
def output_delta_row(a: Array, true: int) -> None:
    """B1 in place for one sample, up to the mean's 1/n: ``delta = p - onehot(y)``."""
    a[true] -= a.dtype.type(1)


@jit
def scale(a: Array, factor: float) -> None:
    """``a *= factor``."""
    for j in range(a.size):
        a[j] *= factor


@jit
def divide(a: Array, divisor: float) -> None:
    """``a /= divisor``."""
    for j in range(a.size):
        a[j] /= divisor


@keep_on_disk
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


class Softmax(NamedTuple):
    """What F3 reads and writes: plain rows."""

    z: Array
    out: Array
    n_rows: int
    n_classes: int


@jit
def softmax_rows(args: Softmax, part: int, parts: int) -> None:
    """F3 for this part's rows."""
    first, last = share(args.n_rows, 1, part, parts)
    for i in range(first, last):
        row = slice(i * args.n_classes, (i + 1) * args.n_classes)
        copy(args.z[row], args.out[row])
        softmax_row(args.out[row], args.n_classes)


_softmax = twins(softmax_rows)


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
        launch(_softmax, Softmax(flat(z), flat(result), *z.shape), threads=threads_for(_OPERATIONS_PER_EXP * z.size))
    return deliver(result, out)


class CrossEntropy(NamedTuple):
    """What F4 reads and writes: plain rows `z`, class indices `y`, a loss for each row, and rows that become `p`."""

    z: Array
    y: Array
    losses: Array
    p: Array
    n_rows: int
    n_classes: int


@jit
def cross_entropy_rows(args: CrossEntropy, part: int, parts: int) -> None:
    """F4 for this part's rows."""
    first, last = share(args.n_rows, 1, part, parts)
    for i in range(first, last):
        row = slice(i * args.n_classes, (i + 1) * args.n_classes)
        copy(args.z[row], args.p[row])
        largest, total = softmax_row(args.p[row], args.n_classes)
        args.losses[i] = row_loss(args.z[row][args.y[i]], largest, total)


_cross_entropy = twins(cross_entropy_rows)


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
    args = CrossEntropy(flat(z), flat(y), losses, np.empty(z.size, z.dtype), n_rows, n_classes)
    launch(_cross_entropy, args, threads=threads_for(_OPERATIONS_PER_EXP * z.size))
    return float(ordered_sum(losses) / n_rows)


class OutputDelta(NamedTuple):
    """What B1 reads and writes: plain rows, and class indices `y`."""

    p: Array
    y: Array
    out: Array
    n_rows: int
    n_classes: int


@jit
def output_delta_rows(args: OutputDelta, part: int, parts: int) -> None:
    """B1 for this part's rows."""
    n = args.out.dtype.type(args.n_rows)
    first, last = share(args.n_rows, 1, part, parts)
    for i in range(first, last):
        row = slice(i * args.n_classes, (i + 1) * args.n_classes)
        copy(args.p[row], args.out[row])
        output_delta_row(args.out[row], args.y[i])
        divide(args.out[row], n)


_output_delta = twins(output_delta_rows)


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
        launch(_output_delta, OutputDelta(flat(p), flat(y), flat(result), *p.shape), threads=threads_for(3.0 * p.size))
    return deliver(result, out)
