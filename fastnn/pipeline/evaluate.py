"""How good a model is on a table whose labels are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastnn.pipeline.labels import class_indices
from fastnn.pipeline.model import Model
from fastnn.pipeline.schema import check_names
from fastnn.validation import mean_log_loss


@dataclass(frozen=True)
class Evaluation:
    """Measures of a model on some rows.

    Attributes
    ----------
    n_rows : int
    accuracy : float
        The share of rows whose most probable class is the right one.
    log_loss : float
        The mean of ``-log p`` of the right class, in nats; p is at least its dtype's epsilon, as in scikit-learn.
    confusion : ndarray of int64, shape (n_classes, n_classes)
        Rows of each class (first axis) that were predicted as each class (second axis).
    """

    n_rows: int
    accuracy: float
    log_loss: float
    confusion: np.ndarray


def evaluate(model: Model, table: pa.Table, target: str) -> Evaluation:
    """Compare a model's predictions with a table's labels.

    Parameters
    ----------
    model : Model
        A trained model.
    table : pyarrow.Table
        With the model's columns and the target's.
    target : str
        The column of the true labels.

    Raises
    ------
    DataError
        If there are no rows, no such column, or labels are missing.
    SchemaError
        If columns don't fit the model, or labels are none of its classes.
    """
    check_names(table.schema, [target])
    truth = class_indices(target, table.column(target), model.classes)
    proba = model.predict_proba(table)
    predicted = proba.argmax(axis=1)
    confusion = np.zeros((model.network.n_classes,) * 2, np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    return Evaluation(
        n_rows=len(truth),
        accuracy=float(np.mean(truth == predicted)),
        log_loss=mean_log_loss(proba, truth),
        confusion=confusion,
    )
