"""The register tile and the few machine operations that Numba has no name for.

This is the only file that speaks LLVM. Everything else is Numba code that calls `tile`, `fma`,
`float_bits` and `bits_float`.

Terms
-----
line
    64 bytes of a row: 16 float32 or 8 float64 numbers. Widths are padded to whole lines.
panel
    Two lines (the last panel of an odd number of lines has one) of every row of a matrix, stored one
    row after the other. Weights are kept in panels, so that a tile reads them front to back.
tile
    ``ROWS`` rows by one panel of the product, held in registers while the sum runs:

        for k in range(n_sum):                      # in index order: the order is a promise
            for r in range(ROWS):
                acc[r, :] = fma(left[r, k], right[k, :], acc[r, :])

The tile is 8 x 2 lines with AVX-512 (16 accumulators, 2 loads and 8 broadcasts for 16 multiply-adds),
6 x 1 line with AVX2 (12 accumulators), 6 x 1 line with NEON (24 accumulators). Neither the tile's shape nor the
vector width shows in a result: every element is one chain of fused multiply-adds in index order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

if TYPE_CHECKING:
    import numpy as np

LINE_BYTES = 64
PANEL_LINES = 2


class Shape(NamedTuple):
    """The tile that fits a processor: bytes of a vector register, rows, lines a tile covers at once."""

    vector_bytes: int
    rows: int
    lines: int


def host_features() -> str:
    """The processor features that Numba compiles for, as LLVM's ``+avx2,-avx512f,...``."""
    if config.CPU_FEATURES is not None:  # NUMBA_CPU_FEATURES; the name alone changes nothing here
        return str(config.CPU_FEATURES)
    return str(llvmlite.binding.get_host_cpu_features().flatten())


def choose_shape(features: str) -> Shape:
    """The tile for a processor with these features (LLVM's feature string)."""
    present = {name[1:] for name in features.split(",") if name.startswith("+")}
    if "avx512f" in present:
        return Shape(vector_bytes=64, rows=8, lines=2)
    if {"avx2", "fma"} <= present:
        return Shape(vector_bytes=32, rows=6, lines=1)
    return Shape(vector_bytes=16, rows=6, lines=1)


SHAPE = choose_shape(host_features())
ROWS = SHAPE.rows


class Out(NamedTuple):
    """Where a tile goes: `rows` (at most ``ROWS``) rows of `lines` lines, `stride` elements apart."""

    data: np.ndarray
    start: int
    stride: int
    rows: int
    lines: int


class Left(NamedTuple):
    """The broadcast operand: element (r, k) of it is ``data[start + r * row + k * step]``."""

    data: np.ndarray
    start: int
    row: int
    step: int


class Right(NamedTuple):
    """The vector operand: row k of it begins at ``data[start + k * stride]``."""

    data: np.ndarray
    start: int
    stride: int


class Init(NamedTuple):
    """The row that every accumulator starts from: the bias in F1, zeros elsewhere."""

    data: np.ndarray
    start: int


_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


