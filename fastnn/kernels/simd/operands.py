"""What the operations read and write: named tuples for Numba code, and how the LLVM code takes them apart.

`start`, `stride`, `row` and `step` count elements of `data`, which is one-dimensional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numba import config
from numba.core import cgutils

from fastnn.kernels.simd.emitter import I64, Emitter
from fastnn.runtime.region import trap

if TYPE_CHECKING:
    import numpy as np


class Out(NamedTuple):
    """Where a tile goes: `rows` rows (at most ``ROWS``) of `lines` lines, `stride` elements apart."""

    data: np.ndarray
    start: int
    stride: int
    rows: int
    lines: int


class Left(NamedTuple):
    """The broadcast operand: its element (r, k) is ``data[start + r * row + k * step]``."""

    data: np.ndarray
    start: int
    row: int
    step: int


class LeftColumns(NamedTuple):
    """The broadcast operand, transposed: its element (r, k) is ``data[start + r + k * step]``."""

    data: np.ndarray
    start: int
    step: int


class Right(NamedTuple):
    """The vector operand: its row k begins at ``data[start + k * stride]``."""

    data: np.ndarray
    start: int
    stride: int


class Init(NamedTuple):
    """The row that the accumulators of every row start from: the bias in F1, zeros elsewhere."""

    data: np.ndarray
    start: int


class InitColumn(NamedTuple):
    """The column that the accumulators start from: all accumulators of row r from ``data[start + r * step]``."""

    data: np.ndarray
    start: int
    step: int


class Entries(NamedTuple):
    """A sparse row: ``values[start + e]`` in column ``indices[start + e]`` (int32), for e from 0 to n - 1."""

    values: np.ndarray
    indices: np.ndarray
    start: int
    n: int


class Rows(NamedTuple):
    """Rows of whole lines: row r begins at ``data[start + r * stride]``, and there are `n` rows."""

    data: np.ndarray
    start: int
    stride: int
    n: int


class Lines(NamedTuple):
    """The numbers of `n` whole lines, from ``data[start]`` on."""

    data: np.ndarray
    start: int
    n: int


class Operands:
    """One operation's operands while its LLVM code is written, and the `Emitter` for the first operand's type."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.args = signature.args, args
        self.emitter = Emitter(context, builder, signature.args[0][0].dtype)

    def operand(self, index: int) -> list[Any]:
        """An operand ``(data, start, ...)`` as a pointer to its first element, and the other fields."""
        (data,), start, rest = self._fields(index)
        # Pointers come from the array itself and move by GEP only: integer addresses can be miscompiled.
        return [self.builder.gep(data.data, [start]), *rest]

    def entries(self, index: int) -> list[Any]:
        """A sparse row as a pointer to the values, a pointer to the indices, and their number; checks the bounds."""
        arrays, start, (n,) = self._fields(index)
        for array in arrays:
            self._check_range(index, start, self.builder.add(start, n), array)
        return [*(self.builder.gep(array.data, [start]) for array in arrays), n]

    def check(self, index: int, n: Any, *steps: tuple[Any, Any]) -> None:
        """In a build with bounds checks, end the process unless the operand's elements lie in its array.

        The elements are `n` from the operand's start on. Each of the `steps`, a pair ``(count, step)``, repeats them
        `count` times, `step` elements apart.
        """
        if not config.BOUNDSCHECK:
            return
        builder = self.builder
        (array,), first, _ = self._fields(index)
        last = builder.add(first, n)
        touched = builder.icmp_signed(">", n, I64(0))
        for count, step in steps:
            last = builder.add(last, builder.mul(builder.sub(count, I64(1)), step))
            touched = builder.and_(touched, builder.icmp_signed(">", count, I64(0)))
        with builder.if_then(touched):
            self._check_range(index, first, last, array)

    def _fields(self, index: int) -> tuple[list[Any], Any, list[Any]]:
        """An operand's arrays, which come first, its start, and the fields after that."""
        kinds = self.types[index]
        fields = cgutils.unpack_tuple(self.builder, self.args[index], len(kinds))
        n_arrays = sum(hasattr(kind, "ndim") for kind in kinds)
        arrays = [
            self.context.make_array(kind)(self.context, self.builder, field)
            for kind, field in zip(kinds[:n_arrays], fields[:n_arrays], strict=True)
        ]
        return arrays, fields[n_arrays], fields[n_arrays + 1 :]

    def _check_range(self, index: int, first: Any, last: Any, array: Any) -> None:
        """In a build with bounds checks, end the process unless `first` to `last` - 1 lie in an operand's array."""
        if not config.BOUNDSCHECK:
            return
        builder = self.builder
        outside = builder.or_(builder.icmp_signed("<", first, I64(0)), builder.icmp_signed(">", last, array.nitems))
        with builder.if_then(outside):
            place = f"fastnn: operand {index} of a tile reaches from %lld to %lld of %lld\n"
            cgutils.printf(builder, place, first, last, array.nitems)
            trap(builder)
