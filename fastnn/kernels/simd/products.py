"""Blocks of matrix products: the register tile and its relatives.

Each element of a product is one chain: a sum of fused multiply-adds in index order (see the package's glossary).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils

from fastnn.kernels.simd.emitter import I64
from fastnn.kernels.simd.operands import Operands
from fastnn.kernels.simd.shape import PANEL_LINES, ROW_PANELS, ROWS, SHAPE
from fastnn.runtime.compiler import intrinsic

# What is stored for a sum, given the sum and a pointer to its place in the output.
Result = Callable[[Any, Any], Any]


@intrinsic
def tile(typingctx: Any, out: Any, left: Any, right: Any, init: Any, n_sum: Any) -> Any:
    """Write ``out[r, :] = init + sum_k left[r, k] * right[k, :]``, each element one chain in order of k.

    Parameters
    ----------
    out : Out
    left : Left or LeftColumns
    right : Right
    init : Init or InitColumn
    n_sum : int64
        The number of summed terms; 0 copies `init`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = Operands(context, builder, signature, args)
        _Tile(operands, operands.operand(3), args[4], lambda total, place: total).emit()
        return context.get_dummy_value()

    return types.void(out, left, right, init, types.int64), codegen


@intrinsic
def tile_step(typingctx: Any, out: Any, left: Any, right: Any, n_sum: Any, step: Any) -> Any:
    """Write ``out[r, :] -= step * sum_k left[r, k] * right[k, :]``: `tile` from zeros, and U1 while it is in registers.

    Parameters
    ----------
    out, left, right, n_sum
        As for `tile`.
    step : float
        Its dtype is that of `out`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = Operands(context, builder, signature, args)
        emitter = operands.emitter
        down = emitter.broadcast(builder.fneg(args[4]))

        def stepped(total: Any, place: Any) -> Any:
            return emitter.fma(down, total, builder.load(place, align=emitter.align))

        _Tile(operands, None, args[3], stepped).emit()
        return context.get_dummy_value()

    return types.void(out, left, right, types.int64, step), codegen


class _Tile:
    """Writes the code of a tile with any number of rows and lines."""

    def __init__(self, operands: Operands, init: list[Any] | None, n_sum: Any, result: Result) -> None:
        self.builder, self.emitter = operands.builder, operands.emitter
        self.init, self.n_sum, self.result = init, n_sum, result
        self.out, self.stride, self.n_rows, self.n_lines = operands.operand(0)
        self.left, *steps = operands.operand(1)
        self.row, self.step = steps if len(steps) == 2 else (I64(1), steps[0])
        self.right, self.right_stride = operands.operand(2)
        self._check(operands)

    def emit(self) -> None:
        builder = self.builder
        if SHAPE.lines == PANEL_LINES:
            with builder.if_else(builder.icmp_signed("==", self.n_lines, I64(PANEL_LINES))) as (panel, line):
                with panel:
                    self._rows_of(PANEL_LINES, I64(0))
                with line:
                    self._rows_of(1, I64(0))
        else:
            with cgutils.for_range(builder, self.n_lines) as loop:
                self._rows_of(1, loop.index)

    def _check(self, operands: Operands) -> None:
        width = self.builder.mul(self.n_lines, I64(self.emitter.line_elements))
        operands.check(0, width, (self.n_rows, self.stride))
        operands.check(1, I64(1), (self.n_rows, self.row), (self.n_sum, self.step))
        operands.check(2, width, (self.n_sum, self.right_stride))
        if self.init is not None:
            extent = (I64(1), (self.n_rows, self.init[1])) if self.init[1:] else (width,)
            operands.check(3, *extent)

    def _rows_of(self, n_lines: int, first_line: Any) -> None:
        """These lines of all rows, in a block of the least size that has room for the rows."""
        builder, n_rows = self.builder, self.n_rows
        with builder.if_else(builder.icmp_signed("==", n_rows, I64(ROWS))) as (full, part):
            with full:
                self._block(ROWS, n_lines, first_line, True)
            with part, builder.if_else(builder.icmp_signed(">", n_rows, I64(ROWS // 2))) as (most, few):
                with most:
                    self._block(ROWS, n_lines, first_line, False)
                with few:
                    self._block(ROWS // 2, n_lines, first_line, False)

    def _block(self, rows: int, n_lines: int, first_line: Any, whole: bool) -> None:
        """A block of this many rows and lines; unless it is `whole`, only some of its rows exist."""
        builder, emitter = self.builder, self.emitter
        column = builder.mul(first_line, I64(emitter.line_elements))
        n_vectors = n_lines * emitter.vectors_per_line
        indices = [I64(r) for r in range(rows)]
        if not whole:
            # The last existing row is computed in the place of those that don't exist: nothing outside is read.
            last = builder.sub(self.n_rows, I64(1))
            indices = [emitter.minimum(r, last) for r in indices]
        pointers = [emitter.row_at(self.left, r, self.row) for r in indices]
        here = (emitter.at(self.right, column), self.right_stride)
        sums = emitter.sum(pointers, self.step, [here], self._start(indices, column, n_vectors), self.n_sum)
        for r in range(rows):
            target = emitter.row_at(emitter.at(self.out, column), I64(r), self.stride)
            if whole:
                self._store(sums[r], target)
            else:
                with builder.if_then(builder.icmp_signed("<", I64(r), self.n_rows)):
                    self._store(sums[r], target)

    def _start(self, rows: list[Any], column: Any, n_vectors: int) -> list[list[Any]]:
        """What the accumulators of these rows, from this column on, begin with."""
        emitter = self.emitter
        if self.init is None:
            return [[emitter.zeros] * n_vectors] * len(rows)
        pointer, *step = self.init
        if step:
            places = [emitter.row_at(pointer, r, step[0]) for r in rows]
            return [[emitter.broadcast(self.builder.load(place))] * n_vectors for place in places]
        return [[emitter.load(emitter.at(pointer, column), v) for v in range(n_vectors)]] * len(rows)

    def _store(self, sums: list[Any], target: Any) -> None:
        for v, total in enumerate(sums):
            self.emitter.store(self.result(total, self.emitter.vector_at(target, v)), target, v)


@intrinsic
def row_tile(typingctx: Any, out: Any, left: Any, right: Any, apart: Any, init: Any, n_sum: Any) -> Any:
    """`tile` for one row and ``ROW_PANELS`` panels.

    Parameters
    ----------
    out : Out
        One row; its fields `rows` and `lines` aren't read.
    left : Left
    right : Right
        The first panel.
    apart : int64
        The distance in elements from one panel's beginning to the next one's.
    init : Init
    n_sum : int64
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = Operands(context, builder, signature, args)
        emitter = operands.emitter
        out, *_ = operands.operand(0)
        left, _, step = operands.operand(1)
        right, stride = operands.operand(2)
        (first,) = operands.operand(4)
        n_vectors = ROW_PANELS * PANEL_LINES * emitter.vectors_per_line
        panel = I64(PANEL_LINES * emitter.line_elements)
        operands.check(0, builder.mul(panel, I64(ROW_PANELS)))
        operands.check(1, I64(1), (args[5], step))
        operands.check(2, panel, (args[5], stride), (I64(ROW_PANELS), args[3]))
        operands.check(4, builder.mul(panel, I64(ROW_PANELS)))
        rights = [(emitter.row_at(right, I64(p), args[3]), stride) for p in range(ROW_PANELS)]
        start = [emitter.load(first, v) for v in range(n_vectors)]
        for v, total in enumerate(emitter.sum([left], step, rights, [start], args[5])[0]):
            emitter.store(total, out, v)
        return context.get_dummy_value()

    return types.void(out, left, right, types.int64, init, types.int64), codegen


