"""From Arrow's columns to NumPy: numbers, dates as days, categories as codes, and what is missing as NaN."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array, borrow, give_back
from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.pipeline.columns.arrays import arrow_of, numbers_in, words_of

# Of integers with holes Arrow makes float64, as NumPy does when they are staged: the nearest beyond 2**53.
_PLAIN = {
    type_.id for type_ in (pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int16(), pa.int32(), pa.int64())
}
_PLAIN |= {type_.id for type_ in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())}
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
# Numbers of a staged chunk: 512 KB, which stay in the second-level cache until they have been used.
STAGED = 1 << 16
FEWEST_ROWS, _MOST_ROWS = 64, 4096


def numbers_of(values: pa.Array) -> Array:
    """The values as an array of any dtype of real numbers, NaN for what is missing; a view where that is possible.

    Dates and times are days: since 1970, in UTC if they have a zone, or since midnight.
    """
    if values.type.id in _PLAIN:
        return numbers_in(values)
    if pa.types.is_dictionary(values.type):
        return numbers_of(values.dictionary_decode())
    type_ = values.type
    per_day = _ticks_per_day(type_)
    if per_day:
        values = values.cast(pa.int32() if type_.bit_width == 32 else pa.int64())
    elif pa.types.is_boolean(type_):
        values = values.cast(pa.int8())
    elif pa.types.is_decimal(type_) or pa.types.is_null(type_):
        values = values.cast(pa.float64(), safe=False)
    numbers = numbers_in(values)
    return numbers / per_day if per_day else numbers


def _ticks_per_day(type_: pa.DataType) -> int:
    """How many of a date's or time's units a day has; 0 for other types."""
    if pa.types.is_timestamp(type_) or pa.types.is_time(type_):
        return _PER_DAY[type_.unit]
    if pa.types.is_date64(type_):
        return _PER_DAY["ms"]
    return 1 if pa.types.is_date32(type_) else 0


def texts_of(values: pa.Array) -> pa.Array:
    """The values as large_string, null for what is missing; an empty string is how CSV says that.

    Whole numbers are spelled as integers, whatever their type: a hole makes floats of them in pandas, and databases
    have decimals.
    """
    if pa.types.is_floating(values.type):
        numbers = numbers_in(values.cast(pa.float64()))
        whole = (np.abs(numbers) < 2.0**63) & (np.trunc(numbers) == numbers)
        integers = arrow_of(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.large_string())
        values = pc.if_else(arrow_of(whole), integers, arrow_of(numbers, np.isnan(numbers)).cast(pa.large_string()))
    elif pa.types.is_decimal(values.type) and values.type.scale > 0:
        whole = pc.trunc(values)
        integers = whole.cast(pa.decimal256(76, 0)).cast(pa.large_string())
        values = pc.if_else(pc.equal(whole, values), integers, values.cast(pa.large_string()))
    strings = values.cast(pa.large_string())
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.large_string()), strings)


def codes_of(values: pa.Array, categories: tuple[str, ...]) -> NDArray[np.float64]:
    """The index of each value among the categories, -1 for none of them, NaN for what is missing."""
    type_ = values.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        found = pc.index_in(values, value_set=_value_set(categories, type_), skip_nulls=False)
        n = len(categories)
        # In the value set "" and null come after the categories.
        code_of = np.append(np.arange(n, dtype=np.float64), [np.nan, np.nan, -1.0])
        codes: NDArray[np.float64] = code_of[numbers_in(pc.fill_null(found, n + 2))]
        return codes
    if pa.types.is_string_view(type_) or pa.types.is_null(type_):
        return codes_of(values.cast(pa.large_string()), categories)
    encoded = values if pa.types.is_dictionary(type_) else values.dictionary_encode()
    entries = codes_of(texts_of(encoded.dictionary), categories)
    indices = numbers_in(pc.fill_null(encoded.indices.cast(pa.int64()), len(entries)))
    codes = np.append(entries, np.nan)[indices]
    return codes


@functools.lru_cache(maxsize=256)
def _value_set(categories: tuple[str, ...], type_: pa.DataType) -> pa.Array:
    return words_of([*categories, "", None]).cast(type_)


def take(values: pa.Array, rows: NDArray[np.intp]) -> pa.Array:
    """Some of the values."""
    if pa.types.is_string_view(values.type):  # Arrow can't take from views yet
        values = values.cast(pa.large_string())
    return values.take(arrow_of(rows))


class Chunk(NamedTuple):
    """Some rows of all columns as float64: ``values[:, :n]``, those from number `start` on."""

    start: int
    n: int
    values: NDArray[np.float64]


def chunks(
    columns: Sequence[Array],
    n_rows: int,
    keep: NDArray[np.bool_] | None = None,
    fewest_rows: int = FEWEST_ROWS,
    most_rows: int = _MOST_ROWS,
) -> Iterator[Chunk]:
    """Columns of `numbers_of` or `codes_of`, so many rows at a time as stay in the cache, all in the same memory.

    Parameters
    ----------
    columns : sequence of ndarray, each of shape (n_rows,)
    n_rows : int
    keep : ndarray of bool, shape (n_rows,), optional
        The rows to take; by default all.
    fewest_rows, most_rows : int
        Of a chunk; in between as many as stay in the cache.
    """
    rows = min(most_rows, STAGED // max(1, len(columns)))
    rows = max(fewest_rows, rows // FEWEST_ROWS * FEWEST_ROWS)
    # Of columns that are a power of two apart the first-level cache holds few.
    stride = rows + LINE_BYTES // 8
    memory = borrow(len(columns) * stride, np.dtype(np.float64))
    try:
        staged = memory[: len(columns) * stride].reshape(len(columns), stride)
        for start in range(0, n_rows, rows):
            stop = min(start + rows, n_rows)
            kept = None if keep is None else np.flatnonzero(keep[start:stop])
            n = stop - start if kept is None else len(kept)
            for target, column in zip(staged, columns, strict=True):
                values = column[start:stop]
                target[:n] = values if kept is None else values[kept]
            yield Chunk(start, n, staged)
    finally:
        give_back(memory)
