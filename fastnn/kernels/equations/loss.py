"""The output layer: softmax (F3), cross-entropy (F4) and their common gradient (B1).

The loops work on samples side by side: ``columns[j * wide + i]`` belongs to class j and sample i, so that neighbouring
samples fill a vector. `wide` is the number of samples, rounded up to whole vectors.
"""

from __future__ import annotations

from numba.extending import register_jitable

from fastnn.kernels.arrays import Array, copy
from fastnn.kernels.equations.elementary import exp_of, log_of
from fastnn.kernels.layout import ROW_BLOCK
from fastnn.kernels.simd.moves import transpose_block
from fastnn.kernels.simd.numbers import fma
from fastnn.kernels.simd.operands import Rows
from fastnn.kernels.simd.shape import lanes_of
from fastnn.runtime.compiler import jit


@register_jitable  # type: ignore[untyped-decorator]
def side_by_side(n: int, itemsize: int) -> int:
    """The width of columns for `n` samples: `n` rounded up to whole vectors."""
    lanes: int = lanes_of(itemsize)
    return (n + lanes - 1) // lanes * lanes


@register_jitable  # type: ignore[untyped-decorator]
def columns_size(n_classes: int) -> int:
    """The room that `softmax_columns` needs for ``ROW_BLOCK`` samples, in numbers."""
    return ROW_BLOCK * (n_classes + 2)


@jit
def rows_with_room(rows: Array, stride: int, n: int, width: int) -> int:
    """How many of the `n` rows begin at least `width` numbers before the array's end, so that whole vectors fit."""
    with_room: int = max(0, min(n, (rows.size - width) // stride + 1))
    return with_room


@jit
def to_columns(rows: Array, stride: int, n: int, n_classes: int, columns: Array) -> None:
    """Lay `n` rows of logits side by side: ``columns[j * wide + i] = rows[i * stride + j]``, and 0 from sample n on."""
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
    """Undo `to_columns`.

    Where `stride` is larger than `n_classes`, the numbers between the rows may become zeros. Nothing outside `rows` is
    written.
    """
    lanes, wide = lanes_of(rows.itemsize), side_by_side(n, rows.itemsize)
    padded = side_by_side(n_classes, rows.itemsize)
    vectors = rows_with_room(rows, stride, n, padded)
    for i in range(0, vectors, lanes):
        # The last classes come first, since their vectors may reach into the next row, which is written after them.
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

    ``columns[j * n + i]`` is logit j of sample i. Two rows after the logits hold ``max z`` and the sum. The rounding
    error of ``z - max z`` is corrected to first order: without the correction, p = exp(-50) is off by up to 20 ULP in
    float32.
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
    """``logits[i] = z[i, targets[i]]``. The targets have the logits' dtype, so that vectors can compare them."""
    for j in range(n_classes):
        target = targets.dtype.type(j)
        z = columns[j * wide : j * wide + targets.size]
        for i in range(targets.size):
            before, here = logits[i], z[i]  # both are loaded in any case, so that there is no branch
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
    """B1 in place after F3, without the mean's factor 1/n: ``delta = p - onehot(y)``."""
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
    """``sum_i values[i]`` in float64, in a fixed order: eight interleaved sums, added in a tree, then the rest."""
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
