"""From Arrow's columns to NumPy's numbers: dates as days, categories as codes, and missing values as NaN."""

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
from fastnn.pipeline.columns.arrow import strings_to_arrow, to_arrow, to_numpy

# Types that `to_numpy` alone converts to numbers. Integers become float64, at the latest when they are copied into a
# chunk. An integer above 2**53 becomes the nearest float64.
_PLAIN = {
    type_.id for type_ in (pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int16(), pa.int32(), pa.int64())
}
_PLAIN |= {type_.id for type_ in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())}
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
# The numbers in a chunk: 512 KB, which stay in the second-level cache until they are used.
CHUNK_NUMBERS = 1 << 16
FEWEST_ROWS, _MOST_ROWS = 64, 4096


def numbers_of(values: pa.Array) -> Array:
    """The values as an array of real numbers of any dtype, NaN where they are missing; a view where that is possible.

    Dates and timestamps are days since 1970 (in UTC if they have a time zone), times are days since midnight.
    """
    if values.type.id in _PLAIN:
        return to_numpy(values)
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
    numbers = to_numpy(values)
    return numbers / per_day if per_day else numbers


def _ticks_per_day(type_: pa.DataType) -> int:
    """The number of units of a date or time type in a day; 0 for other types."""
    if pa.types.is_timestamp(type_) or pa.types.is_time(type_):
        return _PER_DAY[type_.unit]
    if pa.types.is_date64(type_):
        return _PER_DAY["ms"]
    return 1 if pa.types.is_date32(type_) else 0


def texts_of(values: pa.Array) -> pa.Array:
    """The values as large_string. Missing values and empty strings, which mean the same in CSV, are null.

    Whole numbers are spelled as integers, whatever their type: pandas makes floats of integers with missing values, and
    databases have decimals.
    """
    if pa.types.is_floating(values.type):
        numbers = to_numpy(values.cast(pa.float64()))
        whole = (np.abs(numbers) < 2.0**63) & (np.trunc(numbers) == numbers)
        integers = to_arrow(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.large_string())
        values = pc.if_else(to_arrow(whole), integers, to_arrow(numbers, np.isnan(numbers)).cast(pa.large_string()))
    elif pa.types.is_decimal(values.type) and values.type.scale > 0:
        whole = pc.trunc(values)
        integers = whole.cast(pa.decimal256(76, 0)).cast(pa.large_string())
        values = pc.if_else(pc.equal(whole, values), integers, values.cast(pa.large_string()))
    strings = values.cast(pa.large_string())
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.large_string()), strings)


def codes_of(values: pa.Array, categories: tuple[str, ...]) -> NDArray[np.float64]:
    """The index of each value among the categories; -1 for any other value, NaN for a missing one."""
    type_ = values.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        found = pc.index_in(values, value_set=_value_set(categories, type_), skip_nulls=False)
        n = len(categories)
        # The value set has "" and null after the categories.
        code_of = np.append(np.arange(n, dtype=np.float64), [np.nan, np.nan, -1.0])
        codes: NDArray[np.float64] = code_of[to_numpy(pc.fill_null(found, n + 2))]
        return codes
    if pa.types.is_string_view(type_) or pa.types.is_null(type_):
        return codes_of(values.cast(pa.large_string()), categories)
    encoded = values if pa.types.is_dictionary(type_) else values.dictionary_encode()
    entries = codes_of(texts_of(encoded.dictionary), categories)
    indices = to_numpy(pc.fill_null(encoded.indices.cast(pa.int64()), len(entries)))
    codes = np.append(entries, np.nan)[indices]
    return codes


@functools.lru_cache(maxsize=256)
def _value_set(categories: tuple[str, ...], type_: pa.DataType) -> pa.Array:
    return strings_to_arrow([*categories, "", None]).cast(type_)


def take(values: pa.Array, rows: NDArray[np.intp]) -> pa.Array:
    """The values in some rows."""
    if pa.types.is_string_view(values.type):  # Arrow can't take from views yet
        values = values.cast(pa.large_string())
    return values.take(to_arrow(rows))


class Chunk(NamedTuple):
    """The `n` rows from row `start` on, of all columns as float64, in ``values[:, :n]``."""

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
    """Columns from `numbers_of` or `codes_of` in chunks of as many rows as stay in the cache.

    Parameters
    ----------
    columns : sequence of ndarray, each of shape (n_rows,)
        The columns' values.
    n_rows : int
        The number of rows.
    keep : ndarray of bool, shape (n_rows,), optional
        The rows to take; by default all.
    fewest_rows, most_rows : int
        The limits of a chunk's rows. In between, a chunk has as many rows as stay in the cache.

    Yields
    ------
    Chunk
        The rows. All chunks use the same memory.
    """
    rows = min(most_rows, CHUNK_NUMBERS // max(1, len(columns)))
    rows = max(fewest_rows, rows // FEWEST_ROWS * FEWEST_ROWS)
    # The padding keeps columns from being a power of two apart: the first-level cache holds few such columns.
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
