"""The columns of scores: which ones a table's result has, and how they are made from probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.pipeline.columns.arrow import to_arrow
from fastnn.pipeline.columns.labels import arrow_labels
from fastnn.pipeline.columns.schema import DataError, check_wanted, names_of
from fastnn.pipeline.columns.targets import NumberTarget
from fastnn.pipeline.io.source import plain_type
from fastnn.pipeline.model import Model

Output = Literal["proba", "label", "both"]
OnBadRow = Literal["fail", "null", "skip"]


class ResultColumns:
    """The columns that a model's scores have: the kept ones, ``prediction``, and a ``probability_…`` for each class.

    The parameters are those of `predict_batches`.
    """

    def __init__(self, model: Model, keep: Sequence[str], output: Output, on_bad_row: OnBadRow) -> None:
        for name, value, known in (("output", output, Output), ("on_bad_row", on_bad_row, OnBadRow)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}.")
        self.model = model
        self.keep = names_of("keep", keep)
        self.output, self.on_bad_row = output, on_bad_row
        self.kept_types: Mapping[str, pa.DataType] = {}  # if they aren't those of the rows
        self._labels = None if model.learnt.classes is None else arrow_labels(model.classes)
        if self._labels is None and output == "proba":
            raise ValueError("A regression has no probabilities: output must be label or both.")

    @property
    def columns(self) -> set[str]:
        """The columns that are read: the model's and the kept ones."""
        return {*self.model.schema.names(), *self.keep}

    def schema(self, table: pa.Schema) -> pa.Schema:
        """The columns of the result for a table of this schema, which has the model's columns.

        Raises
        ------
        SchemaError, DataError
            As `predict_batches`.
        """
        check_wanted(table, self.keep)
        types = {name: plain_type(table.field(name).type) for name in self.keep}  # Arrow can't filter views yet
        kept = [pa.field(name, self.kept_types.get(name, types[name])) for name in self.keep]
        unfit = [field for field in kept if self.on_bad_row == "skip" and not _can_filter(field.type)]
        if unfit:
            raise DataError(
                f"Can't keep column {unfit[0].name!r} where bad rows are skipped: Arrow can't filter {unfit[0].type}."
            )
        made = []
        if self._labels is None:
            names = self.model.learnt.names
            made += [
                pa.field("prediction" if len(names) == 1 else f"prediction_{each}", pa.float64()) for each in names
            ]
        elif self.output != "proba":
            made.append(pa.field("prediction", self._labels.type))
        if self._labels is not None and self.output != "label":
            type_ = pa.from_numpy_dtype(self.model.network.dtype)
            made += [pa.field(f"probability_{label}", type_) for label in self.model.classes.tolist()]
        taken = {field.name for field in made} & set(self.keep)
        if taken:
            raise DataError(f"Can't keep column {min(taken)!r}: a column of the result has that name.")
        return pa.schema([*kept, *made])

    def fill(
        self, schema: pa.Schema, batch: pa.RecordBatch, outputs: np.ndarray, bad: NDArray[np.bool_] | None
    ) -> pa.RecordBatch:
        """The result's rows for a batch that was scored.

        `outputs` has a row for each output of the network. `bad` says which rows couldn't be scored; it is None if all
        could be.
        """
        mask = bad if self.on_bad_row == "null" else None
        arrays = [batch.column(name).cast(schema.field(name).type) for name in self.keep]
        if isinstance(self.model.learnt, NumberTarget):
            arrays += [to_arrow(column, mask) for column in self.model.learnt.in_own_unit(outputs)]
        elif self._labels is not None:
            if self.output != "proba":
                arrays.append(self._labels.take(to_arrow(outputs.argmax(axis=0), mask)))
            if self.output != "label":
                arrays += [to_arrow(column, mask) for column in outputs]
        rows = pa.RecordBatch.from_arrays(arrays, schema=schema)
        return rows.filter(to_arrow(~bad)) if bad is not None and self.on_bad_row == "skip" else rows


def _can_filter(type_: pa.DataType) -> bool:
    """Whether Arrow can leave out rows of this type; it can't if they are lists of views, for example."""
    try:
        pa.nulls(0, type_).filter(pa.nulls(0, pa.bool_()))
    except pa.ArrowNotImplementedError:
        return False
    return True
