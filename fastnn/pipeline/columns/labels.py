"""The class labels in a table's target column: the set of classes, and the class index of each row."""

from __future__ import annotations

import shlex
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.arrow import strings_to_arrow, to_arrow, to_numpy
from fastnn.pipeline.columns.schema import LEAVE_OUT, DataError, RowError, SchemaError, is_text, listed, value_type
from fastnn.pipeline.columns.text import NO_VALUE

# A column with more classes is an identifier by mistake, and would make a layer of as many outputs.
MOST_CLASSES = 65_536


class ClassLearner:
    """Learns the classes of a target column, batch by batch.

    Parameters
    ----------
    name : str
        The column's name, for messages.

    Attributes
    ----------
    weights : Counter
        The weight of all rows of each class, as far as `update` was given weights.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.weights: Counter[Any] = Counter()
        self._known: pa.Array | None = None
        self._rows = 0
        self._missing = Missing([name])

    def update(self, labels: pa.Array, weight: NDArray[np.float64] | None = None) -> None:
        """Add a batch of labels: strings, integers, booleans, or floats that are whole numbers; with their weights.

        Raises
        ------
        DataError
            If labels of this type can't be classes, or an integer is too large.
        """
        missing = is_missing(labels)
        self._missing.note(missing, self._rows)
        self._rows += len(labels)
        known = _comparable(self.name, labels.filter(to_arrow(~missing)))
        found = pc.unique(known)
        if weight is not None:
            encoded = known.dictionary_encode()
            indices = to_numpy(encoded.indices.cast(pa.int64()))
            sums = np.bincount(indices, weight[~missing], minlength=len(encoded.dictionary))
            self.weights.update(dict(zip(encoded.dictionary.to_pylist(), sums.tolist(), strict=True)))
        self._known = found if self._known is None else pc.unique(pa.chunked_array([self._known, found]))
        if len(self._known) > MOST_CLASSES:
            raise DataError(f"The target {self.name!r} has more than {MOST_CLASSES} classes: is it an identifier?")

    def finish(self) -> np.ndarray:
        """The sorted classes, of dtype str, int64 or bool.

        Raises
        ------
        DataError
            If labels are missing (a RowError), there are fewer than two classes, or a label ends in a NUL character.
        """
        if self._known is None or not self._rows:
            raise DataError("There are no rows.")
        self._missing.refuse(self._rows)
        classes: np.ndarray = np.sort(self._known.to_numpy(zero_copy_only=False))
        if pa.types.is_large_string(self._known.type):
            lost = [label for label in classes if label.endswith("\0")]
            if lost:  # since NumPy takes a NUL at the end for padding
                raise DataError(f"The target {self.name!r} has a class {lost[0]!r}: a label can't end in a NUL.")
            classes = classes.astype(np.str_)
            _say_what_may_be_missing(self.name, classes.tolist())
        if len(classes) < 2:
            raise DataError(
                f"The target {self.name!r} has one class only, {classes[0].item()!r}: there is nothing to learn."
            )
        return classes


def _say_what_may_be_missing(name: str, labels: Sequence[str]) -> None:
    doubtful = [label for label in labels if label in NO_VALUE]
    if doubtful:
        warnings.warn(
            f"The target {name!r} has the value {doubtful[0]!r}, which is learnt like any other class. If it means a "
            f"missing value: --missing {shlex.quote(doubtful[0])}.",
            DataWarning,
            stacklevel=4,
        )


def class_indices(name: str, labels: pa.ChunkedArray, classes: np.ndarray) -> np.ndarray:
    """The index of each row's label among `classes`.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    DataError
        If a label is missing (a RowError), or labels of this type can't be classes.
    SchemaError
        If the labels' type isn't that of the classes, or a label isn't among them.
    """
    if not len(labels):
        raise DataError("There are no rows.")
    missing = Missing([name])
    missing.note(is_missing(labels), 0)
    missing.refuse()
    comparable = _comparable(name, labels)
    known = arrow_labels(classes)
    if comparable.type != known.type:
        raise SchemaError(f"The target {name!r} is {labels.type}, but the model's classes are {known.type}.")
    indices = pc.index_in(comparable, value_set=known)
    if indices.null_count:
        unknown = pc.unique(comparable.filter(indices.is_null())).to_pylist()
        raise SchemaError(
            f"The target {name!r} has labels that the model doesn't know: {listed(unknown)}. "
            f"Its classes are {listed(classes.tolist())}."
        )
    return np.asarray(indices.to_numpy()).astype(np.int64)


def arrow_labels(labels: np.ndarray) -> pa.Array:
    """Labels as an Arrow array of large_string, int64 or bool."""
    return strings_to_arrow(labels.tolist()) if labels.dtype.kind == "U" else to_arrow(labels)


class Missing:
    """How many values of a target are missing, and in which row the first one is.

    Parameters
    ----------
    names : sequence of str
        The target's columns, for messages.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.rows, self.first = 0, 0

    def note(self, missing: NDArray[np.bool_], first_row: int) -> None:
        """Count a batch's missing values; `first_row` is the number of rows before the batch."""
        found = int(missing.sum())
        if found and not self.rows:
            self.first = first_row + int(missing.argmax())
        self.rows += found

    def refuse(self, n_rows: int | None = None) -> None:
        """Raise a RowError if values are missing, among so many rows if these are all."""
        if self.rows:
            rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
            among = "" if n_rows is None else f" in {rows} of {n_rows}"
            raise RowError(self.first, f"The target {listed(self.names)} is missing{among}. {LEAVE_OUT}")


