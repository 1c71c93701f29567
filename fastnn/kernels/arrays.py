"""From what a caller passes to the one Numba type that the kernels take.

A kernel is compiled once per dtype. A read-only, misaligned or strided array is another type to Numba and
would compile it again, so every array is brought to one form here: native, C-contiguous, aligned, one-dimensional.
"""

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


def operand(name: str, value: Any, ndim: int, dtype: np.dtype[Any] | None = None) -> Array:
    """`value` as a C-contiguous array of float32 or float64, copied only if it has to be.

    Parameters
    ----------
    name : str
        What the caller knows it by; stands in the errors.
    value : array_like
    ndim : int
        The number of dimensions that it must have; 0 allows any.
    dtype : numpy.dtype, optional
        The dtype that it must have: that of the operands before it.
    """
    expected = FLOATS if dtype is None else (dtype,)
    if type(value) is np.ndarray and value.flags.carray and value.dtype in expected and ndim in (0, value.ndim):
        return value  # what most callers pass: 0.1 µs instead of 1
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill its holes first, for example with {name}.filled(0).")
    array = np.asarray(value)
    native = array.dtype.newbyteorder("=")
    if native not in FLOATS:
        raise TypeError(
            f"{name} must be float32 or float64, got {array.dtype}. Convert it with {name}.astype(np.float32)."
        )
    if ndim and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {array.shape}.")
    if dtype is not None and native != dtype:
        raise TypeError(
            f"{name} is {native}, but the operands before it are {dtype}. Convert one to the other's dtype."
        )
    return np.require(array, native, ["C", "A"])


def check_shape(name: str, array: Array, shape: tuple[int, ...], why: str) -> None:
    """Raise a ValueError unless `array` has this shape; `why` says where the shape comes from."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape} ({why}), got {array.shape}.")


def flat(array: Array) -> Array:
    """A one-dimensional view of a C-contiguous array that Numba sees as writable, so that it has one type.

    The kernels never write into their inputs.
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
    return np.asarray(array).reshape(-1)  # a matrix stays two-dimensional


def class_indices(y: Any, n_rows: int, n_classes: int) -> NDArray[np.int64]:
    """`y` as int64 class indices, one a row, each at least 0 and below `n_classes`."""
    array = np.asarray(y)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"y must hold class indices of an integer dtype, got {array.dtype}.")
    check_shape("y", array, (n_rows,), "one class index a row")
    if n_rows and (array.min() < 0 or array.max() >= n_classes):
        raise ValueError(f"y must hold class indices from 0 to {n_classes - 1}, got {array.min()} to {array.max()}.")
    return np.require(array, np.int64, ["C", "A"])


def destination(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: tuple[Array, ...]) -> Array:
    """The array that a kernel writes: `out` itself where that is safe, otherwise a new one (see `deliver`).

    Raises a TypeError or ValueError if `out` can't take the result.
    """
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray) or out.dtype != dtype:
        given = f"{type(out).__name__} of {getattr(out, 'dtype', 'another kind')}"
        raise TypeError(f"out must be an ndarray of {dtype}, got {given}.")
    check_shape("out", out, shape, "the result's shape")
    if not out.flags.writeable:
        raise ValueError("out must be writable.")
    plain = out.flags.c_contiguous and out.flags.aligned
    if not plain or any(np.may_share_memory(out, array) for array in inputs):
        return np.empty(shape, dtype)
    return out


def deliver(result: Array, out: Array | None) -> Array:
    """The result, in `out` if the caller gave one."""
    if out is None or result is out:
        return result
    out[...] = result
    return out


_KEPT_BYTES = 8 << 20
_kept = threading.local()


def borrow(n: int, dtype: np.dtype[Any]) -> Array:
    """At least `n` numbers of anything, from a line of the cache on: this thread's memory of last time, if it suffices.

    New memory costs a page fault every 4 KB: 25 µs for the 400 KB of a packed 784x128 matrix, a tenth of its product
    with 256 rows. Whoever borrows gives it back with `give_back`; nobody else gets it before, a signal handler neither.
    """
    memory: Array | None = _kept.__dict__.pop(dtype.char, None)
    return aligned_empty(n, dtype) if memory is None or memory.size < n else memory


def give_back(borrowed: Array) -> None:
    """Keep the memory for the next who borrows."""
    if borrowed.nbytes <= _KEPT_BYTES:
        _kept.__dict__[borrowed.dtype.char] = borrowed


def aligned_empty(n: int, dtype: np.dtype[Any]) -> Array:
    """`n` numbers of anything that begin on a line of the cache."""
    return on_a_line(np.empty(n * dtype.itemsize + LINE_BYTES, np.uint8), n, dtype)


def on_a_line(raw: NDArray[np.uint8], n: int, dtype: np.dtype[Any]) -> Array:
    """`n` numbers in these bytes, of which there are enough, from a line of the cache on."""
    skip = -raw.ctypes.data % LINE_BYTES
    return raw[skip : skip + n * dtype.itemsize].view(dtype)


@jit
def copy(source: Array, target: Array) -> None:
    """``target = source``, both one-dimensional."""
    for i in range(source.size):
        target[i] = source[i]
