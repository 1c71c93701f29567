"""Turns what a caller passes into the arrays that a kernel reads and writes, or raises an error that names the mistake.

A kernel is compiled once per dtype. A read-only, misaligned or strided array is another type to Numba, for which the
kernel would be compiled again. So every array is brought to one form: native, C-contiguous and aligned here, and
one-dimensional by `arrays.flat`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import FLOATS, Array


def operand(name: str, value: Any, ndim: int, dtype: np.dtype[Any] | None = None) -> Array:
    """`value` as a C-contiguous array of float32 or float64, copied only if necessary.

    Parameters
    ----------
    name : str
        The caller's name for the value, for error messages.
    value : array_like
    ndim : int
        The number of dimensions that the array must have; 0 allows any number.
    dtype : numpy.dtype, optional
        The dtype that the array must have: that of the operands before it.
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


def class_indices(y: Any, n_rows: int, n_classes: int) -> NDArray[np.int64]:
    """`y` as int64 class indices, one for each row, each at least 0 and below `n_classes`."""
    array = np.asarray(y)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"y must hold class indices of an integer dtype, got {array.dtype}.")
    check_shape("y", array, (n_rows,), "one class index a row")
    if n_rows and (array.min() < 0 or array.max() >= n_classes):
        raise ValueError(f"y must hold class indices from 0 to {n_classes - 1}, got {array.min()} to {array.max()}.")
    return np.require(array, np.int64, ["C", "A"])


def destination(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: tuple[Array, ...]) -> Array:
    """The array that a kernel writes: `out` itself where that is safe, otherwise a new array (see `deliver`).

    Writing into `out` is safe if it is contiguous and aligned and can't overlap the `inputs`. Raises a TypeError or
    ValueError if `out` can't take the result.
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
    """The result, copied into `out` if the caller gave one and the kernel wrote elsewhere."""
    if out is None or result is out:
        return result
    out[...] = result
    return out
