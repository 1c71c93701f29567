"""Scoring: of a stream of rows in order and in bounded memory, Arrow in and Arrow out, and of files into files."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fastnn.pipeline.columns.drift import Drift
from fastnn.pipeline.columns.schema import DataError, RowError, SchemaError
from fastnn.pipeline.columns.text import Spellings, parse, parsed_schema, spellings_of
from fastnn.pipeline.io.overlap import read_ahead
from fastnn.pipeline.io.rebatch import coalesce
from fastnn.pipeline.io.sinks import write_batches
from fastnn.pipeline.io.source import BATCH_ROWS, at_its_place, plain_batches, plain_schema
from fastnn.pipeline.jobs.job import Job, Scored, Task
from fastnn.pipeline.jobs.result import OnBadRow, Output, ResultColumns
from fastnn.pipeline.model import Model, not_arrow
from fastnn.runtime.threads import available_threads
from fastnn.training.interrupts import held_back

# One thread scores this many rows at a time, which is what a file's batches have. For 30 columns, it takes 0.2 ms to
# prepare the launch of a kernel, and 7 ms to score this many rows.
_PIECE_ROWS = BATCH_ROWS


class DriftError(SchemaError):
    """The data's distribution has moved further from that of training than the limit allows."""


def predict_batches(
    model: Model | str | os.PathLike[str],
    batches: Any,
    *,
    keep: Sequence[str] = (),
    output: Output = "both",
    on_bad_row: OnBadRow = "fail",
) -> Iterator[pa.RecordBatch]:
    """Score a stream of rows, in their order and in bounded memory.

    Parameters
    ----------
    model : Model or path
        A trained model, or its file.
    batches : iterable of pyarrow.RecordBatch, or anything that speaks Arrow
        The rows, which are read once, as many batches ahead as there are threads. The columns may stand in any order,
        with others beside them. The columns are checked at once if the stream has a schema, otherwise with its first
        batch.
    keep : sequence of str
        Columns that the result keeps.
    output : {"both", "proba", "label"}
        Whether the result has ``prediction`` (the most probable class), a ``probability_…`` for each class, or both.
    on_bad_row : {"fail", "null", "skip"}
        What becomes of rows that can't be scored, because a number is infinite or far too large: an error, nulls
        in place of the scores, or no row. A `Scorer` counts them.

    Returns
    -------
    iterator of pyarrow.RecordBatch
        Batches of at most 131,072 rows. A row's bits don't depend on how the rows are cut into batches.

    Raises
    ------
    ModelFileError
        If the model file can't be used.
    SchemaError
        If a column is missing or of another kind of type than in training.
    DataError
        If a row can't be scored (a RowError), or if a column to keep isn't there, has the name of one of the result's
        columns, or has a type that Arrow can't filter while bad rows are skipped.
    """
    return Scorer(model, keep=keep, output=output, on_bad_row=on_bad_row).batches(batches)


class Scorer(ResultColumns):
    """What `predict_batches` does, with the schema of its result and the count of its rows.

    Parameters
    ----------
    model, keep, output, on_bad_row
        As for `predict_batches`.
    spelt : mapping of str to Spelling, optional
        How columns that arrive as text, as from a CSV file, are read. A value that can't be parsed makes a bad row. By
        default only columns that were text in training may be text.
    drift : Drift, optional
        The measure of the columns' drift, which takes all rows into account.

    Attributes
    ----------
    rows, bad_rows : int
        How many rows have come in, and how many of them couldn't be scored.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        *,
        keep: Sequence[str] = (),
        output: Output = "both",
        on_bad_row: OnBadRow = "fail",
        spelt: Spellings | None = None,
        drift: Drift | None = None,
    ) -> None:
        super().__init__(model if isinstance(model, Model) else Model.load(model), keep, output, on_bad_row)
        self.spelt = spellings_of(self.model.schema, typed=True) if spelt is None else spelt
        self.drift = drift
        self.rows = self.bad_rows = 0

    def schema(self, table: pa.Schema) -> pa.Schema:
        """The columns of the result for a table of this schema, some of which may be text (`spelt`).

        Raises
        ------
        SchemaError, DataError
            As `predict_batches`.
        """
        self.model.schema.check(parsed_schema(table, self.spelt))
        return super().schema(table)

    def batches(self, batches: Any) -> Iterator[pa.RecordBatch]:
        """Score a stream of rows, as `predict_batches` does."""
        schema, stream = as_stream(batches)
        made = None if schema is None else self.schema(schema)
        return self._scored(stream, schema, made)

    def _scored(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema | None, made: pa.Schema | None
    ) -> Iterator[pa.RecordBatch]:
        # Each thread scores a batch of its own. If several threads scored one batch together, all would wait for the
        # one that shares its processor with the reader or the writer (30-64-3, two processors: 1.5 times the time).
        n_threads = available_threads()
        pool = ThreadPoolExecutor(n_threads, "fastnn-score")
        waiting: deque[Future[_Piece]] = deque()
        first_row, process = self.rows, os.getpid()
        try:
            for batch in batches:
                if os.getpid() != process:  # the child would wait for threads that it doesn't have
                    raise RuntimeError("A stream that was begun before a fork can't be scored in the child.")
                if schema is None or made is None or not schema.equals(batch.schema):
                    before, schema, made = made, batch.schema, self.schema(batch.schema)
                    if before is not None and not before.equals(made):
                        raise SchemaError(f"The kept columns' types change after {first_row} rows, to {made.types}.")
                for start in range(0, batch.num_rows, _PIECE_ROWS):
                    waiting.append(pool.submit(self._score, batch.slice(start, _PIECE_ROWS), first_row, made))
                    first_row += min(_PIECE_ROWS, batch.num_rows - start)
                    if len(waiting) == n_threads:
                        yield self._counted(waiting.popleft().result())
                del batch  # so that its memory is free while the next batch is read
            while waiting:
                yield self._counted(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _counted(self, scored: _Piece) -> pa.RecordBatch:
        if self.drift is not None and scored.rows is not None:
            self.drift.update(scored.rows, self.rows)
        self.rows += scored.n_rows
        self.bad_rows += scored.n_bad
        return scored.scores

    def _score(self, batch: pa.RecordBatch, first_row: int, made: pa.Schema) -> _Piece:
        n_rows, bad = batch.num_rows, None
        if self.on_bad_row != "fail":
            bad = np.zeros(n_rows, np.bool_)
        given, batch = batch, parse(batch, self.spelt, bad, first_row)
        # A row for each class, since Arrow needs each of its columns contiguous.
        columns = np.empty((self.model.network.n_classes, n_rows), self.model.network.dtype)
        try:
            self.model.fill_columns(batch, columns, bad=bad, n_threads=1)
        except DataError:
            raise self._at_its_row(batch, first_row) from None
        if bad is not None and not bad.any():
            bad = None
        n_bad = 0 if bad is None else int(np.count_nonzero(bad))
        scores = self.fill(made, given, columns, bad)
        return _Piece(None if self.drift is None else batch, n_rows, n_bad, scores)

    def _at_its_row(self, batch: pa.RecordBatch, first_row: int) -> RowError:
        """The error of the first row of a batch that can't be scored."""
        columns = np.empty((self.model.network.n_classes, batch.num_rows), self.model.network.dtype)
        bad = np.zeros(batch.num_rows, np.bool_)
        self.model.fill_columns(batch, columns, bad=bad, n_threads=1)
        row = int(bad.argmax())
        try:
            self.model.fill_columns(batch.slice(row, 1), columns, n_threads=1)
        except DataError as error:
            return RowError(first_row + row, str(error))
        raise AssertionError("a row is bad among others and good alone")


