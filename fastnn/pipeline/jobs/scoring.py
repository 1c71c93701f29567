"""Scores for a stream of rows: Arrow in, Arrow out, in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from fastnn.pipeline.columns.arrow import to_arrow
from fastnn.pipeline.columns.labels import arrow_labels
from fastnn.pipeline.columns.schema import DataError, SchemaError, check_wanted
from fastnn.pipeline.io.parsing import parse, parsed_schema
from fastnn.pipeline.io.source import BATCH_ROWS
from fastnn.pipeline.model import Model, not_arrow
from fastnn.runtime.launch import available_threads

if TYPE_CHECKING:
    from fastnn.pipeline.columns.drift import Drift

# Rows that one thread scores at a time: a file's batches as they are. To prepare a launch for 30 columns takes 0.2 ms,
# to score so many 7.
_PIECE_ROWS = BATCH_ROWS

Output = Literal["proba", "label", "both"]
OnBadRow = Literal["fail", "null", "skip"]


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
        Read once, as many batches ahead as there are threads. Columns may stand in any order, others beside them.
        They are checked now if the stream has a schema, otherwise with its first batch.
    keep : sequence of str
        Columns to carry along.
    output : {"both", "proba", "label"}
        ``prediction`` (the most probable class), a ``probability_…`` for each class, or both.
    on_bad_row : {"fail", "null", "skip"}
        What becomes of rows that can't be scored, because a number is infinite or far too large: an error, nulls
        in place of the scores, or nothing. A `Scorer` counts them.

    Returns
    -------
    iterator of pyarrow.RecordBatch
        Of at most 131,072 rows. A row's bits don't depend on how the rows are cut into batches.

    Raises
    ------
    ModelFileError
        If the model file can't be used.
    SchemaError
        If a column is missing or of another kind of type than in training.
    DataError
        If a row can't be scored, or a column to keep isn't there, is called like one of the result's, or is of a type
        that Arrow can't filter where bad rows are skipped.
    """
    return Scorer(model, keep=keep, output=output, on_bad_row=on_bad_row).batches(batches)


