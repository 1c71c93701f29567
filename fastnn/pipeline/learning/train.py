"""From rows to a trained model: schema, split, preprocessing, network, epochs.

One pass over the source learns the preprocessing and the classes (see `survey`). If the rows to train on fit into
memory, they are read once more; otherwise they are read again for each epoch, buffer by buffer (see `parts`).
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from fastnn.callbacks import Epoch
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.network.samples import Checked
from fastnn.pipeline.columns.options import PLAIN, ColumnOptions, Dialect, column_options
from fastnn.pipeline.columns.schema import DataError, names_of
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.learning.features import Features, surveyed
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.parts import StreamedSamples
from fastnn.pipeline.learning.plan import AUTO_BATCH, Plan
from fastnn.pipeline.learning.reading import AS_IT_IS, Reading
from fastnn.pipeline.learning.survey import Survey
from fastnn.pipeline.model import Model
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.options import TrainOptions
from fastnn.training.stopping import VALIDATION_LOSS, Stopping
from fastnn.training.trainer import Trainer
from fastnn.training.validation import Validation

# If the network's inputs would take more than `_MEMORY_BYTES`, they are made in buffers of `_BUFFER_BYTES` each. Three
# buffers may be there at once: one is filled, one waits, and one is learnt from.
_MEMORY_BYTES = 512 << 20
_BUFFER_BYTES = 128 << 20
# This many rows tell the accuracy to 0.1 %: more of them would measure neither loss nor accuracy much better.
MOST_HELD_OUT = 200_000


@dataclass(frozen=True)
class Trained:
    """A model and how it was trained.

    Attributes
    ----------
    model : Model
        The model, with the weights of the best epoch if rows were held out, otherwise of the last epoch.
    epochs : list of Epoch
        All epochs, whose validation score is the accuracy, or R², on the rows held out.
    n_train, n_validation : int
        How many rows were trained on and held out.
    score : float or None
        The model's accuracy on the rows held out, or its R² if it is one of a regression.
    seconds : float
        The time that the epochs took.
    """

    model: Model
    epochs: list[Epoch]
    n_train: int
    n_validation: int
    score: float | None
    seconds: float

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "score" not in state:  # of a version that knew classifications only
            state = {**state, "score": state.get("accuracy")}
        state.pop("accuracy", None)
        vars(self).update(state)

    @property
    def accuracy(self) -> float | None:
        """The score, if the model is one of a classification."""
        return self.score if self.model.task == "classification" else None


@dataclass(frozen=True)
class Training:
    """A training that is ready to run, after the one pass over the source."""

    model: Model
    plan: Plan
    options: TrainOptions
    samples: Checked | StreamedSamples
    n_train: int
    validation: Validation | None

    def compile(self) -> None:
        """Compile every kernel that `run` needs, so that its time has no compiling in it.

        The kernels are run on another network of the same size.
        """
        net = copy.deepcopy(self.model.network)
        n = min(self.options.batch_size, self.n_train)
        y = np.zeros(n, np.int64) if net.output == "softmax" else np.zeros((n, net.n_classes), net.dtype)
        some = Checked(np.zeros((n, net.n_features), net.dtype), y, np.empty(0, net.dtype))
        if self.validation is not None:
            # Scoring comes before training, since a step of the size that the user chose may make the weights overflow.
            net.outputs(self.validation.X)
        list(Trainer(net, self.options).epochs(some, 1))

    def run(self, report: Callable[[Epoch], object] | None = None, checkpoint: Checkpoint | None = None) -> Trained:
        """Train.

        Parameters
        ----------
        report : callable, optional
            A function that is called with each epoch when it is done.
        checkpoint : Checkpoint, optional
            The file that keeps the progress, and from which the training goes on if it has some.

        Raises
        ------
        TrainingDivergedError
            If the loss stops being finite.
        """
        network, plan = self.model.network, self.plan
        schedule, stopping = plan.schedule_of(), None
        if self.validation is not None:
            # The loss is watched because accuracy is too coarse: on fifty rows it stops rising long before the network
            # has learnt, and the first of many epochs with equal accuracy would pass for the best.
            stopping = Stopping(plan.tol, plan.n_iter_no_change, schedule, self.validation, VALIDATION_LOSS)
        elif schedule is not None:
            # "adaptive" needs a rule that says when the loss no longer falls.
            patience = plan.n_iter_no_change if schedule.kind == "adaptive" else math.inf
            stopping = Stopping(plan.tol, patience, schedule)
        epochs = []
        began = perf_counter()
        trainer = Trainer(network, self.options)
        if schedule is not None:
            trainer.step_size = schedule.first()
        with closing(trainer.epochs(self.samples, self.plan.epochs, stopping, checkpoint)) as trained:
            for epoch in trained:
                epochs.append(epoch)
                if report is not None:
                    report(epoch)
        if stopping is not None:
            stopping.restore_best(network)
        seconds = perf_counter() - began
        n_validation = 0 if self.validation is None else len(self.validation.targets)
        score = None if self.validation is None or stopping is None else stopping.best_score
        return Trained(self.model, epochs, self.n_train, n_validation, score, seconds)


def train_batches(
    data: Any,
    target: str | Sequence[str],
    plan: Plan | None = None,
    *,
    ignore: Collection[str] = (),
    columns: Mapping[str, ColumnOptions | Mapping[str, Any]] | None = None,
    dialect: Dialect | None = None,
    on_bad_row: Literal["fail", "null", "skip"] = "fail",
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train a model on rows that needn't fit in memory.

    Parameters
    ----------
    data : path, list of paths, or anything that speaks Arrow
        The rows, as `open_source` takes them. A stream, which can be read only once, is read into memory.
    target : str or sequence of str
        The column to learn. Strings, integers and booleans are classes, floats and decimals are numbers, unless the
        plan's `task` says otherwise. Several columns are numbers.
    plan : Plan, optional
        What to build, and how long to train it.
    ignore : collection of str
        Columns that are neither target nor feature.
    columns : mapping, optional
        How to use single columns whose use shouldn't follow from their types: for each name its `ColumnOptions`, or a
        mapping of their fields.
    dialect : Dialect, optional
        How text is written: the texts that stand for a missing value, and the delimiter, decimal sign and encoding of
        CSV files. The model keeps it.
    on_bad_row : {"fail", "null", "skip"}
        What becomes of a row with a text that isn't what its column was declared to be: an error, a missing value, or
        no row. With "skip", rows without a target are left out, too.
    checkpoint : path, optional
        The file that keeps the progress. After a kill the same call goes on from there, and ends in the same bytes.

    Returns
    -------
    Trained

    Raises
    ------
    DataError
        If there are no rows, a column is missing or can't be used, or the target has missing values or only one class.
    TrainingDivergedError
        If the loss stops being finite.
    """
    reading = Reading(dialect or PLAIN, on_bad_row=on_bad_row)
    training = prepare(data, target, plan or Plan(), ignore, columns, reading=reading)
    return training.run(checkpoint=None if checkpoint is None else Checkpoint(checkpoint))


