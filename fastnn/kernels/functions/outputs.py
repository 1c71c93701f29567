"""F3, F4 and B1: the output layer's softmax and cross-entropy, and their common gradient, on arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arguments import class_indices, deliver, destination, operand
from fastnn.kernels.arrays import Array, flat
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
from fastnn.kernels.functions.described import described
from fastnn.kernels.layout import ROW_BLOCK
from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import jit, jit_entry
from fastnn.runtime.launch import Kernel, kernel, launch, share
from fastnn.runtime.template import instance
from fastnn.runtime.threads import threads_for

# Floating-point operations that an exp and its share of a softmax cost.
_OPERATIONS_PER_EXP = 30.0


class Samples(NamedTuple):
    """What F3, F4 and B1 read and write: plain rows, targets, the result, and columns for each part.

    F3 has no targets: any array stands in their place.
    """

    rows: Array
    targets: Array
    out: Array
    columns: Array
    n_rows: int
    n_classes: int


def _block(args: Samples, columns: Array, first: int, n: int) -> None:
    """A placeholder for the work on the `n` samples from `first` on, which `instance` puts into the template below."""


def _by_columns(args: Samples, part: int, parts: int) -> None:
    """An equation for this part's rows, a block of samples at a time, which lie side by side in `columns`."""
    n_classes, size = args.n_classes, columns_size(args.n_classes)
    columns = args.columns[part * size : (part + 1) * size]
    start, stop = share(args.n_rows, ROW_BLOCK, part, parts)
    for first in range(start, stop, ROW_BLOCK):
        n = min(ROW_BLOCK, stop - first)
        to_columns(args.rows[first * n_classes : (first + n) * n_classes], n_classes, n, n_classes, columns)
        _block(args, columns, first, n)


@jit
def softmax_block(args: Samples, columns: Array, first: int, n: int) -> None:
    """F3, into rows of `out`."""
    n_classes = args.n_classes
    softmax_columns(columns, side_by_side(n, columns.itemsize), n_classes)
    to_rows(columns, n, n_classes, args.out[first * n_classes : (first + n) * n_classes], n_classes)


@jit
def cross_entropy_block(args: Samples, columns: Array, first: int, n: int) -> None:
    """F4: the loss of each sample, into `out`."""
    n_classes, wide = args.n_classes, side_by_side(n, columns.itemsize)
    losses = args.out[first : first + n]
    logits_of_targets(columns, wide, n_classes, args.targets[first : first + n], losses)
    softmax_columns(columns, wide, n_classes)
    losses_of_columns(columns, wide, n_classes, losses)


@jit
def output_delta_block(args: Samples, columns: Array, first: int, n: int) -> None:
    """B1, into rows of `out`."""
    n_classes, wide = args.n_classes, side_by_side(n, columns.itemsize)
    output_delta_columns(columns, wide, n_classes, args.targets[first : first + n])
    divide(columns[: n_classes * wide], columns.dtype.type(args.n_rows))
    to_rows(columns, n, n_classes, args.out[first * n_classes : (first + n) * n_classes], n_classes)


_softmax = kernel(jit(instance(_by_columns, _block=softmax_block)))
_cross_entropy = kernel(jit(instance(_by_columns, _block=cross_entropy_block)))
_output_delta = kernel(jit(instance(_by_columns, _block=output_delta_block)))


@keep_on_disk
@jit_entry
def _sum(values: Array) -> float:
    return ordered_sum(values)


def _launch(of: Kernel, rows: Array, y: NDArray[np.int64] | None, out: Array, operations: float) -> None:
    threads, plain = threads_for(operations), flat(rows)
    targets = plain if y is None else y.astype(rows.dtype)
    columns = np.empty(threads * columns_size(rows.shape[1]), rows.dtype)
    launch(of, Samples(plain, targets, flat(out), columns, *rows.shape), threads=threads)


@described
def softmax(z: Array, out: Array | None = None) -> Array:
    """Class probabilities (F3): ``p = softmax(z)``, per row; exact at logits of ±1000.

    Parameters
    ----------
    z : ndarray of shape (n, n_classes), float32 or float64
    out : ndarray of the same shape and dtype, optional

    Returns
    -------
    p : ndarray of shape (n, n_classes)
        Rows that add up to 1; NaN where the row holds NaN or +inf.
    """
    z = operand("z", z, 2)
    result = destination(out, z.shape, z.dtype, (z,) if out is not z else ())
    if result.size:
        _launch(_softmax, z, None, result, _OPERATIONS_PER_EXP * z.size)
    return deliver(result, out)


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
        In nats. The losses of the samples are added in a fixed order.

    Raises
    ------
    TypeError
        If the dtype of `z` is neither float32 nor float64, or that of `y` isn't an integer type.
    ValueError
        If the shapes don't fit together, `y` is out of range, or there are no rows.
    """
    z = operand("z", z, 2)
    n_rows, n_classes = z.shape
    if n_rows == 0 or n_classes == 0:
        raise ValueError(f"cross_entropy needs at least one row and one class, got z of shape {z.shape}.")
    losses = np.empty(n_rows, z.dtype)
    _launch(_cross_entropy, z, class_indices(y, n_rows, n_classes), losses, _OPERATIONS_PER_EXP * z.size)
    return float(_sum(losses) / n_rows)


@described
def output_delta(p: Array, y: Array, out: Array | None = None) -> Array:
    """Gradient of the mean loss in the output layer's logits (B1): ``delta = (p - onehot(y)) / n``.

    Parameters
    ----------
    p : ndarray of shape (n, n_classes), float32 or float64
        Class probabilities.
    y : ndarray of shape (n,), integer
        Class indices, from 0 to n_classes - 1.
    out : ndarray of the same shape and dtype as `p`, optional

    Returns
    -------
    delta : ndarray of shape (n, n_classes)

    Raises
    ------
    TypeError
        If the dtype of `p` is neither float32 nor float64, that of `y` isn't an integer type, or that of `out` isn't
        the dtype of `p`.
    ValueError
        If the shapes don't fit together, `y` is out of range, or `out` is read-only.
    """
    p = operand("p", p, 2)
    y = class_indices(y, *p.shape)
    result = destination(out, p.shape, p.dtype, (p, y) if out is not p else (y,))
    if result.size:
        _launch(_output_delta, p, y, result, 3.0 * p.size)
    return deliver(result, out)
