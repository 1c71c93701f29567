"""Class labels in a table's column: which there are, and the class index of each row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastnn.pipeline.schema import DataError, SchemaError, listed


def learn_classes(name: str, labels: pa.ChunkedArray) -> np.ndarray:
    """The sorted classes of a target column.

    Parameters
    ----------
    name : str
        The column's name, for messages.
    labels : pyarrow.ChunkedArray
        Strings, integers, booleans, or floats that are whole numbers.

    Returns
    -------
    ndarray, shape (n_classes,)
        Of dtype str, int64 or bool.

    Raises
    ------
    DataError
        If a label is missing, there are fewer than two classes, or the type can't name classes.
    """
    known = pc.unique(_comparable(name, labels))
    classes: np.ndarray = np.sort(known.to_numpy(zero_copy_only=False))
    if pa.types.is_large_string(known.type):
        classes = classes.astype(np.str_)
    if len(classes) < 2:
        raise DataError(f"The target {name!r} has one class only, {classes[0].item()!r}: there is nothing to learn.")
    return classes


def class_indices(name: str, labels: pa.ChunkedArray, classes: np.ndarray) -> np.ndarray:
    """The index of each row's label among `classes`.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    DataError
        If a label is missing or the type can't name classes.
    SchemaError
        If labels aren't of the classes' type, or among them.
    """
    comparable = _comparable(name, labels)
    known = arrow_labels(classes)
    if comparable.type != known.type:
        raise SchemaError(f"The target {name!r} is {labels.type}, but the model's classes are {known.type}.")
    indices = pc.index_in(comparable, value_set=known)
    if indices.null_count:
        strangers = pc.unique(comparable.filter(indices.is_null())).to_pylist()
        raise SchemaError(
            f"The target {name!r} has labels that the model doesn't know: {listed(strangers)}. "
            f"Its classes are {listed(classes.tolist())}."
        )
    return np.asarray(indices.to_numpy()).astype(np.int64)


def arrow_labels(labels: np.ndarray) -> pa.Array:
    """Labels as Arrow has them: large_string, int64 or bool."""
    return pa.array(labels.tolist(), pa.large_string()) if labels.dtype.kind == "U" else pa.array(labels)


def _comparable(name: str, labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """The labels as large_string, int64 or bool, none of them missing."""
    if not len(labels):
        raise DataError("There are no rows.")
    type_ = labels.type
    if pa.types.is_dictionary(type_):
        labels, type_ = labels.cast(type_.value_type), type_.value_type
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    if is_text:
        labels = labels.cast(pa.large_string())
    missing = pc.equal(labels, "").fill_null(True) if is_text else labels.is_null(nan_is_null=True)
    n_missing = pc.sum(missing).as_py()
    if n_missing:
        rows = "1 row" if n_missing == 1 else f"{n_missing} rows"
        raise DataError(f"The target {name!r} is missing in {rows} of {len(labels)}.")
    if is_text or pa.types.is_boolean(type_):
        return labels
    if not pa.types.is_integer(type_) and not pa.types.is_floating(type_):
        raise DataError(f"The target {name!r} is {type_}: its values can't be classes.")
    try:
        return labels.cast(pa.int64())
    except pa.ArrowInvalid:
        raise DataError(f"The target {name!r} isn't whole numbers, so they can't be classes ({type_}).") from None
