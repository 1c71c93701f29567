"""Operations on single numbers. LLVM makes vector operations of them in loops that it vectorises."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils

from fastnn.runtime.compiler import intrinsic


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once: the same bits on every machine and at every vector width."""
    if not (isinstance(a, types.Float) and a == b == c):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, b, c), codegen


@intrinsic
def polynomial(typingctx: Any, table: Any, x: Any) -> Any:
    """``table[0] * x**n + ... + table[n]``, one `fma` a step: a Numba loop over the table isn't always unrolled."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, *others = cgutils.unpack_tuple(builder, args[0])
        for coefficient in others:
            value = builder.fma(value, args[1], coefficient)
        return value

    return x(table, x), codegen


@intrinsic
def float_bits(typingctx: Any, x: Any) -> Any:
    """The bits of a float32 or float64 number as an int32 or int64."""
    integer = {types.float32: types.int32, types.float64: types.int64}.get(x)
    return None if integer is None else _bitcast(x, integer)


@intrinsic
def bits_float(typingctx: Any, bits: Any) -> Any:
    """The float32 or float64 number with these bits (an int32 or int64)."""
    number = {types.int32: types.float32, types.int64: types.float64}.get(bits)
    return None if number is None else _bitcast(bits, number)


def _bitcast(source: Any, target: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(target))

    return target(source), codegen
