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

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, register_jitable

from fastnn.runtime.machine import host_features, vector_bytes
from fastnn.runtime.region import trap

if TYPE_CHECKING:
    import numpy as np

LINE_BYTES = 64
PANEL_LINES = 2


class Shape(NamedTuple):
    """The tile that fits a processor: bytes of a vector register, rows, lines a tile covers at once."""

    vector_bytes: int
    rows: int
    lines: int


def choose_shape(features: str) -> Shape:
    """The tile for a processor with these features (LLVM's feature string)."""
    width = vector_bytes(features)
    return Shape(width, rows=8, lines=2) if width == 64 else Shape(width, rows=6, lines=1)


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


class LeftColumns(NamedTuple):
    """The broadcast operand transposed: element (r, k) of it is ``data[start + r + k * step]``."""

    data: np.ndarray
    start: int
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


class InitColumn(NamedTuple):
    """The column that the accumulators start from: all of row r from ``data[start + r * step]``."""

    data: np.ndarray
    start: int
    step: int


_I64 = ir.IntType(64)
_I32 = ir.IntType(32)

# The end of a tile: what becomes of the sum of row r, vector v, whose place in the output is `pointer`.
_End = Callable[[Any, Any], Any]


class _Emitter:
    """Writes one tile's LLVM code: the operands as pointers, then the loop over the summed index."""

    def __init__(self, context: Any, builder: Any, element: Any) -> None:
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
        self.fused = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{self.lanes}f{bits}")

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self.fused, [a, b, c])

    def at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.gep(pointer, [offset])

    def vector_at(self, pointer: Any, index: int) -> Any:
        here = self.at(pointer, _I64(index * self.lanes))
        return self.builder.bitcast(here, self.vector.as_pointer())

    def load(self, pointer: Any, index: int) -> Any:
        return self.builder.load(self.vector_at(pointer, index), align=self.align)

    def store(self, value: Any, pointer: Any, index: int) -> None:
        self.builder.store(value, self.vector_at(pointer, index), align=self.align)

    def broadcast(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        first = self.builder.insert_element(undefined, scalar, _I32(0))
        return self.builder.shuffle_vector(first, undefined, zeros)

    def sum(self, left: list[Any], step: Any, rights: list[Any], start: list[list[Any]], n_sum: Any) -> list[list[Any]]:
        """The sums over k, for each of the rows whose first element is at `left` and each vector of their `start`.

        `rights` are side by side, as many vectors of each: pointers, and the distance of their rows.
        """
        builder = self.builder
        n_rows, n_vectors = len(left), len(start[0])
        before = builder.block
        loop, done = builder.append_basic_block("tile.sum"), builder.append_basic_block("tile.done")
        builder.cbranch(builder.icmp_signed(">", n_sum, _I64(0)), loop, done)

        builder.position_at_end(loop)
        k = builder.phi(_I64)
        acc = [[builder.phi(self.vector) for _ in range(n_vectors)] for _ in range(n_rows)]
        left_k = builder.mul(k, step)
        vectors = []
        for pointer, stride in rights:
            right_k = self.at(pointer, builder.mul(k, stride))
            vectors += [self.load(right_k, v) for v in range(n_vectors // len(rights))]
        total = []
        for r in range(n_rows):
            x = self.broadcast(builder.load(self.at(left[r], left_k)))
            total.append([self.fma(x, vectors[v], acc[r][v]) for v in range(n_vectors)])
        k_next = builder.add(k, _I64(1))
        k.add_incoming(_I64(0), before)
        k.add_incoming(k_next, loop)
        for r in range(n_rows):
            for v in range(n_vectors):
                acc[r][v].add_incoming(start[r][v], before)
                acc[r][v].add_incoming(total[r][v], loop)
        builder.cbranch(builder.icmp_signed("<", k_next, n_sum), loop, done)

        builder.position_at_end(done)
        result: list[list[Any]] = []
        for r in range(n_rows):
            result.append([])
            for v in range(n_vectors):
                value = builder.phi(self.vector)
                value.add_incoming(start[r][v], before)
                value.add_incoming(total[r][v], loop)
                result[r].append(value)
        return result

    def sparse_sum(self, entries: list[Any], panels: list[Any], stride: Any, start: list[Any]) -> list[Any]:
        """The sum over a sparse row's entries (values, indices, their number), which begins with these vectors.

        Row `index` of each of the `panels`, which hold as many vectors each, is `stride` elements after the other.
        """
        builder = self.builder
        values, indices, n = entries
        before = builder.block
        loop, done = builder.append_basic_block("sparse.sum"), builder.append_basic_block("sparse.done")
        builder.cbranch(builder.icmp_signed(">", n, _I64(0)), loop, done)

        builder.position_at_end(loop)
        e = builder.phi(_I64)
        acc = [builder.phi(self.vector) for _ in start]
        x = self.broadcast(builder.load(self.at(values, e)))
        offset = builder.mul(builder.sext(builder.load(self.at(indices, e)), _I64), stride)
        rows = [self.at(panel, offset) for panel in panels]
        vectors = [self.load(row, v) for row in rows for v in range(len(start) // len(panels))]
        total = [self.fma(x, vector, sums) for vector, sums in zip(vectors, acc, strict=True)]
        following = builder.add(e, _I64(1))
        e.add_incoming(_I64(0), before)
        e.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, n), loop, done)

        builder.position_at_end(done)
        result = [builder.phi(self.vector) for _ in start]
        for first, sums, new, value in zip(start, acc, total, result, strict=True):
            sums.add_incoming(first, before)
            sums.add_incoming(new, loop)
            value.add_incoming(first, before)
            value.add_incoming(new, loop)
        return result

    def dots(self, left: list[Any], right: list[Any], n_lines: Any) -> list[list[Any]]:
        """The lane sums of left[r] * right[c] over the lines, each a list of vectors, c faster than r.

        Without `right` they are those of left[r].
        """
        builder, n_vectors = self.builder, self.vectors_per_line
        before, loop, done = builder.block, builder.append_basic_block("dots"), builder.append_basic_block("dots.done")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(_I64)
        index.add_incoming(_I64(0), before)
        acc = [[builder.phi(self.vector) for _ in range(n_vectors)] for _ in range(len(left) * max(1, len(right)))]
        offset = builder.mul(index, _I64(self.line_elements))
        a, b = (
            [[self.load(self.at(row, offset), v) for v in range(n_vectors)] for row in rows] for rows in (left, right)
        )
        ones = [ir.Constant(self.vector, [1.0] * self.lanes)] * n_vectors
        pairs = [(x, y) for x in a for y in (b or [ones])]
        total = [
            [self.fma(x[v], y[v], sums[v]) for v in range(n_vectors)] for (x, y), sums in zip(pairs, acc, strict=True)
        ]
        zeros = ir.Constant(self.vector, [0.0] * self.lanes)
        following = builder.add(index, _I64(1))
        index.add_incoming(following, loop)
        for sums, new in zip(acc, total, strict=True):
            for v in range(n_vectors):
                sums[v].add_incoming(zeros, before)
                sums[v].add_incoming(new[v], loop)
        builder.cbranch(builder.icmp_signed("<", following, n_lines), loop, done)
        builder.position_at_end(done)
        return total

    def fold(self, lines: list[list[Any]]) -> Any:
        """A vector whose lane i is the sum of line i's numbers: halves are added to one another, their halves, ..."""
        halves = lines
        while len(halves[0]) > 1:
            middle = len(halves[0]) // 2
            halves = [[self.builder.fadd(a, b) for a, b in zip(v[:middle], v[middle:], strict=True)] for v in halves]
        vectors = [v[0] for v in halves]
        n = self.lanes  # numbers of each sum that are left
        while n > 1:
            # Each vector holds the n numbers of each of `lanes / n` sums; two make one with half of them.
            others = vectors[len(vectors) // 2 :] if len(vectors) > 1 else vectors
            vectors = [self._fold(a, b, n) for a, b in zip(vectors[: max(1, len(vectors) // 2)], others, strict=True)]
            n //= 2
        return vectors[0]

    def _fold(self, a: Any, b: Any, n: int) -> Any:
        first: list[int] = []
        second: list[int] = []
        for source in (0, self.lanes):
            for i in range(0, self.lanes, n):
                first += range(source + i, source + i + n // 2)
                second += range(source + i + n // 2, source + i + n)
        return self.builder.fadd(self.shuffle(a, b, first), self.shuffle(a, b, second))

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


class _Tile:
    """One tile's operands, taken apart."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.args = signature.args, args
        self.emitter = _Emitter(context, builder, signature.args[0][0].dtype)

    def operand(self, index: int) -> list[Any]:
        """A tuple (array, start, ...) as a pointer and the rest."""
        tuple_type = self.types[index]
        fields = cgutils.unpack_tuple(self.builder, self.args[index], len(tuple_type))
        # Pointers come from the array itself and move by GEP only: integer addresses can be miscompiled.
        array = self.context.make_array(tuple_type[0])(self.context, self.builder, fields[0])
        return [self.builder.gep(array.data, [fields[1]]), *fields[2:]]

    def check(self, index: int, n: Any, *steps: tuple[Any, Any]) -> None:
        """In a build with bounds checks, end the process unless the operand's elements lie in its array.

        These are `n` from its start on, and as many after each of so many steps: ``(count, step)``.
        """
        if not config.BOUNDSCHECK:
            return
        builder = self.builder
        fields = cgutils.unpack_tuple(builder, self.args[index], len(self.types[index]))
        array = self.context.make_array(self.types[index][0])(self.context, builder, fields[0])
        first, last = fields[1], builder.add(fields[1], n)
        touched = builder.icmp_signed(">", n, _I64(0))
        for count, step in steps:
            last = builder.add(last, builder.mul(builder.sub(count, _I64(1)), step))
            touched = builder.and_(touched, builder.icmp_signed(">", count, _I64(0)))
        with builder.if_then(touched):
            self.check_range(index, first, last, array)

    def check_range(self, index: int, first: Any, last: Any, array: Any) -> None:
        """In a build with bounds checks, end the process unless `first` to `last` - 1 lie in an operand's array."""
        if not config.BOUNDSCHECK:
            return
        builder = self.builder
        outside = builder.or_(builder.icmp_signed("<", first, _I64(0)), builder.icmp_signed(">", last, array.nitems))
        with builder.if_then(outside):
            place = f"fastnn: operand {index} of a tile reaches from %lld to %lld of %lld\n"
            cgutils.printf(builder, place, first, last, array.nitems)
            trap(builder)

    def start(self, init: Any, rows: list[Any], column: Any, n_vectors: int) -> list[list[Any]]:
        """What the accumulators of these rows, from this column on, begin with."""
        emitter, builder = self.emitter, self.builder
        if init is None:
            return [[ir.Constant(emitter.vector, [0.0] * emitter.lanes)] * n_vectors] * len(rows)
        pointer, *init_step = init
        if init_step:
            places = [emitter.at(pointer, builder.mul(r, init_step[0])) for r in rows]
            return [[emitter.broadcast(builder.load(place))] * n_vectors for place in places]
        return [[emitter.load(emitter.at(pointer, column), v) for v in range(n_vectors)]] * len(rows)

    def emit(self, init: Any, n_sum: Any, end: _End) -> None:
        """The tile for any number of rows and lines; `end` makes an output from a sum and the place it goes to."""
        builder = self.builder
        out, stride, n_rows, lines = self.operand(0)
        left, *steps = self.operand(1)
        row, step = steps if len(steps) == 2 else (_I64(1), steps[0])
        right = self.operand(2)
        width = builder.mul(lines, _I64(self.emitter.line_elements))
        touched = [(width, (n_rows, stride)), (_I64(1), (n_rows, row), (n_sum, step)), (width, (n_sum, right[1]))]
        if init is not None:
            touched.append((_I64(1), (n_rows, init[1])) if init[1:] else (width,))
        for index, extent in enumerate(touched):
            self.check(index, *extent)

        def block(rows: int, n_lines: int, first_line: Any, whole: bool) -> None:
            emitter = self.emitter
            column = builder.mul(first_line, _I64(emitter.line_elements))
            n_vectors = n_lines * emitter.vectors_per_line
            # A tile at the lower edge computes its last row again instead of reading outside, and stores it once.
            last = builder.sub(n_rows, _I64(1))
            indices = [_I64(r) for r in range(rows)]
            if not whole:
                indices = [builder.select(builder.icmp_signed("<", r, last), r, last) for r in indices]
            pointers = [emitter.at(left, builder.mul(r, row)) for r in indices]
            here = (emitter.at(right[0], column), right[1])
            sums = emitter.sum(pointers, step, [here], self.start(init, indices, column, n_vectors), n_sum)
            for r in range(rows):
                target = emitter.at(emitter.at(out, column), builder.mul(_I64(r), stride))

                def finish(r: int = r, target: Any = target) -> None:
                    for v in range(n_vectors):
                        emitter.store(end(sums[r][v], emitter.vector_at(target, v)), target, v)

                if whole:
                    finish()
                else:
                    with builder.if_then(builder.icmp_signed("<", _I64(r), n_rows)):
                        finish()

        def rows_of(n_lines: int, first_line: Any) -> None:
            with builder.if_else(builder.icmp_signed("==", n_rows, _I64(ROWS))) as (full, part):
                with full:
                    block(ROWS, n_lines, first_line, True)
                with part, builder.if_else(builder.icmp_signed(">", n_rows, _I64(ROWS // 2))) as (most, few):
                    with most:
                        block(ROWS, n_lines, first_line, False)
                    with few:
                        block(ROWS // 2, n_lines, first_line, False)

        if SHAPE.lines == PANEL_LINES:
            with builder.if_else(builder.icmp_signed("==", lines, _I64(PANEL_LINES))) as (panel, line):
                with panel:
                    rows_of(PANEL_LINES, _I64(0))
                with line:
                    rows_of(1, _I64(0))
        else:
            with cgutils.for_range(builder, lines) as loop:
                rows_of(1, loop.index)


@intrinsic  # type: ignore[untyped-decorator]
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
        parts = _Tile(context, builder, signature, args)
        parts.emit(parts.operand(3), args[4], lambda total, pointer: total)
        return context.get_dummy_value()

    return types.void(out, left, right, init, types.int64), codegen


# A single row has too few sums of one panel to keep the multipliers busy: it takes several panels at once.
ROW_PANELS = 4 if SHAPE.lines == PANEL_LINES else 2


@intrinsic  # type: ignore[untyped-decorator]
def row_tile(typingctx: Any, out: Any, left: Any, right: Any, apart: Any, init: Any, n_sum: Any) -> Any:
    """`tile` for one row and ``ROW_PANELS`` panels.

    Parameters
    ----------
    out : Out
        With its rows and lines as these are.
    left : Left
    right : Right
        The first panel.
    apart : int64
        How many elements further the next panel begins.
    init : Init
    n_sum : int64
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _Tile(context, builder, signature, args)
        emitter = parts.emitter
        out, *_ = parts.operand(0)
        left, _, step = parts.operand(1)
        right, stride = parts.operand(2)
        (first,) = parts.operand(4)
        n_vectors = ROW_PANELS * PANEL_LINES * emitter.vectors_per_line
        panel = _I64(PANEL_LINES * emitter.line_elements)
        parts.check(0, builder.mul(panel, _I64(ROW_PANELS)))
        parts.check(1, _I64(1), (args[5], step))
        parts.check(2, panel, (args[5], stride), (_I64(ROW_PANELS), args[3]))
        parts.check(4, builder.mul(panel, _I64(ROW_PANELS)))
        rights = [(emitter.at(right, builder.mul(_I64(p), args[3])), stride) for p in range(ROW_PANELS)]
        start = [emitter.load(first, v) for v in range(n_vectors)]
        for v, total in enumerate(emitter.sum([left], step, rights, [start], args[5])[0]):
            emitter.store(total, out, v)
        return context.get_dummy_value()

    return types.void(out, left, right, types.int64, init, types.int64), codegen


class Entries(NamedTuple):
    """A sparse row: ``values[start + e]`` in column ``indices[start + e]`` (int32), for e from 0 to n - 1."""

    values: np.ndarray
    indices: np.ndarray
    start: int
    n: int


@intrinsic  # type: ignore[untyped-decorator]
def sparse_tile(typingctx: Any, out: Any, entries: Any, right: Any, apart: Any, init: Any) -> Any:
    """Write ``out[:] = init + sum_e values[e] * right[indices[e], :]``, each element one chain in order of e.

    That is `tile` of one row without the terms that are 0, which add nothing: the same bits, but for a zero's sign.

    Parameters
    ----------
    out : Out
        One row of 1 line, or of whole panels, at most ``ROW_PANELS`` of them, which begin `stride` elements apart.
    entries : Entries
    right : Right
        The first panel, or rows of anything else.
    apart : int64
        How many elements further the next panel begins.
    init : Init
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _Tile(context, builder, signature, args)
        emitter = parts.emitter
        out, out_apart, _, n_lines = parts.operand(0)
        right, stride = parts.operand(2)
        (first,) = parts.operand(4)
        row = cgutils.unpack_tuple(builder, args[1], 4)
        arrays = [
            context.make_array(kind)(context, builder, array)
            for kind, array in zip(signature.args[1][:2], row[:2], strict=True)
        ]
        values, indices = (builder.gep(array.data, [row[2]]) for array in arrays)
        width = builder.mul(n_lines, _I64(emitter.line_elements))
        panel = _I64(PANEL_LINES * emitter.line_elements)
        narrow = builder.icmp_signed("<", width, panel)
        panels_out = builder.sdiv(builder.add(width, builder.sub(panel, _I64(1))), panel)
        parts.check(0, builder.select(narrow, width, panel), (panels_out, out_apart))
        for array in arrays:
            parts.check_range(1, row[2], builder.add(row[2], row[3]), array)
        parts.check(4, width)

        def block(n_panels: int, lines: int) -> None:
            n_vectors = lines * emitter.vectors_per_line
            panels = [emitter.at(right, builder.mul(_I64(p), args[3])) for p in range(n_panels)]
            start = [emitter.load(first, v) for v in range(n_panels * n_vectors)]
            sums = emitter.sparse_sum([values, indices, row[3]], panels, stride, start)
            for v, total in enumerate(sums):
                place = emitter.at(out, builder.mul(_I64(v // n_vectors), out_apart))
                emitter.store(total, place, v % n_vectors)

        with builder.if_then(builder.icmp_signed("==", n_lines, _I64(1))):
            block(1, 1)
        for n_panels in range(1, ROW_PANELS + 1):
            with builder.if_then(builder.icmp_signed("==", n_lines, _I64(n_panels * PANEL_LINES))):
                block(n_panels, PANEL_LINES)
        return context.get_dummy_value()

    return types.void(out, entries, right, types.int64, init), codegen


@intrinsic  # type: ignore[untyped-decorator]
def tile_step(typingctx: Any, out: Any, left: Any, right: Any, n_sum: Any, step: Any) -> Any:
    """Write ``out[r, :] -= step * sum_k left[r, k] * right[k, :]``: `tile` from zeros, and U1 while it is in registers.

    Parameters
    ----------
    out : Out
    left : Left or LeftColumns
    right : Right
    n_sum : int64
    step : float
        Of the dtype of `out`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _Tile(context, builder, signature, args)
        emitter = parts.emitter
        down = emitter.broadcast(builder.fneg(args[4]))

        def end(total: Any, pointer: Any) -> Any:
            return emitter.fma(down, total, builder.load(pointer, align=emitter.align))

        parts.emit(None, args[3], end)
        return context.get_dummy_value()

    return types.void(out, left, right, types.int64, step), codegen


@register_jitable  # type: ignore[untyped-decorator]
def lanes_of(itemsize: int) -> int:
    """How many numbers of so many bytes a vector register holds."""
    return SHAPE.vector_bytes // itemsize


@register_jitable  # type: ignore[untyped-decorator]
def dot_shape(lanes: int) -> tuple[int, int]:
    """How many rows of the two operands `dots` takes, for so many numbers in a vector: as many sums as lanes."""
    n_rows = 4 if lanes >= 8 else 2
    return n_rows, lanes // n_rows


class Rows(NamedTuple):
    """Rows of whole lines: row r begins at ``data[start + r * stride]``, and `n` of them count."""

    data: np.ndarray
    start: int
    stride: int
    n: int


@intrinsic  # type: ignore[untyped-decorator]
def dots(typingctx: Any, out: Any, left: Any, right: Any, n_lines: Any) -> Any:
    """Add ``sum_i left[r, i] * right[c, i]`` to ``out[r, c]``, for as many rows r and c as `dot_shape` says.

    Lane i of a line is a chain of fused multiply-adds over the lines, in order; the lanes are added in a fixed tree:
    the second half to the first, and so on.

    Parameters
    ----------
    out : Rows
        Row r of the results, from column 0 on.
    left : Rows
    right : Rows
    n_lines : int64
        At least 1.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _Tile(context, builder, signature, args)
        emitter = parts.emitter
        out, out_stride, _ = parts.operand(0)
        pointers, counts = [], []
        n_rows, n_columns = dot_shape(emitter.lanes)
        for index, most in ((1, n_rows), (2, n_columns)):
            start, stride, n = parts.operand(index)
            last = builder.sub(n, _I64(1))
            rows = [builder.select(builder.icmp_signed("<", _I64(r), last), _I64(r), last) for r in range(most)]
            counts.append(n)
            parts.check(index, builder.mul(args[3], _I64(emitter.line_elements)), (n, stride))
            pointers.append([emitter.at(start, builder.mul(r, stride)) for r in rows])
        written = [
            builder.select(builder.icmp_signed("<", n, _I64(most)), n, _I64(most))
            for n, most in zip(counts, (n_rows, n_columns), strict=True)
        ]
        parts.check(0, written[1], (written[0], out_stride))
        lines = emitter.dots(pointers[0], pointers[1], args[3])
        # `fold` leaves the sums in the order of reversed bits.
        bits = emitter.lanes.bit_length() - 1
        total = emitter.fold([lines[int(f"{i:0{bits}b}"[::-1], 2)] for i in range(emitter.lanes)])
        for r in range(n_rows):
            with builder.if_then(builder.icmp_signed("<", _I64(r), counts[0])):
                for c in range(n_columns):
                    with builder.if_then(builder.icmp_signed("<", _I64(c), counts[1])):
                        place = emitter.at(emitter.at(out, builder.mul(_I64(r), out_stride)), _I64(c))
                        value = builder.extract_element(total, _I32(r * n_columns + c))
                        builder.store(builder.fadd(builder.load(place), value), place)
        return context.get_dummy_value()

    return types.void(out, left, right, types.int64), codegen


class Lines(NamedTuple):
    """The numbers of `n` whole lines, from ``data[start]`` on."""

    data: np.ndarray
    start: int
    n: int


def _added_up(typingctx: Any, *lines: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _Tile(context, builder, signature, args)
        emitter = parts.emitter
        operands = [parts.operand(index) for index in range(len(args))]
        for index, (_, n) in enumerate(operands):
            parts.check(index, builder.mul(n, _I64(emitter.line_elements)))
        (left, n_lines), *right = operands
        sums = emitter.dots([left], [pointer for pointer, _ in right], n_lines)
        return builder.extract_element(emitter.fold(sums), _I32(0))

    return lines[0][0].dtype(*lines), codegen


@intrinsic  # type: ignore[untyped-decorator]
def line_sum(typingctx: Any, x: Any) -> Any:
    """``sum_i x[i]`` over `Lines`, at least 1, in the order of `dots`."""
    return _added_up(typingctx, x)


@intrinsic  # type: ignore[untyped-decorator]
def line_dot(typingctx: Any, x: Any, y: Any) -> Any:
    """``sum_i x[i] * y[i]`` over two times as many `Lines`, at least 1, in the order of `dots`."""
    return _added_up(typingctx, x, y)


@intrinsic  # type: ignore[untyped-decorator]
def transpose_block(typingctx: Any, out: Any, rows: Any) -> Any:
    """Write ``out[c, r] = rows[r, c]`` for one vector of columns c and one of rows r; 0 for the rows that don't exist.

    Whole vectors are read and written: both operands' rows must have room for one.

    Parameters
    ----------
    out : Rows
        At most one vector's number of them is written.
    rows : Rows
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = _Tile(context, builder, signature, args)
        emitter = parts.emitter
        lanes = emitter.lanes
        out, out_stride, n_out = parts.operand(0)
        start, stride, n_rows = parts.operand(1)
        zeros = ir.Constant(emitter.vector, [0.0] * lanes)
        for index, n, step in ((0, n_out, out_stride), (1, n_rows, stride)):
            least = builder.select(builder.icmp_signed("<", n, _I64(lanes)), n, _I64(lanes))
            parts.check(index, _I64(lanes), (least, step))

        def block(whole: bool) -> None:
            vectors = []
            for r in range(lanes):
                exists = builder.icmp_signed("<", _I64(r), n_rows)
                index = _I64(r) if whole else builder.select(exists, _I64(r), _I64(0))
                vector = emitter.load(emitter.at(start, builder.mul(index, stride)), 0)
                vectors.append(vector if whole else builder.select(exists, vector, zeros))
            # Row i and row i + lanes / 2, lane by lane in turn, make rows 2 i and 2 i + 1: log2(lanes) times.
            half = lanes // 2
            low, high = ([p for i in range(half) for p in (first + i, first + i + lanes)] for first in (0, half))
            for _ in range(lanes.bit_length() - 1):
                pairs = zip(vectors[:half], vectors[half:], strict=True)
                vectors = [emitter.shuffle(a, b, order) for a, b in pairs for order in (low, high)]
            for c in range(lanes):
                target = emitter.at(out, builder.mul(_I64(c), out_stride))
                if whole:
                    emitter.store(vectors[c], target, 0)
                else:
                    with builder.if_then(builder.icmp_signed("<", _I64(c), n_out)):
                        emitter.store(vectors[c], target, 0)

        full = [builder.icmp_signed(">=", n, _I64(lanes)) for n in (n_rows, n_out)]
        with builder.if_else(builder.and_(*full)) as (whole, part):
            with whole:
                block(True)
            with part:
                block(False)
        return context.get_dummy_value()

    return types.void(out, rows), codegen


PREFETCHED_LINES = 8


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typingctx: Any, data: Any, index: Any) -> Any:
    """Ask for the ``PREFETCHED_LINES`` lines from ``data[index]`` on to be in L2 soon; any address will do."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in range(PREFETCHED_LINES):
            here = builder.gep(pointer, [_I64(line * LINE_BYTES)])
            builder.call(function, [here, _I32(0), _I32(2), _I32(1)])  # to read, into L2, data
        return context.get_dummy_value()

    return types.void(data, types.int64), codegen


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
