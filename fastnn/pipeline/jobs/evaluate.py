"""How good a model is on rows whose labels or values are known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.pipeline.columns.arrow import to_arrow, to_numpy
from fastnn.pipeline.columns.labels import is_missing
from fastnn.pipeline.columns.schema import DataError, RowError, check_names, listed, names_of
from fastnn.pipeline.columns.statistics import Moments
from fastnn.pipeline.columns.targets import ClassTarget, known_numbers
from fastnn.pipeline.columns.text import Spellings, parse
from fastnn.pipeline.io.rebatch import rebatch
from fastnn.pipeline.io.source import BATCH_ROWS
from fastnn.pipeline.jobs.result import Output
from fastnn.pipeline.jobs.scoring import Scorer, as_stream
from fastnn.pipeline.model import Model
from fastnn.training.validation import mean_log_loss

_BLOCK_ROWS = BATCH_ROWS
_SAMPLE_ROWS = 10_000


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
    n_skipped : int
        How many rows were left out, since they had no truth or couldn't be scored.
    """

    n_rows: int
    accuracy: float
    log_loss: float
    confusion: np.ndarray
    n_skipped: int = 0


@dataclass(frozen=True)
class RegressionEvaluation:
    """Measures of a regression on some rows, in the targets' own units.

    Attributes
    ----------
    n_rows : int
        How many rows were scored.
    r2, rmse, mae : dict of str to float
        For each target the coefficient of determination, the root of the mean squared error, and the mean absolute
        error. Where all true values are equal, R² is 1 if the predictions equal them and 0 otherwise, as in
        scikit-learn.
    sample : ndarray of float64, shape (n_targets, 2, n)
        The true values and the predictions of some rows, for a plot.
    n_skipped : int
        How many rows were left out, since they had no truth or couldn't be scored.
    """

    n_rows: int
    r2: dict[str, float]
    rmse: dict[str, float]
    mae: dict[str, float]
    sample: np.ndarray
    n_skipped: int = 0


def evaluate(
    model: Model,
    data: Any,
    target: str | Sequence[str],
    spelt: Spellings | None = None,
    on_bad_row: Literal["fail", "skip"] = "fail",
) -> Evaluation | RegressionEvaluation:
    """Compare a model's predictions with the truth in a table, or in a stream of batches, in bounded memory.

    Parameters
    ----------
    model : Model
        A trained model.
    data : iterable of pyarrow.RecordBatch, or anything that speaks Arrow
        Rows with the model's columns and the target columns.
    target : str or sequence of str
        The columns of the true labels or values; of several targets in the model's order.
    spelt : mapping of str to Spelling, optional
        How columns that arrive as text are read (see `Scorer`).
    on_bad_row : {"fail", "skip"}
        What becomes of rows that can't be scored or that have no truth: an error, or they are left out and counted.

    Raises
    ------
    DataError
        If there are no rows or no target column; as a `RowError`, if a row can't be scored or has no truth.
    SchemaError
        If the columns don't fit the model, or a label isn't one of its classes.
    """
    if on_bad_row not in ("fail", "skip"):
        raise ValueError(f"on_bad_row must be fail or skip, got {on_bad_row!r}.")
    targets = names_of("target", target)
    if len(targets) != len(model.learnt.names):
        raise DataError(
            f"The model predicts {listed(model.learnt.names)}: name as many columns, not {listed(targets)}."
        )
    measures = _OfClasses(model, targets) if model.task == "classification" else _OfNumbers(model, targets)
    schema, batches = as_stream(data)
    if schema is not None:
        check_names(schema, targets)
    truth = _Truth(measures, targets, spelt or {}, on_bad_row == "skip")
    output: Output = "proba" if model.task == "classification" else "label"
    scorer = Scorer(model, output=output, spelt=spelt, on_bad_row="null" if on_bad_row == "skip" else "fail")
    n_rows = 0
    # The scores are cut into blocks, so that the bits of sums don't depend on the batches.
    for scored in rebatch(scorer.batches(truth.noted(batches)), _BLOCK_ROWS):
        right = next_rows(truth.waiting, scored.num_rows)
        there = ~is_missing(scored.column(0))
        found = np.column_stack([to_numpy(column) for column in scored.columns])
        if not there.all():
            right, found = right[there], found[there]
        if len(right):
            measures.update(right, found)
        n_rows += len(right)
    n_skipped = truth.n_skipped + scorer.bad_rows
    if not n_rows:
        left_out = f": all {n_skipped} had no true value, or couldn't be scored" if n_skipped else ""
        raise DataError(f"There are no rows to measure{left_out}.")
    return measures.finish(n_skipped)


