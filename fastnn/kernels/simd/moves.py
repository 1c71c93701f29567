"""Moving numbers without computing: transposed blocks, and lines asked for ahead of their use."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnn.kernels.simd.emitter import I32, I64
from fastnn.kernels.simd.operands import Operands
from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.runtime.compiler import intrinsic

PREFETCHED_LINES = 8


@intrinsic
def transpose_block(typingctx: Any, out: Any, rows: Any) -> Any:
    """Write ``out[c, r] = rows[r, c]`` for one vector of columns c and one of rows r; 0 for the rows that don't exist.

    Whole vectors are read and written, so each row of both operands must have room for one.

    Parameters
    ----------
    out : Rows
        At most as many of its rows are written as a vector has lanes.
    rows : Rows
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = Operands(context, builder, signature, args)
        emitter = operands.emitter
        lanes = I64(emitter.lanes)
        target, source = operands.operand(0), operands.operand(1)
        for index, (_, stride, n) in enumerate((target, source)):
            operands.check(index, lanes, (emitter.minimum(n, lanes), stride))
        full = [builder.icmp_signed(">=", n, lanes) for *_, n in (source, target)]
        with builder.if_else(builder.and_(*full)) as (whole, part):
            with whole:
                vectors = [emitter.load(_row(emitter, source, r), 0) for r in range(emitter.lanes)]
                for c, vector in enumerate(emitter.transposed(vectors)):
                    emitter.store(vector, _row(emitter, target, c), 0)
            with part:
                vectors = [_row_or_zeros(emitter, source, r) for r in range(emitter.lanes)]
                for c, vector in enumerate(emitter.transposed(vectors)):
                    place = _row(emitter, target, c)
                    with builder.if_then(builder.icmp_signed("<", I64(c), target[2])):
                        emitter.store(vector, place, 0)
        return context.get_dummy_value()

    return types.void(out, rows), codegen


def _row(emitter: Any, rows: list[Any], index: int) -> Any:
    first, stride, _ = rows
    return emitter.row_at(first, I64(index), stride)


def _row_or_zeros(emitter: Any, rows: list[Any], index: int) -> Any:
    """The first vector of a row; zeros if there is no such row. Row 0 is read then, since a read can't be skipped."""
    first, stride, n = rows
    exists = emitter.builder.icmp_signed("<", I64(index), n)
    here = emitter.builder.select(exists, I64(index), I64(0))
    vector = emitter.load(emitter.row_at(first, here, stride), 0)
    return emitter.builder.select(exists, vector, emitter.zeros)


@intrinsic
def prefetch(typingctx: Any, data: Any, index: Any) -> Any:
    """Ask for the ``PREFETCHED_LINES`` lines from ``data[index]`` on to be in L2 soon. Any address is allowed."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in range(PREFETCHED_LINES):
            here = builder.gep(pointer, [I64(line * LINE_BYTES)])
            builder.call(function, [here, I32(0), I32(2), I32(1)])  # to read, into L2, data
        return context.get_dummy_value()

    return types.void(data, types.int64), codegen
