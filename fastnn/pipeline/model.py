"""A model for tables: a schema, the preprocessing learnt with it, and a network, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fastnn import modelfile
from fastnn.modelfile import ModelFileError
from fastnn.network import Network
from fastnn.pipeline.labels import arrow_labels
from fastnn.pipeline.preprocess import BLOCK_ROWS, Preprocessor
from fastnn.pipeline.schema import DataError, Schema, check_names
from fastnn.pipeline.sources import in_blocks

# Elements of the largest block of network inputs: 32 MB in float64.
_BLOCK_ELEMENTS = 1 << 22


class Model:
    """A network with everything that it takes to feed it a table.

    Parameters
    ----------
    schema : Schema
        The columns that the model reads.
    preprocessor : Preprocessor
        What was learnt of them.
    network : Network
        With the classes' labels, and as many features as the preprocessor makes.
    target : str
        The name of the column that was learnt.

    Raises
    ------
    ValueError
        If the parts don't fit together.
    """

    def __init__(self, schema: Schema, preprocessor: Preprocessor, network: Network, target: str) -> None:
        columns = [(column.name, column.kind) for column in preprocessor.columns]
        if [(column.name, column.kind) for column in schema.columns] != columns:
            raise ValueError("The preprocessing isn't that of the schema's columns.")
        if len(preprocessor.inputs) != network.n_features:
            raise ValueError(
                f"The preprocessing makes {len(preprocessor.inputs)} inputs, the network reads {network.n_features}."
            )
        if network.classes is None:
            raise ValueError("The network has no class labels.")
        self.schema = schema
        self.preprocessor = preprocessor
        self.network = network
        self.target = target

    @property
    def classes(self) -> np.ndarray:
        """The labels, one for each column of `predict_proba`: an array of str, int64 or bool."""
        return np.asarray(self.network.classes)

    def predict_proba(self, table: Any) -> np.ndarray:
        """The probability of each class, for each row.

        Parameters
        ----------
        table : pyarrow.Table, pyarrow.RecordBatch or DataFrame
            Anything that speaks Arrow (pandas, polars, DuckDB). Columns may stand in any order, others beside them.

        Returns
        -------
        ndarray, shape (n, n_classes)
            Of the network's dtype.

        Raises
        ------
        SchemaError
            If a column is missing or of another kind of type than in training.
        DataError
            If a value is infinite or too large.
        """
        table = as_table(table)
        self.schema.check(table.schema)
        out = np.empty((table.num_rows, self.network.n_classes), self.network.dtype)
        start = 0
        for block in in_blocks(table.select(self.schema.names()).to_batches(), self._block_rows()):
            out[start : start + block.num_rows] = self._block_proba(block)
            start += block.num_rows
        return out

    def predict(self, table: Any) -> np.ndarray:
        """The most probable class of each row.

        Parameters
        ----------
        table : pyarrow.Table, pyarrow.RecordBatch or DataFrame
            As for `predict_proba`, with the same errors.

        Returns
        -------
        ndarray, shape (n,)
            Labels as they were in training.
        """
        labels: np.ndarray = self.classes[self.predict_proba(table).argmax(axis=1)]
        return labels

    def score_schema(self, table: pa.Schema, keep: Sequence[str] = ()) -> pa.Schema:
        """The columns that `score_batches` makes: the kept ones, ``prediction``, a ``probability_…`` for each class.

        Raises
        ------
        SchemaError
            If the model's columns don't fit the table's.
        DataError
            If a column to keep isn't there, or called like one of the result's.
        """
        self.schema.check(table)
        check_names(table, keep)
        probability = pa.from_numpy_dtype(self.network.dtype)
        made = [
            pa.field("prediction", arrow_labels(self.classes).type),
            *(pa.field(f"probability_{label}", probability) for label in self.classes.tolist()),
        ]
        taken = {field.name for field in made} & set(keep)
        if taken:
            raise DataError(f"Can't keep column {min(taken)!r}: a column of the result has that name.")
        return pa.schema([*(table.field(name) for name in keep), *made])

    def score_batches(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, keep: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Predictions and probabilities for a stream of rows, in their order and in bounded memory.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            Read once, a block at a time.
        schema : pyarrow.Schema
            That of every batch.
        keep : sequence of str
            Columns to carry along.

        Yields
        ------
        pyarrow.RecordBatch
            With the columns of `score_schema`.
        """
        made = self.score_schema(schema, keep)
        for block in in_blocks(batches, self._block_rows()):
            proba = self._block_proba(block)
            predictions = arrow_labels(self.classes).take(pa.array(proba.argmax(axis=1)))
            # Arrow wants each column contiguous.
            columns = [pa.array(column) for column in np.ascontiguousarray(proba.T)]
            kept = [block.column(name) for name in keep]
            yield pa.RecordBatch.from_arrays([*kept, predictions, *columns], schema=made)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, whole or not at all.

        Raises
        ------
        OSError
            If it can't be written.
        """
        tensors = {f"network.{name}": array for name, array in self.network.tensors().items()}
        tensors |= {f"preprocessing.{name}": array for name, array in self.preprocessor.tensors().items()}
        description = {
            "kind": "pipeline",
            "target": self.target,
            "schema": self.schema.description(),
            "preprocessing": self.preprocessor.description(),
            "network": self.network.description(),
        }
        modelfile.save(path, tensors, description)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.

        Raises
        ------
        ModelFileError
            If the file is anything else; of a bare network's file it names ``fastnn.Network.load``.
        """
        tensors, description = modelfile.load(path)
        kind = description.get("kind")
        if kind == "network":
            raise ModelFileError(
                f"{path} holds a network without the preprocessing of a table: read it with fastnn.Network.load."
            )
        if kind != "pipeline":
            raise ModelFileError(f"{path} holds no model for tables but {kind!r}.")
        try:
            return cls(
                Schema.from_description(description["schema"]),
                Preprocessor.from_parts(_below("preprocessing.", tensors), description["preprocessing"]),
                Network.from_parts(_below("network.", tensors), description["network"]),
                str(description["target"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelFileError(f"{path}: the parts of the model don't fit together ({error}).") from None

    def _block_rows(self) -> int:
        return max(1, min(BLOCK_ROWS, _BLOCK_ELEMENTS // self.network.n_features))

    def _block_proba(self, block: pa.RecordBatch) -> np.ndarray:
        return np.asarray(self.network.predict_proba(self.preprocessor.transform(block, self.network.dtype)))


def as_table(data: Any) -> pa.Table:
    """A table of anything that speaks Arrow; TypeError for anything else."""
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise TypeError(
        f"Expected a table that speaks Arrow (pyarrow, pandas, polars), got {type(data).__name__}. "
        "For a NumPy array use the network: model.network.predict_proba."
    )


def _below(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