def prepare(
    data: Any,
    target: str | Sequence[str],
    plan: Plan,
    ignore: Collection[str] = (),
    columns: Mapping[str, ColumnOptions | Mapping[str, Any]] | None = None,
    advance: Callable[[int], object] = lambda rows: None,
    reading: Reading = AS_IT_IS,
) -> Training:
    """Learn the preprocessing and create the network.

    Parameters
    ----------
    data, target, plan, ignore, columns
        As for `train_batches`, with its errors; `data` may be an open `Source`, too.
    advance : callable, optional
        A function that is called now and then with the number of rows read since the last call.
    reading : Reading
        How text is read; the options of `columns`, the target and the ids to hold out by are added to it.
    """
    targets = names_of("target", target)
    if not targets:
        raise TypeError("target must be the name of a column, or a list of names.")
    said = column_options(columns or {})
    reading = replace(reading, options=said)
    given = data if isinstance(data, Source) else open_source(data, reading.dialect)
    if given.once:
        given = open_source(pa.Table.from_batches(given.batches(), given.schema))
    features = Features(given, targets, plan, names_of("ignore", ignore), reading)
    n_rows = features.count()
    schema, found = surveyed(features, _held_out(plan, n_rows), advance)
    if found.target.task == "regression" and plan.options.label_smoothing:
        raise DataError("A regression has no labels to smooth: leave label_smoothing out (--label-smoothing).")
    model = Model(schema, found.preprocessor, _network(plan, found), found.target)
    options = replace(plan.options, batch_size=plan.batch_size or min(AUTO_BATCH, found.n_train))
    return Training(
        model=model,
        plan=plan,
        options=options,
        samples=_samples(model, found, options, plan.buffer_rows),
        n_train=found.n_train,
        validation=_validation(model, found, options) if found.held_out.num_rows else None,
    )


