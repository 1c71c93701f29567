"""A model for tables: a schema, the preprocessing learnt with it, and a network, in one file."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pyarrow as pa

from fastnn.files import modelfile
from fastnn.files.kinds import PIPELINE, check_kind
from fastnn.files.modelfile import ModelFileError, with_prefix
from fastnn.kernels.arrays import borrow, flat, give_back
from fastnn.kernels.forward.rows import OUTPUTS
from fastnn.kernels.forward.table import BLOCK, TableScoring, score_table
from fastnn.kernels.layout import line_elements
from fastnn.network.conversion import SumsOverflowError
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.options import PLAIN
from fastnn.pipeline.columns.schema import DataError, Schema, listed
from fastnn.pipeline.columns.targets import ClassTarget, NumberTarget, Target, Task
from fastnn.pipeline.columns.text import parse, spellings_of
from fastnn.pipeline.io.places import Local, is_uri, place_of, without_secrets
from fastnn.pipeline.io.source import first_line
from fastnn.runtime.launch import launch
from fastnn.runtime.threads import threads_for

# The rows whose inputs are made at once where several networks, say, read them: 1 MB for 64 float32 inputs.
_CHUNK_ROWS = 4096


class Model:
    """A network with everything that it needs to read a table.

    Parameters
    ----------
    schema : Schema
        The columns that the model reads.
    preprocessor : Preprocessor
        What was learnt of these columns.
    network : Network or Ensemble
        The network, which has the classes' labels, and as many features as the preprocessor makes.
    target : str or Target
        What was learnt, or the name of the column of the network's classes.

    Attributes
    ----------
    learnt : Target
        What was learnt: the classes of a column, or numbers and their unit.

    Raises
    ------
    ValueError
        If the parts don't fit together.
    """

    def __init__(
        self, schema: Schema, preprocessor: Preprocessor, network: Network | Ensemble, target: str | Target
    ) -> None:
        columns = [(column.name, column.kind) for column in preprocessor.columns]
        if [(column.name, column.kind) for column in schema.columns] != columns:
            raise ValueError("The preprocessing isn't that of the schema's columns.")
        if len(preprocessor.inputs) != network.n_features:
            raise ValueError(
                f"The preprocessing makes {len(preprocessor.inputs)} inputs, the network reads {network.n_features}."
            )
        if isinstance(target, str):
            if network.classes is None:
                raise ValueError("The network has no class labels.")
            target = ClassTarget(target, np.asarray(network.classes))
        if (network.output, network.n_classes) != (target.output, target.n_outputs):
            raise ValueError(
                f"The network has {network.n_classes} outputs of kind {network.output}; a {target.task} of "
                f"{listed(target.names)} needs {target.n_outputs} of kind {target.output}."
            )
        self.schema = schema
        self.preprocessor = preprocessor
        self.network = network
        self.learnt = target

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "learnt" not in state:  # of a version that knew classifications only
            state = {**state, "learnt": ClassTarget(state["target"], np.asarray(state["network"].classes))}
            del state["target"]
        self.__dict__.update(state)

    @property
    def task(self) -> Task:
        """The kind of what is predicted: "classification" or "regression"."""
        return self.learnt.task

    @property
    def target(self) -> str:
        """The name of the column that was learnt, or the names of several, with commas between them."""
        return ", ".join(self.learnt.names)

    @property
    def classes(self) -> np.ndarray:
        """The labels, one for each column of `predict_proba`: an array of str, int64 or bool.

        Raises
        ------
        ValueError
            If the model is one of a regression.
        """
        if self.learnt.classes is None:
            raise ValueError(f"A regression of {listed(self.learnt.names)} has no classes: call predict.")
        return np.asarray(self.learnt.classes)

    def predict_proba(self, table: Any) -> np.ndarray:
        """The probability of each class, for each row.

        Parameters
        ----------
        table : pyarrow.Table, pyarrow.RecordBatch or DataFrame
            Anything that speaks Arrow (pandas, polars, DuckDB). The columns may stand in any order, with others beside
            them.

        Returns
        -------
        ndarray, shape (n, n_classes)
            The probabilities, in the network's dtype.

        Raises
        ------
        SchemaError
            If a column is missing or of another kind of type than in training.
        DataError
            If a value is infinite or too large.
        """
        if self.learnt.classes is None:
            raise ValueError(f"A regression of {listed(self.learnt.names)} has no probabilities: call predict.")
        return np.ascontiguousarray(self._columns(table).T)

    def _columns(self, table: Any) -> np.ndarray:
        """The network's outputs for the rows of a table, a row for each output."""
        table = as_table(table)
        self.schema.check(table.schema)
        spellings = spellings_of(self.schema, typed=True)
        columns = np.empty((self.network.n_classes, table.num_rows), self.network.dtype)
        start = 0
        for batch in table.select(self.schema.names()).to_batches():
            self.fill_columns(parse(batch, spellings, None, start), columns, start)
            start += batch.num_rows
        return columns

    def fill_columns(
        self,
        batch: pa.RecordBatch,
        columns: np.ndarray,
        first: int = 0,
        bad: np.ndarray | None = None,
        n_threads: int | None = None,
    ) -> None:
        """Fill columns with the network's outputs for a batch that the schema has checked: probabilities of classes.

        A row's bits don't depend on how a table is cut into batches.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            The n rows to score.
        columns : ndarray, C-contiguous, shape (n_classes, at least first + n)
            Where the outputs are written, in the network's dtype. Those of a regression are standardised.
        first : int
            Where the batch's rows begin in `columns`.
        bad : ndarray of bool, shape (n,), optional
            Becomes True for rows that can't be scored; their outputs mean nothing.
        n_threads : int, optional
            The most threads to use; by default all that the process may use.

        Raises
        ------
        DataError
            If a row can't be scored and `bad` wasn't given.
        ValueError
            If `columns` has another shape or dtype, or isn't contiguous.
        """
        net, dtype = self.network, self.network.dtype
        n_rows, fits = columns.shape[-1], columns.flags.carray and columns.dtype == dtype and columns.ndim == 2
        if not fits or len(columns) != net.n_classes or n_rows < first + batch.num_rows:
            raise ValueError(
                f"columns must be a C-contiguous array of {dtype} with {net.n_classes} rows of at least "
                f"{first + batch.num_rows} numbers."
            )
        if isinstance(net, Ensemble) or net.layout.normalised or net.output not in ("softmax", "identity"):
            self._fill_row_by_row(batch, columns[:, first : first + batch.num_rows], bad, n_threads)
            return
        layers, size = net.layout.columns(BLOCK, training=False)
        part_size = size + line_elements(dtype)  # the last number counts the results that aren't finite
        threads = threads_for(2.0 * batch.num_rows * net.params.size, n_threads)
        memory = borrow(threads * part_size, dtype)
        overflow = False
        for here, rows in self.preprocessor.tables(batch, dtype, bad, threads):
            place = slice(first + here.start, first + here.stop)
            results = flat(columns)[place.start :]
            args = TableScoring(net.params, layers, rows, results, n_rows, memory, part_size, OUTPUTS[net.output])
            parts = launch(score_table, args, threads, dtype)
            if memory[part_size - 1 : parts * part_size : part_size].any():
                overflow = True
                if bad is not None:
                    bad[here] |= ~np.isfinite(columns[:, place]).all(axis=0)
        give_back(memory)
        # This error comes last: an input that isn't finite has an error of its own, which comes first.
        if overflow and bad is None:
            raise DataError(f"Values are so large that the network's sums overflow {dtype}.")

    def _fill_row_by_row(
        self, batch: pa.RecordBatch, columns: np.ndarray, bad: np.ndarray | None, n_threads: int | None
    ) -> None:
        """Fill columns by way of the network's input rows: several networks share them, and others have no kernel."""
        net = self.network
        flags = np.zeros(batch.num_rows, np.bool_) if bad is None else bad
        for start in range(0, batch.num_rows, _CHUNK_ROWS):
            here = slice(start, start + _CHUNK_ROWS)
            rows = self.preprocessor.transform(
                batch.slice(start, _CHUNK_ROWS), net.dtype, bad=None if bad is None else flags[here]
            )
            try:
                columns[:, here] = net.outputs(rows, n_threads=n_threads).T
            except SumsOverflowError:
                if bad is None:
                    raise DataError(f"Values are so large that the network's sums overflow {net.dtype}.") from None
                for i, row in enumerate(rows):
                    try:
                        columns[:, start + i] = net.outputs(row[np.newaxis], n_threads=1)[0]
                    except SumsOverflowError:
                        flags[start + i] = True

    def predict(self, table: Any) -> np.ndarray:
        """The most probable class of each row, or the number that is predicted for it.

        Parameters
        ----------
        table : pyarrow.Table, pyarrow.RecordBatch or DataFrame
            As for `predict_proba`, with the same errors.

        Returns
        -------
        ndarray, shape (n,), or (n, n_targets) where a regression has several targets
            Labels as they were in training; for a regression float64, in the target's unit.
        """
        columns = self._columns(table)
        if isinstance(self.learnt, NumberTarget):
            found = np.column_stack(self.learnt.in_own_unit(columns))
            return found[:, 0] if len(self.learnt.names) == 1 else found
        labels: np.ndarray = self.classes[columns.argmax(axis=0)]
        return labels

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, whole or not at all.

        Raises
        ------
        OSError
            If the file can't be written.
        """
        tensors = {f"network.{name}": array for name, array in self.network.tensors().items()}
        tensors |= {f"preprocessing.{name}": array for name, array in self.preprocessor.tensors().items()}
        regression = isinstance(self.learnt, NumberTarget)
        if isinstance(self.learnt, NumberTarget):
            tensors |= {f"target.{name}": array for name, array in self.learnt.tensors().items()}
        description = {
            "kind": PIPELINE,
            "target": list(self.learnt.names) if regression else self.target,
            "schema": self.schema.description(),
            "preprocessing": self.preprocessor.description(),
            "network": self.network.description(),
        }
        if self.schema.dialect != PLAIN:
            description["dialect"] = self.schema.dialect.description()
        place = place_of(path)
        if isinstance(place, Local):
            modelfile.save(place.path, tensors, description)
        else:
            content = modelfile.to_bytes(tensors, description)
            with place.replacing() as file:
                file.write(content)

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
            If the file is anything else. For a bare network's file, the message names ``fastnn.Network.load``.
        """
        tensors, description = read_model_file(path)
        path = without_secrets(os.fspath(path)) if is_uri(path) else path
        check_kind(description, PIPELINE, path)
        try:
            json.dumps(description, ensure_ascii=False).encode()  # JSON can hold half of a surrogate pair, Arrow can't
            target = description["target"]
            if isinstance(target, list):  # of a regression, which may have several
                target = NumberTarget.from_parts(
                    list(map(str, target)), with_prefix("target.", tensors), str(description["network"]["output"])
                )
            return cls(
                Schema.from_description(description["schema"], description.get("dialect", {})),
                Preprocessor.from_parts(with_prefix("preprocessing.", tensors), description["preprocessing"]),
                _network(with_prefix("network.", tensors), description["network"]),
                target if isinstance(target, NumberTarget) else str(target),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelFileError(f"{path}: the parts of the model don't fit together ({error}).") from None


def _network(tensors: dict[str, np.ndarray], description: dict[str, Any]) -> Network | Ensemble:
    kind = Ensemble if "n_members" in description else Network
    return kind.from_parts(tensors, description)


def read_model_file(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the description of a model file of any kind; `path` may be a URI.

    Raises
    ------
    ModelFileError
        If there is no such file, or it isn't an undamaged model file.
    """
    if not is_uri(path):
        return modelfile.load(path)
    try:
        place = place_of(path)
        if place.kind != "file":
            raise ModelFileError(f"{place.name}: there is no such model file.")
        content = place.read()
    except (OSError, DataError, pa.ArrowException) as error:
        raise ModelFileError(f"{without_secrets(os.fspath(path))} can't be read: {first_line(error)}") from None
    return modelfile.from_bytes(content, place.name)


def as_table(data: Any) -> pa.Table:
    """A table of anything that speaks Arrow; TypeError for anything else."""
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise not_arrow(data)


def not_arrow(data: Any) -> TypeError:
    """The error for what doesn't speak Arrow."""
    return TypeError(
        f"Expected a table that speaks Arrow (pyarrow, pandas, polars), got {type(data).__name__}. "
        "For a NumPy array use the network: model.network.predict_proba."
    )
