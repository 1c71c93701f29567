"""From rows to a trained model: schema, split, preprocessing, network, epochs.

One pass over the source learns the preprocessing and the classes. If the rows to train on fit into the buffer, they are
read once more, into memory; otherwise anew for each epoch, buffer by buffer (see `parts`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from fastnn.callbacks import Epoch
from fastnn.network.network import Network
from fastnn.network.samples import Checked
from fastnn.pipeline.columns.arrays import arrow_of
from fastnn.pipeline.columns.labels import ClassLearner, class_indices
from fastnn.pipeline.columns.options import ColumnOptions, column_options
from fastnn.pipeline.columns.preprocess import BLOCK_ROWS, Preprocessor
from fastnn.pipeline.columns.schema import DataError, Schema, check_names
from fastnn.pipeline.columns.statistics import TableStatistics
from fastnn.pipeline.io.ahead import ahead
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.io.sources import in_blocks, open_source
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.parts import Rows, StreamedSamples
from fastnn.pipeline.model import Model
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.stopping import VALIDATION_LOSS, Stopping
from fastnn.training.trainer import Trainer, TrainOptions
from fastnn.training.validation import Validation

AUTO_BATCH = 200  # as scikit-learn's batch_size="auto"
# Bytes of the network's inputs that may stay in memory, and of one buffer where they are more. Three of these may be
# there at once: one that is filled, one that waits, one that is learnt from.
_MEMORY_BYTES = 512 << 20
_BUFFER_BYTES = 128 << 20
# More rows make a loss and an accuracy no better known: this many tell the accuracy to 0.1 %.
MOST_HELD_OUT = 200_000


@dataclass(frozen=True)
class Plan:
    """What to build, and how long to train it.

    Parameters
    ----------
    hidden : tuple of int
        The units of each hidden layer.
    activation : {"tanh", "relu", "logistic", "identity"}
        That of the hidden layers.
    dtype : {"float32", "float64"}
        Of weights and arithmetic.
    epochs : int
        At most this many.
    validation : float
        The share of rows, from 0 to 1, that are held out, but not (much) more than 200,000. Training stops when the
        loss on them hasn't fallen for ten epochs, and the best weights are kept. With 0 all rows are trained on, for
        all epochs.
    hold_out_by : str, optional
        A column of ids, which is no feature then: rows of one id are held out together. By default by position.
    batch_size : int, optional
        By default 200 rows, or all if there are fewer; it takes the place of that of `options`.
    buffer_rows : int, optional
        The rows that are in memory, and shuffled, at a time; whole batches. By default all if the network's inputs take
        no more than 512 MB, otherwise as many as take 128 MB.
    options : TrainOptions
        Solver and rates. Its seed is also that of weights and split.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "tanh"
    dtype: str = "float32"
    epochs: int = 50
    validation: float = 0.1
    hold_out_by: str | None = None
    batch_size: int | None = None
    buffer_rows: int | None = None
    options: TrainOptions = dataclasses.field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation is a share from 0 to below 1, got {self.validation:g}.")
        for name in ("batch_size", "buffer_rows"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a number of rows of at least 1, got {value!r}.")


@dataclass(frozen=True)
class Trained:
    """A model and how it came to be.

    Attributes
    ----------
    model : Model
        With the weights of the best epoch, or, where no rows were held out, the last one.
    epochs : list of Epoch
        The validation score is the accuracy on the rows held out.
    n_train, n_validation : int
        How many rows were trained on and held out.
    accuracy : float or None
        The model's accuracy on the rows held out.
    seconds : float
        The time of the epochs alone.
    """

    model: Model
    epochs: list[Epoch]
    n_train: int
    n_validation: int
    accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Training:
    """A training that can begin: everything that one pass had to give has been taken from the source."""

    model: Model
    plan: Plan
    options: TrainOptions
    samples: Checked | StreamedSamples
    n_train: int
    validation: Validation | None

    def compile(self) -> None:
        """Run every kernel that `run` needs, on a network of the same size: its time has no compiling in it."""
        net = Network.create(self.model.network.sizes, self.plan.activation, dtype=self.plan.dtype)
        n = min(self.options.batch_size, self.n_train)
        some = Checked(np.zeros((n, net.n_features), net.dtype), np.zeros(n, np.int64), np.empty(0, net.dtype))
        if self.validation is not None:
            net.predict_proba(self.validation.X)  # before a step that may be as large as the user says
        list(Trainer(net, self.options).epochs(some, 1))

    def run(self, report: Callable[[Epoch], object] | None = None, checkpoint: Checkpoint | None = None) -> Trained:
        """Train.

        Parameters
        ----------
        report : callable, optional
            Called with each epoch when it is done.
        checkpoint : Checkpoint, optional
            Where progress is kept, and where it goes on from.

        Raises
        ------
        TrainingDivergedError
            If the loss stops being finite.
        """
        network, validation, stopping = self.model.network, self.validation, None
        if validation is not None:
            # The loss, since accuracy is a coarse measure: on fifty rows it stands still long before the network has
            # learnt, and the first of many equal epochs would pass for the best.
            stopping = Stopping(validation=validation, watch=VALIDATION_LOSS)
        epochs = []
        began = perf_counter()
        trainer = Trainer(network, self.options)
        with closing(trainer.epochs(self.samples, self.plan.epochs, stopping, checkpoint)) as trained:
            for epoch in trained:
                epochs.append(epoch)
                if report is not None:
                    report(epoch)
        if stopping is not None:
            stopping.restore_best(network)
        seconds = perf_counter() - began
        n_validation = 0 if validation is None else len(validation.targets)
        accuracy = None if stopping is None else stopping.best_score
        return Trained(self.model, epochs, self.n_train, n_validation, accuracy, seconds)


def train_batches(
    data: Any,
    target: str,
    plan: Plan | None = None,
    *,
    ignore: Collection[str] = (),
    columns: Mapping[str, ColumnOptions | Mapping[str, Any]] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train a model on rows that needn't fit in memory.

    Parameters
    ----------
    data : path, list of paths, or anything that speaks Arrow
        As `open_source` takes it. What can be read once only is read into memory.
    target : str
        The column to learn: strings, integers, booleans, or floats that are whole numbers.
    plan : Plan, optional
        What to build, and how long to train it.
    ignore : collection of str
        Columns that are neither target nor feature.
    columns : mapping, optional
        How to use single columns, where it isn't to follow from their types: `ColumnOptions`, or what they are made of.
    checkpoint : path, optional
        Where progress is kept. After a kill the same call goes on from there, and ends in the same bytes.

    Returns
    -------
    Trained

    Raises
    ------
    DataError
        If there are no rows, a column is missing or can't be used, or the target has missing values or a single class.
    TrainingDivergedError
        If the loss stops being finite.
    """
    training = prepare(data, target, plan or Plan(), ignore, columns)
    return training.run(checkpoint=None if checkpoint is None else Checkpoint(checkpoint))


def prepare(
    data: Any,
    target: str,
    plan: Plan,
    ignore: Collection[str] = (),
    columns: Mapping[str, ColumnOptions | Mapping[str, Any]] | None = None,
    advance: Callable[[int], object] = lambda rows: None,
) -> Training:
    """Learn the preprocessing and create the network.

    Parameters
    ----------
    data, target, plan, ignore, columns
        As for `train_batches`, with its errors. An open `Source` will do, too.
    advance : callable, optional
        Called now and then with the number of rows that were looked at since.
    """
    source = data if isinstance(data, Source) else open_source(data)
    if source.once:
        source = open_source(pa.Table.from_batches(source.batches(), source.schema))
    apart = [target, *ignore, *([] if plan.hold_out_by is None else [plan.hold_out_by])]
    check_names(source.schema, apart)
    n_rows = source.n_rows if source.n_rows is not None else _count(source, target)
    if not n_rows:
        raise DataError(f"{source.name}: there are no rows.")
    said = column_options(columns or {})
    schema = Schema.infer(source.schema, set(apart), said)
    most, share = MOST_HELD_OUT / n_rows, plan.validation
    if plan.hold_out_by is None:
        held_out = HeldOut(min(share, most), plan.options.seed)
    else:  # of few ids, a small share might be none, or half of the rows
        held_out = HeldOut(share, plan.options.seed, plan.hold_out_by, min(1.0, most / (share or 1.0)))
    found = _survey(source, held_out, TableStatistics(schema, said), ClassLearner(target), advance)
    network = Network.create(
        [len(found.preprocessor.inputs), *plan.hidden, len(found.classes)],
        activation=plan.activation,
        seed=plan.options.seed,
        dtype=plan.dtype,
        classes=found.classes,
        feature_names=found.preprocessor.inputs,
    )
    model = Model(schema, found.preprocessor, network, target)
    options = dataclasses.replace(plan.options, batch_size=plan.batch_size or min(AUTO_BATCH, found.n_train))
    row_bytes = network.n_features * network.dtype.itemsize
    buffer_rows = plan.buffer_rows or _BUFFER_BYTES // row_bytes
    buffer_rows = max(1, buffer_rows // options.batch_size) * options.batch_size
    fits = found.n_train <= buffer_rows or (not plan.buffer_rows and found.n_train * row_bytes <= _MEMORY_BYTES)
    streamed = StreamedSamples(
        model, found.rows, found.n_train if fits else buffer_rows, options.seed if options.shuffle else None
    )
    return Training(
        model=model,
        plan=plan,
        options=options,
        samples=streamed.all() if fits else streamed,
        n_train=found.n_train,
        validation=_validation(model, found.held_out, options) if found.held_out.num_rows else None,
    )


@dataclass(frozen=True)
class _Survey:
    """What one pass over a source finds."""

    rows: Rows
    n_train: int
    classes: np.ndarray
    preprocessor: Preprocessor
    held_out: pa.Table


def _survey(
    source: Source,
    held_out: HeldOut,
    statistics: TableStatistics,
    classes: ClassLearner,
    advance: Callable[[int], object],
) -> _Survey:
    by = [] if held_out.column is None else [held_out.column]
    columns = [*statistics.schema.names(), classes.name, *by]
    block_rows = [rows or 0 for rows in source.block_rows]

    def batches() -> Iterator[pa.RecordBatch]:
        if None not in source.block_rows:
            yield from source.batches(columns)
            return
        for block in range(source.n_blocks):
            block_rows[block] = 0
            for batch in source.batches(columns, [block]):
                block_rows[block] += batch.num_rows
                yield batch

    kept, first, n_held_out = [], 0, 0
    with closing(ahead(batches())) as read:
        # Cut by position, so that sums are the same from every source.
        for block in in_blocks(read, BLOCK_ROWS):
            classes.update(block.column(classes.name))
            chosen = held_out.among(block, first)
            statistics.update(block, first, ~chosen)
            n_held_out += int(chosen.sum())
            measured = held_out.measured(chosen, first)
            if measured.any():
                kept.append(pa.Table.from_batches([block.filter(arrow_of(measured))]))
            first += block.num_rows
            advance(block.num_rows)
    known = classes.finish()
    if held_out.share and (not kept or n_held_out == first):
        way = "" if held_out.column is None else f" by {held_out.column!r}"
        raise DataError(
            f"Holding out {held_out.share:g} of {first} rows{way} leaves none for "
            f"{'training' if kept else 'validation'}. Train on all of them: --validation 0"
        )
    return _Survey(
        rows=Rows(source, tuple(block_rows), held_out),
        n_train=first - n_held_out,
        classes=known,
        preprocessor=statistics.finish(),
        # Strings are large ones in blocks with more of them than others.
        held_out=pa.concat_tables(kept, promote_options="permissive") if kept else pa.table({}),
    )


def _count(source: Source, column: str) -> int:
    return sum(batch.num_rows for batch in source.batches([column]))


def _validation(model: Model, table: pa.Table, options: TrainOptions) -> Validation:
    indices = class_indices(model.target, table.column(model.target), model.classes)
    X = np.empty((table.num_rows, model.network.n_features), model.network.dtype)
    start = 0
    for batch in table.to_batches():
        model.preprocessor.transform(batch, model.network.dtype, out=X[start : start + batch.num_rows])
        start += batch.num_rows
    return Validation(model.network, Checked(X, indices, np.empty(0, X.dtype)), options.n_threads)
