"""From NumPy's arrays and Python's strings to Arrow's arrays, and back; without a copy where that is possible.

Arrow's own ``pa.array`` and ``to_numpy`` import pandas where it is installed, which takes 45 MB and 0.2 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_arrow(values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """A one-dimensional array of numbers or booleans as an Arrow array, with nulls where `missing` is True."""
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(
            pa.bool_(), len(values), [valid, pa.py_buffer(np.packbits(values, bitorder="little"))]
        )
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return pa.Array.from_buffers(pa.from_numpy_dtype(native.dtype), len(values), [valid, pa.py_buffer(native)])


def to_numpy(values: pa.Array) -> NDArray[Any]:
    """An Arrow array of numbers as a NumPy array.

    Without nulls it is a view, which must not be written to. With nulls it is a new array of floats, in which nulls are
    NaN; floats keep their type, and other numbers become float64.
    """
    dtype = np.dtype(values.type.to_pandas_dtype())
    if values.null_count:
        whole = dtype if dtype.kind == "f" else np.dtype(np.float64)
        values = values.cast(pa.from_numpy_dtype(whole), safe=False)
        valid = values.is_valid().buffers()[1]
        numbers = _in_buffer(values, whole).copy()
        numbers[np.unpackbits(np.frombuffer(valid, np.uint8), count=len(values), bitorder="little") == 0] = np.nan
        return numbers
    return _in_buffer(values, dtype)


def _in_buffer(values: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    data = values.buffers()[1]
    if data is None:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(values), values.offset * dtype.itemsize)


def strings_to_arrow(words: Sequence[str | None]) -> pa.Array:
    """Strings as a large_string array; None becomes null."""
    spelt = [(word or "").encode() for word in words]
    ends = np.array([0, *accumulate(map(len, spelt))], np.int64)
    missing = np.array([word is None for word in words], np.bool_)
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(
        pa.large_string(), len(words), [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(spelt))]
    )
