"""Arrays as kernels take them: one-dimensional views, memory that begins on a line of the cache, and a copy."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.runtime.compiler import jit

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

Array = NDArray[Any]


def flat(array: Array) -> Array:
    """A one-dimensional view of a C-contiguous array that Numba sees as writable.

    A read-only array would be another type to Numba. The kernels never write into their inputs.
    """
    if type(array) is np.ndarray and array.flags.carray:
        return array.reshape(-1)
    if not array.flags.writeable:
        if array.size == 0:
            return np.empty(0, array.dtype)
        memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
        memory._owner = array  # type: ignore[attr-defined]  # keeps the memory alive as long as the view
        view: Array = np.frombuffer(memory, array.dtype)  # type: ignore[call-overload]
        return view
    return np.asarray(array).reshape(-1)  # the reshape of an np.matrix would stay two-dimensional


_KEPT_BYTES = 8 << 20
_kept = threading.local()


def borrow(n: int, dtype: np.dtype[Any]) -> Array:
    """At least `n` uninitialised numbers that begin on a line of the cache.

    They are the memory that this thread gave back last, if that is large enough. New memory costs a page fault every
    4 KB: 25 µs for the 400 KB of a packed 784x128 matrix, a tenth of its product with 256 rows. Until the borrower
    calls `give_back`, nobody else can borrow the same memory, not even a signal handler in this thread.
    """
    memory: Array | None = _kept.__dict__.pop(dtype.char, None)
    return aligned_empty(n, dtype) if memory is None or memory.size < n else memory


def give_back(borrowed: Array) -> None:
    """Keep borrowed memory for this thread's next `borrow`, unless it is larger than 8 MB."""
    if borrowed.nbytes <= _KEPT_BYTES:
        _kept.__dict__[borrowed.dtype.char] = borrowed


def aligned_empty(n: int, dtype: np.dtype[Any]) -> Array:
    """`n` uninitialised numbers that begin on a line of the cache."""
    return on_a_line(np.empty(n * dtype.itemsize + LINE_BYTES, np.uint8), n, dtype)


def on_a_line(raw: NDArray[np.uint8], n: int, dtype: np.dtype[Any]) -> Array:
    """`n` numbers within these bytes, beginning on a line of the cache; `raw` has a line more than they need."""
    skip = -raw.ctypes.data % LINE_BYTES
    return raw[skip : skip + n * dtype.itemsize].view(dtype)


@jit
def copy(source: Array, target: Array) -> None:
    """``target = source`` in compiled code; both are one-dimensional."""
    for i in range(source.size):
        target[i] = source[i]