def _network(plan: Plan, found: Survey) -> Network | Ensemble:
    """A new network, or several, for what the survey has found."""
    sizes = [len(found.preprocessor.inputs), *plan.hidden, found.target.n_outputs]
    options: dict[str, Any] = {
        "dtype": plan.dtype,
        "classes": found.target.classes,
        "feature_names": found.preprocessor.inputs,
        "output": found.target.output,
        "layer_norm": plan.layer_norm,
    }
    if plan.ensemble == 1:
        return Network.create(sizes, plan.activation, plan.options.seed, **options)
    return Ensemble.create(plan.ensemble, sizes, plan.activation, plan.options.seed, **options)


def _held_out(plan: Plan, n_rows: int) -> HeldOut:
    """Which of so many rows are held out, and which of these the model is measured on."""
    most, share, seed = MOST_HELD_OUT / n_rows, plan.validation, plan.options.seed
    if plan.hold_out_by is None:
        return HeldOut(min(share, most), seed)
    # Ids are held out by their whole share, and only the rows measured on are limited: a smaller share of few ids might
    # be no id at all, or half of the rows.
    return HeldOut(share, seed, plan.hold_out_by, min(1.0, most / (share or 1.0)))


def _samples(model: Model, found: Survey, options: TrainOptions, buffer_rows: int | None) -> Checked | StreamedSamples:
    """The rows to train on as the network's samples: all at once if they fit into memory, otherwise in parts."""
    row_bytes = model.network.n_features * model.network.dtype.itemsize
    batch_size, rows = options.batch_size, buffer_rows or _BUFFER_BYTES // row_bytes
    rows = max(1, rows // batch_size) * batch_size
    fits = found.n_train <= rows or (not buffer_rows and found.n_train * row_bytes <= _MEMORY_BYTES)
    seed = options.seed if options.shuffle else None
    streamed = StreamedSamples(model, found.rows, found.n_train if fits else rows, seed, found.weighing)
    return streamed.all() if fits else streamed


def _validation(model: Model, found: Survey, options: TrainOptions) -> Validation:
    table = found.held_out
    targets = model.learnt.values(table, model.network.dtype)
    X = np.empty((table.num_rows, model.network.n_features), model.network.dtype)
    start = 0
    for batch in table.to_batches():
        model.preprocessor.transform(batch, model.network.dtype, out=X[start : start + batch.num_rows])
        start += batch.num_rows
    weights = found.weighing.weights(table, targets)
    weight = np.empty(0, X.dtype) if weights is None else weights.astype(X.dtype)
    if len(weight) and not weight.any():
        raise DataError("The weights of all rows that are held out are 0. Train on all rows: --validation 0")
    return Validation(model.network, Checked(X, targets, weight), options.n_threads)