@intrinsic
def sparse_tile(typingctx: Any, out: Any, entries: Any, right: Any, apart: Any, init: Any) -> Any:
    """Write ``out[:] = init + sum_e values[e] * right[indices[e], :]``, each element one chain in order of e.

    That is `tile` of one row without the terms that are 0. These add nothing, so the bits are the same, except for the
    sign of a zero.

    Parameters
    ----------
    out : Out
        One row of 1 line, or of whole panels (at most ``ROW_PANELS``) that begin `stride` elements apart.
    entries : Entries
    right : Right
        The first panel. Its rows may also be parts of longer rows; the field `stride` is the distance between them.
    apart : int64
        The distance in elements from one panel's beginning to the next one's.
    init : Init
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _SparseTile(Operands(context, builder, signature, args), args[3]).emit()
        return context.get_dummy_value()

    return types.void(out, entries, right, types.int64, init), codegen


class _SparseTile:
    """Writes the code of a sparse row's tile."""

    def __init__(self, operands: Operands, apart: Any) -> None:
        self.builder, self.emitter = operands.builder, operands.emitter
        self.out, self.out_apart, _, self.n_lines = operands.operand(0)
        self.right, self.stride = operands.operand(2)
        self.apart = apart
        (self.init,) = operands.operand(4)
        self.entries = operands.entries(1)
        self._check(operands)

    def emit(self) -> None:
        sizes = [(1, 1)] + [(n_panels, PANEL_LINES) for n_panels in range(1, ROW_PANELS + 1)]
        for n_panels, lines in sizes:
            with self.builder.if_then(self.builder.icmp_signed("==", self.n_lines, I64(n_panels * lines))):
                self._block(n_panels, lines)

    def _check(self, operands: Operands) -> None:
        builder = self.builder
        width = builder.mul(self.n_lines, I64(self.emitter.line_elements))
        panel = I64(PANEL_LINES * self.emitter.line_elements)
        n_panels = builder.sdiv(builder.add(width, builder.sub(panel, I64(1))), panel)
        operands.check(0, self.emitter.minimum(width, panel), (n_panels, self.out_apart))
        operands.check(4, width)

    def _block(self, n_panels: int, lines: int) -> None:
        """The whole row: this many panels, each of this many lines."""
        emitter = self.emitter
        n_vectors = lines * emitter.vectors_per_line
        panels = [emitter.row_at(self.right, I64(p), self.apart) for p in range(n_panels)]
        start = [emitter.load(self.init, v) for v in range(n_panels * n_vectors)]
        sums = emitter.sparse_sum(self.entries, panels, self.stride, start)
        for v, total in enumerate(sums):
            place = emitter.row_at(self.out, I64(v // n_vectors), self.out_apart)
            emitter.store(total, place, v % n_vectors)