class _Emitter:
    """Writes one tile's LLVM code: the operands as pointers, then the loop over the summed index."""

    def __init__(self, context: Any, builder: Any, element: Any, operands: list[Any]) -> None:
        self.builder = builder
        self.element = context.get_data_type(element)
        bits = element.bitwidth
        self.lanes = SHAPE.vector_bytes * 8 // bits
        self.vectors_per_line = LINE_BYTES // SHAPE.vector_bytes
        self.line_elements = LINE_BYTES * 8 // bits
        self.align = bits // 8
        self.vector = ir.VectorType(self.element, self.lanes)
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        # llvmlite's declare_intrinsic refuses vector types, so the name is spelled out.
        self.fma = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{self.lanes}f{bits}")
        self.out, self.left, self.right, self.init, self.n_sum = operands

    def at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.gep(pointer, [offset])

    def vector_at(self, pointer: Any, index: int) -> Any:
        here = self.at(pointer, _I64(index * self.lanes))
        return self.builder.bitcast(here, self.vector.as_pointer())

    def load(self, pointer: Any, index: int) -> Any:
        return self.builder.load(self.vector_at(pointer, index), align=self.align)

    def broadcast(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        first = self.builder.insert_element(undefined, scalar, _I32(0))
        return self.builder.shuffle_vector(first, undefined, zeros)

    def emit(self, lines: int, first_line: Any) -> None:
        """One tile of `lines` lines, beginning at `first_line` of the panel."""
        builder = self.builder
        n_vectors = lines * self.vectors_per_line
        column = builder.mul(first_line, _I64(self.line_elements))
        out, out_stride, n_rows = self.out
        left, left_row, left_step = self.left
        right, right_stride = self.right
        out, right, init = self.at(out, column), self.at(right, column), self.at(self.init[0], column)

        # A tile at the lower edge computes its last row again instead of reading outside, and stores it once.
        last = builder.sub(n_rows, _I64(1))
        rows = []
        for r in range(ROWS):
            inside = builder.icmp_signed("<", _I64(r), last)
            rows.append(self.at(left, builder.mul(builder.select(inside, _I64(r), last), left_row)))
        start = [self.load(init, v) for v in range(n_vectors)]

        before = builder.block
        loop, done = builder.append_basic_block("tile.sum"), builder.append_basic_block("tile.done")
        builder.cbranch(builder.icmp_signed(">", self.n_sum, _I64(0)), loop, done)

        builder.position_at_end(loop)
        k = builder.phi(_I64)
        acc = [[builder.phi(self.vector) for _ in range(n_vectors)] for _ in range(ROWS)]
        right_k = self.at(right, builder.mul(k, right_stride))
        left_k = builder.mul(k, left_step)
        vectors = [self.load(right_k, v) for v in range(n_vectors)]
        total = []
        for r in range(ROWS):
            x = self.broadcast(builder.load(self.at(rows[r], left_k)))
            total.append([builder.call(self.fma, [x, vectors[v], acc[r][v]]) for v in range(n_vectors)])
        k_next = builder.add(k, _I64(1))
        k.add_incoming(_I64(0), before)
        k.add_incoming(k_next, loop)
        for r in range(ROWS):
            for v in range(n_vectors):
                acc[r][v].add_incoming(start[v], before)
                acc[r][v].add_incoming(total[r][v], loop)
        builder.cbranch(builder.icmp_signed("<", k_next, self.n_sum), loop, done)

        builder.position_at_end(done)
        result: list[list[Any]] = []
        for r in range(ROWS):
            result.append([])
            for v in range(n_vectors):
                value = builder.phi(self.vector)
                value.add_incoming(start[v], before)
                value.add_incoming(total[r][v], loop)
                result[r].append(value)
        for r in range(ROWS):
            with builder.if_then(builder.icmp_signed("<", _I64(r), n_rows)):
                row = self.at(out, builder.mul(_I64(r), out_stride))
                for v in range(n_vectors):
                    builder.store(result[r][v], self.vector_at(row, v), align=self.align)


@intrinsic  # type: ignore[untyped-decorator]
def tile(typingctx: Any, out: Any, left: Any, right: Any, init: Any, n_sum: Any) -> Any:
    """Write ``out[r, :] = init + sum_k left[r, k] * right[k, :]``, each element one chain in order of k.

    Parameters
    ----------
    out : Out
    left : Left
    right : Right
    init : Init
    n_sum : int64
        The number of summed terms; 0 copies `init`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def operand(index: int) -> list[Any]:
            tuple_type = signature.args[index]
            fields = cgutils.unpack_tuple(builder, args[index], len(tuple_type))
            # Pointers come from the array itself and move by GEP only: integer addresses can be miscompiled.
            array = context.make_array(tuple_type[0])(context, builder, fields[0])
            return [builder.gep(array.data, [fields[1]]), *fields[2:]]

        out_pointer, out_stride, n_rows, lines = operand(0)
        operands = [[out_pointer, out_stride, n_rows], operand(1), operand(2), operand(3), args[4]]
        emitter = _Emitter(context, builder, signature.args[0][0].dtype, operands)
        if SHAPE.lines == PANEL_LINES:
            whole = builder.icmp_signed("==", lines, _I64(PANEL_LINES))
            with builder.if_else(whole) as (panel, line):
                with panel:
                    emitter.emit(PANEL_LINES, _I64(0))
                with line:
                    emitter.emit(1, _I64(0))
        else:
            with cgutils.for_range(builder, lines) as loop:
                emitter.emit(1, loop.index)
        return context.get_dummy_value()

    return types.void(out, left, right, init, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once: the same bits on every machine and at every vector width."""
    if not (isinstance(a, types.Float) and a == b == c):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, b, c), codegen


@intrinsic  # type: ignore[untyped-decorator]
def polynomial(typingctx: Any, table: Any, x: Any) -> Any:
    """``table[0] * x**n + ... + table[n]``, one `fma` a step: a Numba loop over the table isn't always unrolled."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, *others = cgutils.unpack_tuple(builder, args[0])
        for coefficient in others:
            value = builder.fma(value, args[1], coefficient)
        return value

    return x(table, x), codegen


@intrinsic  # type: ignore[untyped-decorator]
def float_bits(typingctx: Any, x: Any) -> Any:
    """The bits of a float32 or float64 number as an int32 or int64."""
    integer = {types.float32: types.int32, types.float64: types.int64}.get(x)
    return None if integer is None else _bitcast(x, integer)


@intrinsic  # type: ignore[untyped-decorator]
def bits_float(typingctx: Any, bits: Any) -> Any:
    """The float32 or float64 number with these bits (an int32 or int64)."""
    number = {types.int32: types.float32, types.int64: types.float64}.get(bits)
    return None if number is None else _bitcast(bits, number)


def _bitcast(source: Any, target: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(target))

    return target(source), codegen