class _Truth:
    """The true values of the rows that are scored, which wait for the scores.

    They aren't among the scores' columns, one of which may have a target's name.
    """

    def __init__(self, measures: _OfClasses | _OfNumbers, targets: list[str], spelt: Spellings, skips: bool) -> None:
        self._measures, self._targets, self._skips = measures, targets, skips
        self._spelt = {name: spelt[name] for name in targets if name in spelt}
        self.waiting: deque[np.ndarray] = deque()
        self.n_skipped = 0

    def noted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches to score: the same ones, or without the rows whose truth isn't known."""
        first = 0
        for batch in batches:
            check_names(batch.schema, self._targets)
            bad = np.zeros(batch.num_rows, np.bool_)
            known = parse(batch.select(self._targets), self._spelt, bad if self._skips else None, first)
            if self._skips:
                bad |= np.logical_or.reduce([_is_unknown(column) for column in known.columns])
            keep = to_arrow(~bad)
            if bad.any():
                self.n_skipped += int(bad.sum())
                known = known.filter(keep)
            if known.num_rows:
                try:
                    self.waiting.append(self._measures.truth(known))
                except RowError as error:
                    raise RowError(first + int(np.flatnonzero(~bad)[error.row]), error.problem) from None
                yield batch.filter(keep) if bad.any() else batch
            first += batch.num_rows


def _is_unknown(truth: pa.Array) -> NDArray[np.bool_]:
    """Which true values are missing or infinite."""
    infinite = np.isinf(to_numpy(truth)) if pa.types.is_floating(truth.type) else False
    return is_missing(truth) | infinite


class _OfClasses:
    """The measures of a classification, block by block."""

    def __init__(self, model: Model, targets: Sequence[str]) -> None:
        self._target = ClassTarget(targets[0], model.classes)
        self._dtype = model.network.dtype
        n = len(model.classes)
        self._confusion = np.zeros((n, n), np.int64)
        self._loss = 0.0

    def truth(self, batch: pa.RecordBatch) -> np.ndarray:
        """The true classes' indices."""
        return self._target.values(batch, self._dtype)

    def update(self, right: np.ndarray, proba: np.ndarray) -> None:
        """Add a block of rows: the true classes' indices, and the probabilities."""
        np.add.at(self._confusion, (right, proba.argmax(axis=1)), 1)
        self._loss += mean_log_loss(proba, right) * len(right)

    def finish(self, n_skipped: int) -> Evaluation:
        """The measures of all rows."""
        confusion, n_rows = self._confusion, int(self._confusion.sum())
        return Evaluation(n_rows, float(confusion.trace() / n_rows), self._loss / n_rows, confusion, n_skipped)


class _OfNumbers:
    """The measures of a regression, block by block."""

    def __init__(self, model: Model, targets: Sequence[str]) -> None:
        self._names = targets
        n = len(targets)
        self._moments = Moments(n)
        self._squares, self._absolute = np.zeros(n), np.zeros(n)
        self._sample: list[np.ndarray] = []

    def truth(self, batch: pa.RecordBatch) -> np.ndarray:
        """The true values, shape (n, n_targets)."""
        columns = [np.asarray(known_numbers(name, batch.column(name)), np.float64) for name in self._names]
        return np.column_stack(columns)

    def update(self, right: np.ndarray, found: np.ndarray) -> None:
        """Add a block of rows: the true values, and the predictions."""
        self._moments.update(np.ascontiguousarray(right.T))
        with np.errstate(over="ignore", invalid="ignore"):
            self._add(found - right)
        if sum(map(len, self._sample)) < _SAMPLE_ROWS:
            self._sample.append(np.stack([right, found], axis=1)[:_SAMPLE_ROWS])

    def _add(self, errors: np.ndarray) -> None:
        self._squares += (errors**2).sum(axis=0)
        self._absolute += np.abs(errors).sum(axis=0)

    def finish(self, n_skipped: int) -> RegressionEvaluation:
        """The measures of all rows."""
        n = int(self._moments.rows)
        spread = self._moments.squares
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            constant = np.where(self._squares > 0, 0.0, 1.0)
            r2s = np.where(self._moments.low < self._moments.high, 1 - self._squares / spread, constant)
        r2, rmse, mae = (
            dict(zip(self._names, each.tolist(), strict=True))
            for each in (r2s, np.sqrt(self._squares / n), self._absolute / n)
        )
        return RegressionEvaluation(n, r2, rmse, mae, np.concatenate(self._sample)[:_SAMPLE_ROWS].T, n_skipped)


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
