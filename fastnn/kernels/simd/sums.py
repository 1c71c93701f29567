"""Sums across the lanes of vectors.

Lane i of a line is a chain of fused multiply-adds over the lines, in order. The lanes are then added in a fixed tree:
the second half to the first half, and so on.
"""

from __future__ import annotations

from typing import Any

from numba import types

from fastnn.kernels.simd.emitter import I32, I64
from fastnn.kernels.simd.operands import Operands
from fastnn.kernels.simd.shape import dot_shape
from fastnn.runtime.compiler import intrinsic


@intrinsic
def dots(typingctx: Any, out: Any, left: Any, right: Any, n_lines: Any) -> Any:
    """Add ``sum_i left[r, i] * right[c, i]`` to ``out[r, c]``, for as many rows r and c as `dot_shape` says.

    Parameters
    ----------
    out : Rows
        Row r of the results, from column 0 on. As many results are written as `left` and `right` have rows.
    left : Rows
    right : Rows
    n_lines : int64
        At least 1.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = Operands(context, builder, signature, args)
        emitter = operands.emitter
        first, out_stride, _ = operands.operand(0)
        n_rows, n_columns = dot_shape(emitter.lanes)
        left_rows, n_left = _rows(operands, 1, n_rows, args[3])
        right_rows, n_right = _rows(operands, 2, n_columns, args[3])
        operands.check(0, emitter.minimum(n_right, I64(n_columns)), (emitter.minimum(n_left, I64(n_rows)), out_stride))
        total = emitter.fold(emitter.dots(left_rows, right_rows, args[3]))
        for r in range(n_rows):
            with builder.if_then(builder.icmp_signed("<", I64(r), n_left)):
                for c in range(n_columns):
                    with builder.if_then(builder.icmp_signed("<", I64(c), n_right)):
                        place = emitter.at(emitter.row_at(first, I64(r), out_stride), I64(c))
                        value = builder.extract_element(total, I32(r * n_columns + c))
                        builder.store(builder.fadd(builder.load(place), value), place)
        return context.get_dummy_value()

    return types.void(out, left, right, types.int64), codegen


def _rows(operands: Operands, index: int, most: int, n_lines: Any) -> tuple[list[Any], Any]:
    """Pointers to `most` rows of an operand, and how many rows it has. The last row stands in for missing ones."""
    emitter, builder = operands.emitter, operands.builder
    first, stride, n = operands.operand(index)
    last = builder.sub(n, I64(1))
    indices = [emitter.minimum(I64(r), last) for r in range(most)]
    operands.check(index, builder.mul(n_lines, I64(emitter.line_elements)), (n, stride))
    return [emitter.row_at(first, r, stride) for r in indices], n


@intrinsic
def line_sum(typingctx: Any, x: Any) -> Any:
    """``sum_i x[i]`` over `Lines`, at least 1, in the order of `dots`."""
    return _added_up(x)


@intrinsic
def line_dot(typingctx: Any, x: Any, y: Any) -> Any:
    """``sum_i x[i] * y[i]`` over two `Lines` of equal length, at least 1, in the order of `dots`."""
    return _added_up(x, y)


def _added_up(*lines: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = Operands(context, builder, signature, args)
        emitter = operands.emitter
        pointers = []
        for index in range(len(args)):
            pointer, n_lines = operands.operand(index)
            operands.check(index, builder.mul(n_lines, I64(emitter.line_elements)))
            pointers.append(pointer)
        sums = emitter.dots(pointers[:1], pointers[1:], n_lines)
        return builder.extract_element(emitter.fold(sums), I32(0))

    return lines[0][0].dtype(*lines), codegen
