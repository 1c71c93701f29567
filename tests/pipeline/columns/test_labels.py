"""Labels: classes and indices from Arrow columns."""

import datetime
import math

import numpy as np
import pyarrow as pa
import pytest

from fastnn.pipeline.columns.labels import MOST_CLASSES, ClassLearner, class_indices
from fastnn.pipeline.columns.schema import DataError, SchemaError


def learn_classes(name, labels, rows=1):
    """The classes, learnt from batches of `rows` rows."""
    learner = ClassLearner(name)
    for first in range(0, len(labels), rows):
        learner.update(labels.slice(first, rows).combine_chunks())
    return learner.finish()


def column(*values, type=None):
    return pa.chunked_array([pa.array(values, type)])


@pytest.mark.parametrize(
    ("labels", "classes", "dtype"),
    [
        (column("b", "a", "b"), ["a", "b"], "<U1"),
        (column("b", "a").cast(pa.large_string()), ["a", "b"], "<U1"),
        (column("b", "a").dictionary_encode(), ["a", "b"], "<U1"),
        (column(3, -1, 3), [-1, 3], "int64"),
        (column(2, 1, type=pa.uint8()), [1, 2], "int64"),
        (column(2.0, 1.0), [1, 2], "int64"),
        (column(True, False), [False, True], "bool"),
    ],
)
def test_classes_and_indices(labels, classes, dtype):
    learnt = learn_classes("y", labels)
    assert learnt.tolist() == classes and learnt.dtype == dtype
    indices = class_indices("y", labels, learnt)
    assert indices.dtype == np.int64
    assert learnt[indices].tolist() == pa.chunked_array(labels.chunks).to_pylist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (column("a", None), "missing in 1 row of 2"),
        (column("a", "", None), "missing in 2 rows of 3"),
        (column(1.0, math.nan), "missing in 1 row of 2"),
        (column(1, 1), "one class only, 1"),
        (column(1.5, 2.0), "aren't whole"),
        (column(1.0, math.inf), "aren't whole"),
        (column(datetime.date(2020, 1, 1)), "date32.*can't be classes"),
        (column([1]), "can't be classes"),
        (column("a\0", "a"), r"class 'a\\x00': a label can't end in a NUL"),
        (column(2**63, 1, type=pa.uint64()), "labels above 9223372036854775807"),
        (column(type=pa.string()), "no rows"),
        (column(None, None), "missing in 2 rows"),
    ],
)
def test_refused(labels, message):
    with pytest.raises(DataError, match=message):
        learn_classes("y", labels)
    if len(labels):
        with pytest.raises(DataError, match=message):
            learn_classes("y", labels, rows=100)


def test_an_identifier_is_no_class():
    with pytest.raises(DataError, match="'y' has more than 65536 classes: is it an identifier"):
        learn_classes("y", column(*range(MOST_CLASSES + 1)), rows=1000)


def test_labels_of_another_model():
    with pytest.raises(SchemaError, match=r"'c', 'd'.*'a', 'b'"):
        class_indices("y", column("a", "c", "d"), np.array(["a", "b"]))
    with pytest.raises(SchemaError, match="is int64, but the model's classes are large_string"):
        class_indices("y", column(1, 2), np.array(["a", "b"]))