class _Piece(NamedTuple):
    """Some rows that were scored together: the rows (None unless the drift is measured), their counts, the scores."""

    rows: pa.RecordBatch | None
    n_rows: int
    n_bad: int
    scores: pa.RecordBatch


def as_stream(data: Any) -> tuple[pa.Schema | None, Iterator[pa.RecordBatch]]:
    """The batches of anything that speaks Arrow, or of an iterable of batches, and their schema where it is known.

    String views become large strings, since few of Arrow's functions take views yet.

    Raises
    ------
    TypeError
        If `data` is something else. An iterable raises it when it yields something else.
    """
    if isinstance(data, pa.RecordBatch):
        return plain_schema(data.schema), plain_batches([data])
    if isinstance(data, pa.Table):
        return plain_schema(data.schema), plain_batches(data.to_batches())
    if hasattr(data, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(data)
        return plain_schema(reader.schema), plain_batches(reader)
    if isinstance(data, Iterable):
        return None, plain_batches(map(_as_batch, data))
    raise not_arrow(data)


def _as_batch(item: Any) -> pa.RecordBatch:
    if not isinstance(item, pa.RecordBatch):
        raise not_arrow(item)
    return item


def score_task(job: Job, task: Task, advance: Callable[[int], object] = lambda rows: None) -> Scored:
    """Score a task's rows: the output appears whole or not at all, and its manifest after it.

    `advance` is called now and then with the number of rows scored since the last call.

    Raises
    ------
    SchemaError, DataError
        If the data doesn't fit the model, or can't be used.
    DriftError
        If a column moved further than the limit. There is no new output then.
    OSError
        If the output can't be written.
    KeyboardInterrupt
        Between two batches.
    """
    options = job.options
    drift = Drift(job.model.preprocessor) if options.check_drift else None
    scorer = Scorer(
        job.model,
        keep=options.keep,
        output=options.output,
        on_bad_row=options.on_bad_row,
        spelt=task.spelt,
        drift=drift,
    )
    scorer.kept_types = {name: task.schema.field(name).type for name in options.keep}

    def batches() -> Iterator[pa.RecordBatch]:
        # Reading one batch ahead is enough: the scorer asks for a batch only when one of its threads has nothing to do.
        with at_its_place(task.source), closing(read_ahead(coalesce(task.source.batches(scorer.columns)), 1)) as read:
            rows = 0
            for batch in scorer.batches(read):
                yield batch
                advance(scorer.rows - rows)
                rows = scorer.rows
                if interrupted():
                    raise KeyboardInterrupt
        if not scorer.rows and not task.may_be_empty:
            raise DataError(f"{task.source.name}: there are no rows.")
        if drift is not None and options.drift_limit is not None:
            _check_drift(task.source.name, drift, options.drift_limit)

    with task.unfinished(), held_back() as interrupted:
        written = write_batches(task.out, task.schema, batches())
        moved = None if drift is None else {column.name: column.psi for column in drift.report()}
        scored = Scored(scorer.rows, scorer.bad_rows, written.bytes, moved)
        job.record(task, scored)
    return scored


def _check_drift(name: str, drift: Drift, limit: float) -> None:
    moved = [column for column in drift.report() if column.psi > limit]
    if moved:
        worst = sorted(moved, key=lambda column: -column.psi)
        columns = ", ".join(f"{column.name!r} ({column.psi:.3g})" for column in worst)
        raise DriftError(
            f"{name}: the distribution of column {columns} has moved from that of training: its "
            f"population stability index is above {limit:g}."
        )
