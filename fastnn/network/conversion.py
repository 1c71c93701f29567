"""Turns what a caller passes into the arrays that the kernels read, or raises an error that says what is wrong."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import flat
from fastnn.kernels.forward.sparse import Csr
from fastnn.network.given import as_numbers, exact_labels, refuse_meanings

Array = NDArray[Any]


class SumsOverflowError(ValueError):
    """Weights and inputs are finite, but outputs aren't."""


def as_rows(X: Any, n_features: int) -> Array:
    """`X` as a two-dimensional array of real numbers, not copied if it is one already.

    Raises
    ------
    TypeError
        If `X` is masked, or holds something else than real numbers.
    ValueError
        If `X` isn't two-dimensional, or the number of its columns isn't `n_features`.
    """
    array = as_numbers("X", X)
    if array.ndim != 2:
        raise ValueError(
            f"X must have two dimensions, a row for each sample, got shape {array.shape}. "
            "Reshape a single sample with X.reshape(1, -1)."
        )
    _check_features(array.shape[1], n_features)
    return array


def _check_features(n: int, expected: int) -> None:
    if n != expected:
        raise ValueError(f"X has {n} features, but the network expects {expected}.")


def check_names(X: Any, names: list[str] | None) -> None:
    """Raise a ValueError if `X` has columns of other names than the network's features, or in another order.

    `X` may be a data frame or a table of any package. Whatever has no names that are strings is taken by position, and
    so is every `X` if the network doesn't know its features' names (`names` is None).
    """
    if names is None:
        return
    # A table of pyarrow has its names here, and arrays in `columns`.
    of_table = getattr(X, "column_names", None)
    columns = of_table if of_table is not None else getattr(X, "columns", None)
    found = list(columns) if columns is not None and hasattr(columns, "__iter__") else []
    if found == names or not any(isinstance(name, str) for name in found):
        return
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"X lacks columns that the network was made for: {_listed(missing)}.")
    select = "X[net.feature_names]" if of_table is None else "X.select(net.feature_names)"
    further = [str(name) for name in found if name not in names]
    why = (
        f"has columns that the network wasn't made for: {_listed(further)}"
        if further
        else ("has the columns of the network in another order")
    )
    raise ValueError(f"X {why}. Pass {select}, which has the right ones in the right order.")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def is_sparse(X: Any) -> bool:
    """Whether `X` is one of SciPy's sparse matrices or arrays; SciPy isn't imported to find out."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def sound_sparse(X: Any) -> Any:
    """A sparse matrix of the same arrays as `X`, which fit together; its columns may still be out of order.

    SciPy makes a matrix of any arrays, and reads beyond their ends where they don't fit together. The check takes
    0.9 ms for 2 million entries.

    Raises
    ------
    ValueError
        If an index lies outside the matrix.
    """
    if not hasattr(X, "check_format"):  # X isn't in a compressed format: SciPy has made its arrays
        return X
    try:
        # A new matrix, for SciPy may remember of `X` that its columns were in order before somebody changed them.
        again = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
        again.check_format(full_check=True)
    except (ValueError, IndexError) as error:
        raise ValueError(f"X isn't a sound sparse matrix: {error}.") from None
    return again


def as_sparse_rows(X: Any, n_features: int, dtype: np.dtype[Any]) -> Csr:
    """A sparse matrix or array as the kernels read it: compressed rows of `dtype`, their columns in order.

    Raises
    ------
    TypeError
        If `X` holds something else than real numbers.
    ValueError
        If `X` isn't two-dimensional, the number of its columns isn't `n_features`, or a value isn't finite in `dtype`.
    """
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, a row for each sample, got shape {X.shape}.")
    _check_features(X.shape[1], n_features)
    rows = sound_sparse(X).tocsr()
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"X must hold real numbers, got dtype {rows.dtype}.")
    if not rows.has_canonical_format:
        rows = rows.copy()  # the caller's matrix stays as it is
        rows.sum_duplicates()
    values = contiguous(rows.data, dtype)
    if not np.isfinite(values).all():
        refuse_non_finite(rows.data, dtype)
    starts = np.require(rows.indptr, np.int64, ["C", "A"])
    return Csr(flat(values), flat(np.require(rows.indices, np.int32, ["C", "A"])), flat(starts))


def refuse_unusable(X: Any) -> None:
    """Raise the error for arrays that NumPy would turn into numbers though they mean something else.

    A TypeError for masked arrays, times and records; a ValueError for sparse matrices whose arrays don't fit together.
    """
    if is_sparse(X):
        sound_sparse(X)
    refuse_meanings("X", X)


def contiguous(X: Array, dtype: np.dtype[Any]) -> Array:
    """`X` as a C-contiguous, aligned array of `dtype` in native byte order, copied only if it isn't one already."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(X, dtype, ["C", "A"])