class Scorer:
    """What `predict_batches` does, with the schema of its result and the count of its rows.

    Parameters
    ----------
    model, keep, output, on_bad_row
        As for `predict_batches`.
    spelt : mapping of str to pyarrow.DataType
        Columns that may arrive as text, as from a CSV file, and what they are. A value that isn't makes a bad row.
    drift : Drift, optional
        Takes all rows into account.

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
        spelt: Mapping[str, pa.DataType] | None = None,
        drift: Drift | None = None,
    ) -> None:
        for name, value, known in (("output", output, Output), ("on_bad_row", on_bad_row, OnBadRow)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}.")
        if isinstance(keep, str):
            raise TypeError(f"keep is a sequence of names: [{keep!r}].")
        self.model = model if isinstance(model, Model) else Model.load(model)
        self.keep = list(dict.fromkeys(keep))
        self.output, self.on_bad_row = output, on_bad_row
        self.spelt = dict(spelt or {})
        self._labels = arrow_labels(self.model.classes)
        self.drift = drift
        self.rows = self.bad_rows = 0

    @property
    def columns(self) -> set[str]:
        """The columns that are read: the model's and the kept ones."""
        return {*self.model.schema.names(), *self.keep}

    def schema(self, table: pa.Schema) -> pa.Schema:
        """The columns of the result for a table of this schema.

        Raises
        ------
        SchemaError, DataError
            As `predict_batches`.
        """
        table = parsed_schema(table, self.spelt)
        self.model.schema.check(table)
        check_wanted(table, self.keep)
        kept = [_without_view(table.field(name)) for name in self.keep]
        unfit = [field for field in kept if self.on_bad_row == "skip" and not _can_filter(field.type)]
        if unfit:
            raise DataError(
                f"Can't keep column {unfit[0].name!r} where bad rows are skipped: Arrow can't filter {unfit[0].type}."
            )
        made = []
        if self.output != "proba":
            made.append(pa.field("prediction", self._labels.type))
        if self.output != "label":
            type_ = pa.from_numpy_dtype(self.model.network.dtype)
            made += [pa.field(f"probability_{label}", type_) for label in self.model.classes.tolist()]
        taken = {field.name for field in made} & set(self.keep)
        if taken:
            raise DataError(f"Can't keep column {min(taken)!r}: a column of the result has that name.")
        return pa.schema([*kept, *made])

    def batches(self, batches: Any) -> Iterator[pa.RecordBatch]:
        """Score a stream of rows, as `predict_batches` does."""
        schema, stream = as_stream(batches)
        made = None if schema is None else self.schema(schema)
        return self._scored(stream, schema, made)

    def _scored(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema | None, made: pa.Schema | None
    ) -> Iterator[pa.RecordBatch]:
        # A batch a thread: a region of several would wait for whoever has to share its processor with the reader or
        # the writer (two processors, 30-64-3: 1.5 times the time).
        n_threads = available_threads()
        pool = ThreadPoolExecutor(n_threads, "fastnn-score")
        waiting: deque[Future[_Scored]] = deque()
        first_row, process = self.rows, os.getpid()
        try:
            for batch in batches:
                if os.getpid() != process:  # it would wait for threads that it doesn't have
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
                del batch  # while the next one is waited for
            while waiting:
                yield self._counted(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _counted(self, scored: _Scored) -> pa.RecordBatch:
        if self.drift is not None and scored.rows is not None:
            self.drift.update(scored.rows, self.rows)
        self.rows += scored.n_rows
        self.bad_rows += scored.n_bad
        return scored.scores

    def _score(self, batch: pa.RecordBatch, first_row: int, made: pa.Schema) -> _Scored:
        n_rows, bad = batch.num_rows, None
        if self.on_bad_row != "fail":
            bad = np.zeros(n_rows, np.bool_)
        batch = parse(batch, self.spelt, bad, first_row)
        # Arrow wants each column contiguous.
        columns = np.empty((self.model.network.n_classes, n_rows), self.model.network.dtype)
        try:
            self.model.fill_columns(batch, columns, bad=bad, n_threads=1)
        except DataError:
            raise self._at_its_row(batch, first_row) from None
        n_bad = 0 if bad is None else int(np.count_nonzero(bad))
        mask = bad if n_bad and self.on_bad_row == "null" else None
        arrays = [batch.column(name).cast(made.field(name).type) for name in self.keep]
        if self.output != "proba":
            arrays.append(self._labels.take(to_arrow(columns.argmax(axis=0), mask)))
        if self.output != "label":
            arrays += [to_arrow(column, mask) for column in columns]
        scores = pa.RecordBatch.from_arrays(arrays, schema=made)
        if bad is not None and n_bad and self.on_bad_row == "skip":
            scores = scores.filter(to_arrow(~bad))
        return _Scored(None if self.drift is None else batch, n_rows, n_bad, scores)

    def _at_its_row(self, batch: pa.RecordBatch, first_row: int) -> DataError:
        """The error of the first row of a batch that can't be scored."""
        columns = np.empty((self.model.network.n_classes, batch.num_rows), self.model.network.dtype)
        bad = np.zeros(batch.num_rows, np.bool_)
        self.model.fill_columns(batch, columns, bad=bad, n_threads=1)
        row = int(bad.argmax())
        try:
            self.model.fill_columns(batch.slice(row, 1), columns, n_threads=1)
        except DataError as error:
            return DataError(f"Row {first_row + row + 1}: {error}")
        raise AssertionError("a row is bad among others and good alone")


class _Scored(NamedTuple):
    """Rows as they were scored, where somebody wants to see them, how many, how many of them are bad, the scores."""

    rows: pa.RecordBatch | None
    n_rows: int
    n_bad: int
    scores: pa.RecordBatch


def as_stream(data: Any) -> tuple[pa.Schema | None, Iterator[pa.RecordBatch]]:
    """The batches of anything that speaks Arrow, or of an iterable of batches, and their schema where it is known.

    Raises
    ------
    TypeError
        For anything else; of an iterable when it yields something else.
    """
    if isinstance(data, pa.RecordBatch):
        return data.schema, iter([data])
    if isinstance(data, pa.Table):
        return data.schema, iter(data.to_batches())
    if hasattr(data, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(data)
        return reader.schema, iter(reader)
    if isinstance(data, Iterable):
        return None, map(_as_batch, data)
    raise not_arrow(data)


def _as_batch(item: Any) -> pa.RecordBatch:
    if not isinstance(item, pa.RecordBatch):
        raise not_arrow(item)
    return item


def _without_view(field: pa.Field) -> pa.Field:
    """A field of string views as one of large strings: Arrow can't filter views yet."""
    return field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field


def _can_filter(type_: pa.DataType) -> bool:
    """Whether Arrow can leave rows of this type out; it can't for views in lists, say."""
    try:
        pa.nulls(0, type_).filter(pa.nulls(0, pa.bool_()))
    except pa.ArrowNotImplementedError:
        return False
    return True
