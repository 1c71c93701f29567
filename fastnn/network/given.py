"""Numbers and labels as a caller gives them: as arrays, or an error that says what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def as_numbers(name: str, value: Any) -> Array:
    """`value` as an array of real numbers, not copied if it is one already.

    Parameters
    ----------
    name : str
        The argument's name; the errors begin with it.
    value : array_like

    Raises
    ------
    TypeError
        If `value` is masked or sparse, or holds something else than real numbers.
    ValueError
        If rows differ in length, or a whole number is too large for float64.
    """
    refuse_meanings(name, value)
    if hasattr(value, "toarray"):
        raise TypeError(f"{name} must not be sparse: pass {name}.toarray().")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} isn't an array of one shape: {error}") from None
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except OverflowError:
            raise ValueError(f"{name} holds whole numbers that are too large for float64.") from None
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} holds something else than numbers: {error}.") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    return array


def refuse_meanings(name: str, value: Any) -> None:
    """Raise a TypeError for arrays that NumPy would turn into numbers though they mean something else.

    These are masked arrays, times and records.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill its holes first, for example with {name}.filled(0).")
    if isinstance(value, np.ndarray) and value.dtype.kind in "mMV":  # times and records
        raise TypeError(f"{name} must hold real numbers, got dtype {value.dtype}.")


def exact_labels(labels: Any) -> Any:
    """The labels themselves, but as uint64 if they are whole numbers of which NumPy would make floats.

    Raises
    ------
    TypeError
        If the labels are masked.
    ValueError
        If they are whole numbers that don't fit into one of NumPy's types. As floats, some might become the same.
    """
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError("labels are a masked array: leave the samples without a label out.")
    if isinstance(labels, (list, tuple)):
        if not labels or not all(map(_is_whole, labels)):
            return labels
    elif getattr(getattr(labels, "dtype", None), "kind", "") != "O" or not any(map(_is_huge, np.ravel(labels))):
        return labels
    low, high = min(labels), max(labels)
    if low >= -(2**63) and high < 2**63:
        return labels
    if low >= 0 and high < 2**64:
        return np.array(labels, np.uint64)
    raise ValueError(
        f"labels from {_short(low)} to {_short(high)} fit neither int64 nor uint64: make them strings, "
        "for example with [str(label) for label in y]."
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def _short(number: int) -> str:
    return f"{number}" if abs(number) < 10**30 else f"{'-' if number < 0 else ''}2**{number.bit_length() - 1} and more"