def finite_rows(X: Array, dtype: np.dtype[Any]) -> Array:
    """`contiguous` rows whose numbers are all finite.

    Raises a ValueError if a number isn't finite, or is too large for `dtype`.
    """
    rows = contiguous(X, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without a temporary array. The sum may overflow although all numbers are finite: then look at each.
        may_be_refused = not np.isfinite(rows.sum(dtype=dtype))
    if may_be_refused and not np.isfinite(rows).all():
        refuse_non_finite(X, dtype)
    return rows


def refuse_non_finite(X: Array, dtype: np.dtype[Any]) -> NoReturn:
    """Raise the ValueError for rows of which some numbers, or the network's outputs, aren't finite in `dtype`."""
    if np.isfinite(contiguous(X, dtype)).all():
        raise SumsOverflowError(f"X is so large that the network's outputs overflow {dtype}: standardise X.")
    if X.dtype.kind != "f" or np.isfinite(X).all():
        raise ValueError(f"X holds values too large for {dtype}: scale them, or use a float64 network.")
    raise ValueError("X holds NaN or infinity: remove or impute such values first.")


def as_class_indices(y: Any, n_rows: int, n_classes: int, classes: Array | None) -> NDArray[np.int64]:
    """The class indices of the labels `y`; without `classes`, `y` holds class indices already.

    Raises
    ------
    TypeError
        If there are no classes and `y` isn't of an integer dtype, or if `y` is masked.
    ValueError
        If the length of `y` isn't `n_rows`, or the network doesn't have a label or an index of `y`.
    """
    labels = np.asarray(exact_labels(y))
    if labels.shape != (n_rows,):
        raise ValueError(f"y must have shape ({n_rows},), one label for each row of X, got {labels.shape}.")
    if classes is None:
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"y must hold class indices of an integer dtype, got {labels.dtype}; "
                "a network that is created with classes= takes labels."
            )
        if n_rows and (labels.min() < 0 or labels.max() >= n_classes):
            raise ValueError(
                f"y must hold class indices from 0 to {n_classes - 1}, got {labels.min()} to {labels.max()}."
            )
        return labels.astype(np.int64)
    order = np.argsort(classes)
    # `searchsorted` would make floats of int64 and uint64, and some might become the same. The comparison is exact.
    mixed = labels.dtype.kind + classes.dtype.kind in ("iu", "ui")
    wanted = labels.astype(classes.dtype) if mixed else labels
    try:
        indices = order[np.minimum(np.searchsorted(classes, wanted, sorter=order), n_classes - 1)]
        known = classes[indices] == labels
    except TypeError:  # numbers among strings, or None, can't be put in order
        names = classes.tolist()
        indices = np.array([names.index(label) if label in names else -1 for label in labels.tolist()])
        known = indices >= 0
    if not np.all(known):
        unknown = np.unique(labels[~known].astype(str))[:5]
        raise ValueError(f"y holds labels that the network doesn't have: {', '.join(unknown)}.")
    return indices.astype(np.int64)


def as_targets(y: Any, shape: tuple[int, int], dtype: np.dtype[Any], output: str) -> Array:
    """The outputs' targets as a C-contiguous array of this shape; `y` may be one-dimensional if there is one output.

    Raises a TypeError if `y` holds something else than real numbers. Raises a ValueError if `y` has another shape, a
    number isn't finite, or a number isn't one that the output can be: from 0 to 1 if it is logistic, and at least 0 if
    it is exp.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        targets = np.array(as_numbers("y", y), dtype, order="C")
    if targets.shape == shape[:1] and shape[1] == 1:
        targets = targets.reshape(shape)
    if targets.shape != shape:
        raise ValueError(f"y must have shape {shape}, a number for each row and output, got {targets.shape}.")
    if not np.isfinite(targets).all():
        raise ValueError(f"y holds NaN, infinity, or values too large for {dtype}.")
    if output == "logistic" and targets.size and (targets.min() < 0 or targets.max() > 1):
        raise ValueError(f"y must hold 0 or 1 for each label, got {targets.min()} to {targets.max()}.")
    if output == "exp" and targets.size and targets.min() < 0:
        raise ValueError(f"y must hold numbers of at least 0 for the Poisson loss, got {targets.min()}.")
    return targets


def as_weights(sample_weight: Any, n_rows: int, dtype: np.dtype[Any]) -> Array:
    """Sample weights as an array of `dtype`; an empty array if `sample_weight` is None.

    Raises a TypeError if they aren't real numbers, and a ValueError unless there is a weight for each row, weights and
    their sum are finite, and one isn't 0.
    """
    if sample_weight is None:
        return np.empty(0, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.array(as_numbers("sample_weight", sample_weight), dtype)
        total = weights.sum(dtype=dtype)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},), one weight for each row, got {weights.shape}.")
    if not np.isfinite(weights).all():
        raise ValueError(f"sample_weight holds NaN, infinity, or values too large for {dtype}.")
    if n_rows and not weights.any():
        raise ValueError(f"Sample weights must contain at least one non-zero number (in {dtype}).")
    if not np.isfinite(total):
        raise ValueError(f"The sum of sample_weight is too large for {dtype}: divide the weights by their mean.")
    return weights
