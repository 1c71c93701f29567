"""From what a caller passes to the rows and class indices that a network reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import flat
from fastnn.kernels.forward.sparse import Csr

Array = NDArray[Any]


class SumsOverflowError(ValueError):
    """Weights and inputs are finite, but not their products' sums."""


@dataclass(frozen=True)
class Samples:
    """What to train on.

    Parameters
    ----------
    X : array_like or sparse matrix of shape (n, n_features)
    y : array_like of shape (n,)
        Labels if the network has classes, otherwise class indices.
    sample_weight : array_like of shape (n,), optional
        Each sample's weight in the mean loss.
    """

    X: Any
    y: Any
    sample_weight: Any = None


class Parts(ABC):
    """Samples that are more than memory holds: they come in parts, anew for each epoch."""

    @abstractmethod
    def parts(self, epoch: int) -> Generator[Samples, None, None]:
        """The samples of an epoch, from 0, as `Network.checked` gives them.

        A batch ends with its part: all parts but the last should be whole batches.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """What tells these samples from others."""


def as_rows(X: Any, n_features: int) -> Array:
    """`X` as a two-dimensional array of real numbers, not copied if it is one.

    Raises
    ------
    TypeError
        If it is masked, or holds something else than real numbers.
    ValueError
        If it isn't two-dimensional or has another number of columns.
    """
    refuse_unusable(X)
    array = np.asarray(X)
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"X holds something else than numbers: {error}.") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"X must hold real numbers, got dtype {array.dtype}.")
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


def is_sparse(X: Any) -> bool:
    """Whether it is one of SciPy's sparse matrices or arrays, which we know without loading SciPy."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def sound(X: Any) -> Any:
    """The sparse matrix itself, of parts that fit together; whether its columns are in order is yet to be seen.

    SciPy makes one of any parts, and walks beyond its arrays with them. The check takes 0.9 ms for 2 million entries.

    Raises
    ------
    ValueError
        If its indices lie outside.
    """
    if not hasattr(X, "check_format"):  # it isn't compressed, and SciPy has made its parts
        return X
    try:
        # Another one of the same parts: of this one SciPy may remember an order that was changed since.
        again = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
        again.check_format(full_check=True)
    except (ValueError, IndexError) as error:
        raise ValueError(f"X isn't a sound sparse matrix: {error}.") from None
    return again


def as_sparse_rows(X: Any, n_features: int, dtype: np.dtype[Any]) -> Csr:
    """A sparse matrix or array as the kernels take it: compressed rows whose columns are in order, all of `dtype`.

    Raises
    ------
    TypeError
        If it holds something else than real numbers.
    ValueError
        If it isn't two-dimensional, has another number of columns, or a value isn't finite in `dtype`.
    """
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, a row for each sample, got shape {X.shape}.")
    _check_features(X.shape[1], n_features)
    rows = sound(X).tocsr()
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"X must hold real numbers, got dtype {rows.dtype}.")
    if not rows.has_canonical_format:
        rows = rows.copy()  # what is the caller's stays as it is
        rows.sum_duplicates()
    values = converted(rows.data, dtype)
    if not np.isfinite(values).all():
        refuse_strangers(rows.data, dtype)
    starts = np.require(rows.indptr, np.int64, ["C", "A"])
    return Csr(flat(values), flat(np.require(rows.indices, np.int32, ["C", "A"])), flat(starts))


def refuse_unusable(X: Any) -> None:
    """Raise the error for arrays that NumPy would make numbers of, though they hold something else; or unsound ones."""
    if is_sparse(X):
        sound(X)
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError("X is a masked array: fill its holes first, for example with X.filled(0).")
    if isinstance(X, np.ndarray) and X.dtype.kind in "mMV":  # times and records
        raise TypeError(f"X must hold real numbers, got dtype {X.dtype}.")


def converted(X: Array, dtype: np.dtype[Any]) -> Array:
    """The rows of `X` as a C-contiguous, aligned, native array of `dtype`, copied only if they aren't one already."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(X, dtype, ["C", "A"])


def plain(X: Array, dtype: np.dtype[Any]) -> Array:
    """`converted` rows, all finite.

    Raises a ValueError if a number isn't finite, or is too large for `dtype`.
    """
    rows = converted(X, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without a temporary; a sum that overflows says nothing yet.
        suspicious = not np.isfinite(rows.sum(dtype=dtype))
    if suspicious and not np.isfinite(rows).all():
        refuse_strangers(X, dtype)
    return rows


def refuse_strangers(X: Array, dtype: np.dtype[Any]) -> NoReturn:
    """Raise the ValueError for rows that aren't all finite in `dtype`, or whose outputs aren't."""
    if np.isfinite(converted(X, dtype)).all():
        raise SumsOverflowError(f"X is so large that the network's sums overflow {dtype}: standardise X.")
    if X.dtype.kind != "f" or np.isfinite(X).all():
        raise ValueError(f"X holds values too large for {dtype}: scale them, or use a float64 network.")
    raise ValueError("X holds NaN or infinity: remove or impute such values first.")


def as_class_indices(y: Any, n_rows: int, n_classes: int, classes: Array | None) -> NDArray[np.int64]:
    """Class indices of `y`: of its labels if `classes` names them, otherwise `y` itself.

    Raises
    ------
    TypeError
        If there are no classes and `y` isn't of an integer dtype.
    ValueError
        If its length is another one, or a label or an index doesn't belong to the network.
    """
    labels = np.asarray(y)
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
    try:
        indices = order[np.minimum(np.searchsorted(classes, labels, sorter=order), n_classes - 1)]
        known = classes[indices] == labels
    except TypeError:  # numbers among strings, or None: they have no order
        names = classes.tolist()
        indices = np.array([names.index(label) if label in names else -1 for label in labels.tolist()])
        known = indices >= 0
    if not np.all(known):
        strangers = np.unique(labels[~known].astype(str))[:5]
        raise ValueError(f"y holds labels that the network doesn't have: {', '.join(strangers)}.")
    return indices.astype(np.int64)


def as_targets(y: Any, shape: tuple[int, int], dtype: np.dtype[Any], shares: bool) -> Array:
    """The numbers that outputs shall have, as a plain array of this shape; one output's may be one-dimensional.

    Raises a ValueError if they have another shape, aren't finite, or (`shares`) not from 0 to 1.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        targets = np.array(y, dtype, order="C")
    if targets.shape == shape[:1] and shape[1] == 1:
        targets = targets.reshape(shape)
    if targets.shape != shape:
        raise ValueError(f"y must have shape {shape}, a number for each row and output, got {targets.shape}.")
    if not np.isfinite(targets).all():
        raise ValueError(f"y holds NaN, infinity, or values too large for {dtype}.")
    if shares and targets.size and (targets.min() < 0 or targets.max() > 1):
        raise ValueError(f"y must hold 0 or 1 for each label, got {targets.min()} to {targets.max()}.")
    return targets


def as_weights(sample_weight: Any, n_rows: int, dtype: np.dtype[Any]) -> Array:
    """Sample weights as a plain array of `dtype`, empty if there are none.

    Raises a ValueError if there isn't one for each row, or one isn't finite.
    """
    if sample_weight is None:
        return np.empty(0, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.array(sample_weight, dtype)
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
