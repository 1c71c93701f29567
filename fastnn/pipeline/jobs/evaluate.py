"""How good a model is on rows whose labels are known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fastnn.pipeline.columns.labels import class_indices
from fastnn.pipeline.columns.schema import DataError, check_names
from fastnn.pipeline.columns.text import Spellings, parse
from fastnn.pipeline.io.rebatch import rebatch
from fastnn.pipeline.io.source import BATCH_ROWS
from fastnn.pipeline.jobs.scoring import Scorer, as_stream
from fastnn.pipeline.model import Model
from fastnn.training.validation import mean_log_loss

_BLOCK_ROWS = BATCH_ROWS


@dataclass(frozen=True)
class Evaluation:
    """Measures of a model on some rows.

    Attributes
    ----------
    n_rows : int
        How many rows were scored.
    accuracy : float
        The share of rows whose most probable class is the right one.
    log_loss : float
        The mean of ``-log p`` in nats, p being the probability of the right class, or the dtype's epsilon where that is
        larger, as in scikit-learn.
    confusion : ndarray of int64, shape (n_classes, n_classes)
        How many rows of each class (first axis) were predicted as each class (second axis).
    """

    n_rows: int
    accuracy: float
    log_loss: float
    confusion: np.ndarray


def evaluate(model: Model, data: Any, target: str, spelt: Spellings | None = None) -> Evaluation:
    """Compare a model's predictions with the labels of a table, or of a stream of batches, in bounded memory.

    Parameters
    ----------
    model : Model
        A trained model.
    data : iterable of pyarrow.RecordBatch, or anything that speaks Arrow
        Rows with the model's columns and the target column.
    target : str
        The column of the true labels.
    spelt : mapping of str to Spelling, optional
        How columns that arrive as text are read (see `Scorer`).

    Raises
    ------
    DataError
        If there are no rows, there is no target column, or labels are missing.
    SchemaError
        If the columns don't fit the model, or a label isn't one of its classes.
    """
    schema, batches = as_stream(data)
    if schema is not None:
        check_names(schema, [target])
    # The true labels stay out of the scores' columns, one of which may have the target's name.
    truth: deque[np.ndarray] = deque()

    def noted() -> Iterator[pa.RecordBatch]:
        spelling = {target: spelt[target]} if spelt and target in spelt else {}
        for batch in batches:
            check_names(batch.schema, [target])
            if batch.num_rows:
                labels = parse(batch.select([target]), spelling, None).column(target)
                truth.append(class_indices(target, pa.chunked_array([labels]), model.classes))
                yield batch

    n_classes = model.network.n_classes
    confusion = np.zeros((n_classes, n_classes), np.int64)
    loss = 0.0
    scores = Scorer(model, output="proba", spelt=spelt).batches(noted())
    # The scores are cut into blocks, so that the mean's bits don't depend on the batches.
    for scored in rebatch(scores, _BLOCK_ROWS):
        right, proba = next_rows(truth, scored.num_rows), np.column_stack([c.to_numpy() for c in scored.columns])
        np.add.at(confusion, (right, proba.argmax(axis=1)), 1)
        loss += mean_log_loss(proba, right) * len(right)
    n_rows = int(confusion.sum())
    if not n_rows:
        raise DataError("There are no rows.")
    return Evaluation(n_rows, float(confusion.trace() / n_rows), loss / n_rows, confusion)


def next_rows(arrays: deque[np.ndarray], n: int) -> np.ndarray:
    """Take the next `n` elements out of a queue of arrays."""
    taken = []
    while n:
        first = arrays.popleft()
        if len(first) > n:
            arrays.appendleft(first[n:])
        taken.append(first[:n])
        n -= len(taken[-1])
    return np.concatenate(taken)
