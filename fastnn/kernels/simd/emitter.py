"""The loops in LLVM's language that the operations of this package are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastnn.kernels.simd.shape import LINE_BYTES, SHAPE

I64 = ir.IntType(64)
I32 = ir.IntType(32)

# What one round of a loop adds: given the index and the sums so far, the new sums.
Term = Callable[[Any, list[Any]], list[Any]]


class Emitter:
    """Writes LLVM code for vectors of one element type. Values and pointers are llvmlite's."""

    def __init__(self, context: Any, builder: Any, element: Any) -> None:
        self.builder = builder
        self.element = context.get_value_type(element)
        bits = element.bitwidth
        self.lanes = SHAPE.vector_bytes * 8 // bits
        self.vectors_per_line = LINE_BYTES // SHAPE.vector_bytes
        self.line_elements = LINE_BYTES * 8 // bits
        self.align = bits // 8
        self.vector = ir.VectorType(self.element, self.lanes)
        self.zeros = ir.Constant(self.vector, [0.0] * self.lanes)
        self.ones = ir.Constant(self.vector, [1.0] * self.lanes)
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        # llvmlite's declare_intrinsic refuses vector types, so the name is spelled out.
        self.fused = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{self.lanes}f{bits}")

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self.fused, [a, b, c])

    def at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.gep(pointer, [offset])

    def row_at(self, pointer: Any, index: Any, stride: Any) -> Any:
        """The pointer to row `index` of rows that begin `stride` elements apart."""
        return self.at(pointer, self.builder.mul(index, stride))

    def vector_at(self, pointer: Any, index: int) -> Any:
        here = self.at(pointer, I64(index * self.lanes))
        return self.builder.bitcast(here, self.vector.as_pointer())

    def load(self, pointer: Any, index: int) -> Any:
        return self.builder.load(self.vector_at(pointer, index), align=self.align)

    def store(self, value: Any, pointer: Any, index: int) -> None:
        self.builder.store(value, self.vector_at(pointer, index), align=self.align)

    def broadcast(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        first_lane = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        first = self.builder.insert_element(undefined, scalar, I32(0))
        return self.builder.shuffle_vector(first, undefined, first_lane)

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))

    def minimum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def accumulate(self, name: str, n: Any, start: list[Any], term: Term, *, at_least_one: bool = False) -> list[Any]:
        """The vectors `start` after ``sums = term(i, sums)`` for i from 0 to n - 1.

        `name` labels the loop. `at_least_one` says that n is at least 1, so that the loop is entered without a test.
        """
        builder = self.builder
        before = builder.block
        loop, done = builder.append_basic_block(name), builder.append_basic_block(f"{name}.done")
        if at_least_one:
            builder.branch(loop)
        else:
            builder.cbranch(builder.icmp_signed(">", n, I64(0)), loop, done)

        builder.position_at_end(loop)
        index = builder.phi(I64)
        sums = [builder.phi(self.vector) for _ in start]
        total = term(index, sums)
        following = builder.add(index, I64(1))
        index.add_incoming(I64(0), before)
        index.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, n), loop, done)

        builder.position_at_end(done)
        results = total if at_least_one else [builder.phi(self.vector) for _ in start]
        for phis in (sums,) if at_least_one else (sums, results):
            for phi, first, last in zip(phis, start, total, strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(last, loop)
        return results

    def sum(self, left: list[Any], step: Any, rights: list[Any], start: list[list[Any]], n_sum: Any) -> list[list[Any]]:
        """The sums over k for each row of `left` and each vector of that row's `start`.

        `left` points to each row's first element, and `step` is the distance of its elements. `rights`, which lie side
        by side and hold equally many vectors each, are pairs of a pointer and the distance of the rows.
        """
        builder, n_vectors = self.builder, len(start[0])

        def term(k: Any, sums: list[Any]) -> list[Any]:
            left_k = builder.mul(k, step)
            vectors = []
            for pointer, stride in rights:
                right_k = self.row_at(pointer, k, stride)
                vectors += [self.load(right_k, v) for v in range(n_vectors // len(rights))]
            total = []
            for r, pointer in enumerate(left):
                x = self.broadcast(builder.load(self.at(pointer, left_k)))
                total += [self.fma(x, vectors[v], sums[r * n_vectors + v]) for v in range(n_vectors)]
            return total

        total = self.accumulate("tile.sum", n_sum, [vector for row in start for vector in row], term)
        return [total[first : first + n_vectors] for first in range(0, len(total), n_vectors)]

    def sparse_sum(self, entries: list[Any], panels: list[Any], stride: Any, start: list[Any]) -> list[Any]:
        """The sum over a sparse row's entries (values, indices, their number), which begins with these vectors.

        The `panels` hold equally many vectors each, and their rows are `stride` elements apart.
        """
        builder = self.builder
        values, indices, n = entries

        def term(e: Any, sums: list[Any]) -> list[Any]:
            x = self.broadcast(builder.load(self.at(values, e)))
            offset = builder.mul(builder.sext(builder.load(self.at(indices, e)), I64), stride)
            rows = [self.at(panel, offset) for panel in panels]
            vectors = [self.load(row, v) for row in rows for v in range(len(start) // len(panels))]
            return [self.fma(x, vector, total) for vector, total in zip(vectors, sums, strict=True)]

        return self.accumulate("sparse.sum", n, start, term)

    def dots(self, left: list[Any], right: list[Any], n_lines: Any) -> list[list[Any]]:
        """The sums of left[r] * right[c] over `n_lines` lines (at least one), lane by lane, for each r and c.

        Each sum is a list of vectors, which together are a line. They come in the order of r and, for each r, of c.
        Without `right`, they are the sums of left[r].
        """
        n_vectors = self.vectors_per_line

        def term(index: Any, sums: list[Any]) -> list[Any]:
            offset = self.builder.mul(index, I64(self.line_elements))
            a, b = ([self._line(row, offset) for row in rows] for rows in (left, right))
            pairs = [pair for x in a for y in (b or [[self.ones] * n_vectors]) for pair in zip(x, y, strict=True)]
            return [self.fma(x, y, total) for (x, y), total in zip(pairs, sums, strict=True)]

        start = [self.zeros] * (len(left) * max(1, len(right)) * n_vectors)
        total = self.accumulate("dots", n_lines, start, term, at_least_one=True)
        return [total[first : first + n_vectors] for first in range(0, len(total), n_vectors)]

    def fold(self, lines: list[list[Any]]) -> Any:
        """A vector whose lane i is the sum of the numbers in line i.

        The second half of a line is added to the first, then the same with the halves of what is left, and so on.
        """
        # The steps below leave the sums in the order of reversed bits.
        bits = (len(lines) - 1).bit_length()
        halves = [lines[int(f"{i:0{bits}b}"[::-1], 2)] for i in range(len(lines))]
        while len(halves[0]) > 1:
            middle = len(halves[0]) // 2
            halves = [[self.builder.fadd(a, b) for a, b in zip(v[:middle], v[middle:], strict=True)] for v in halves]
        vectors = [v[0] for v in halves]
        left = self.lanes  # the numbers that are left of each sum
        while left > 1:
            # Each vector holds the numbers of `lanes / left` sums; two vectors make one, with half of these numbers.
            others = vectors[len(vectors) // 2 :] if len(vectors) > 1 else vectors
            pairs = zip(vectors[: max(1, len(vectors) // 2)], others, strict=True)
            vectors = [self._fold_pair(a, b, left) for a, b in pairs]
            left //= 2
        return vectors[0]

    def transposed(self, vectors: list[Any]) -> list[Any]:
        """The columns of a square block of rows."""
        # Interleaving rows i and i + lanes / 2 gives rows 2 i and 2 i + 1; doing so log2(lanes) times transposes.
        half = self.lanes // 2
        low, high = ([p for i in range(half) for p in (first + i, first + i + self.lanes)] for first in (0, half))
        for _ in range(self.lanes.bit_length() - 1):
            pairs = zip(vectors[:half], vectors[half:], strict=True)
            vectors = [self.shuffle(a, b, order) for a, b in pairs for order in (low, high)]
        return vectors

    def _line(self, row: Any, offset: Any) -> list[Any]:
        return [self.load(self.at(row, offset), v) for v in range(self.vectors_per_line)]

    def _fold_pair(self, a: Any, b: Any, n: int) -> Any:
        first: list[int] = []
        second: list[int] = []
        for source in (0, self.lanes):
            for i in range(0, self.lanes, n):
                first += range(source + i, source + i + n // 2)
                second += range(source + i + n // 2, source + i + n)
        return self.builder.fadd(self.shuffle(a, b, first), self.shuffle(a, b, second))