def is_missing(labels: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which values of a target are missing: null, NaN, or an empty string."""
    type_ = value_type(labels.type)
    if is_text(type_):
        missing = pc.equal(labels.cast(pa.large_string()), "").fill_null(True)
    else:
        missing = labels.cast(type_).is_null(nan_is_null=True)
    chunks = missing.chunks if isinstance(missing, pa.ChunkedArray) else [missing]
    return np.concatenate([np.empty(0, np.bool_), *(to_numpy(chunk.cast(pa.uint8())) == 1 for chunk in chunks)])


def _comparable(name: str, labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """The labels, none of which may be missing, as an array of large_string, int64 or bool."""
    type_ = value_type(labels.type)
    if is_text(type_):
        return labels.cast(pa.large_string())
    labels = labels.cast(type_)
    if pa.types.is_boolean(type_):
        return labels
    if not (pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_null(type_)):
        raise DataError(f"The target {name!r} is {type_}: its values can't be classes.")
    try:
        return labels.cast(pa.int64())
    except pa.ArrowInvalid:
        if pa.types.is_integer(type_):
            raise DataError(f"The target {name!r} has labels above {2**63 - 1}, the largest int64.") from None
        raise DataError(f"The target {name!r} ({type_}) has values that can't be classes: they aren't whole.") from None


def class_factors(said: Any, classes: np.ndarray, of_classes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The factor of each class's weight, as scikit-learn's ``compute_class_weight`` defines it.

    Parameters
    ----------
    said : "balanced" or mapping
        With "balanced", all classes weigh the same together; a mapping has the factors of labels, and 1 for others.
    classes : ndarray
        The labels.
    of_classes : ndarray of float64
        The weight of all rows of each class.

    Raises
    ------
    DataError
        If the mapping names another label, or a factor isn't a number of at least 0.
    """
    if isinstance(said, Mapping):
        labels = classes.tolist()
        unknown = [label for label in said if label not in labels]
        if unknown:
            raise DataError(
                f"class_weight names {listed(list(map(str, unknown)))}, but the classes are {listed(labels)}."
            )
        factors = np.array([said.get(label, 1.0) for label in labels], np.float64)
        if not ((factors >= 0) & (factors < np.inf)).all():
            raise DataError(f"class_weight must hold numbers of at least 0, got {dict(said)!r}.")
        return factors
    with np.errstate(divide="ignore"):
        factors = of_classes.sum() / (len(classes) * of_classes)
    return np.where(of_classes > 0, factors, 0.0)
