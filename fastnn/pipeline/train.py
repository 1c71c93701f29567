"""From a table to a trained model: schema, split, preprocessing, network, epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pyarrow as pa

from fastnn.callbacks import Epoch
from fastnn.checkpoint import Checkpoint
from fastnn.kernels.shuffle import mix, random_bits
from fastnn.network import Network
from fastnn.pipeline.labels import class_indices, learn_classes
from fastnn.pipeline.model import Model
from fastnn.pipeline.preprocess import BLOCK_ROWS, Preprocessor
from fastnn.pipeline.schema import DataError, Schema, check_names
from fastnn.pipeline.sources import in_blocks
from fastnn.samples import Samples
from fastnn.stopping import VALIDATION_LOSS, Stopping
from fastnn.trainer import Trainer, TrainOptions
from fastnn.validation import Validation

AUTO_BATCH = 200  # as scikit-learn's batch_size="auto"


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
        The share of rows, from 0 to 1, that are held out. Training stops when the loss on them hasn't fallen for ten
        epochs, and the best weights are kept. With 0 all rows are trained on, for all epochs.
    batch_size : int, optional
        By default 200 rows, or all if there are fewer; it takes the place of that of `options`.
    options : TrainOptions
        Solver and rates. Its seed is also that of weights and split.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "tanh"
    dtype: str = "float32"
    epochs: int = 50
    validation: float = 0.1
    batch_size: int | None = None
    options: TrainOptions = dataclasses.field(default_factory=TrainOptions)


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
    """A training that can begin: everything that the table had to give has been taken from it."""

    model: Model
    plan: Plan
    options: TrainOptions
    samples: Samples
    validation: Validation | None

    def compile(self) -> None:
        """Run every kernel that `run` needs, on a network of the same size: its time has no compiling in it."""
        net = Network.create(self.model.network.sizes, self.plan.activation, dtype=self.plan.dtype)
        n = self.options.batch_size
        some = Samples(self.samples.X[:n], np.zeros(len(self.samples.y[:n]), np.int64))
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
        return Trained(self.model, epochs, len(self.samples.y), n_validation, accuracy, seconds)


def prepare(table: pa.Table, target: str, plan: Plan, ignore: Collection[str] = ()) -> Training:
    """Learn the preprocessing and create the network.

    Parameters
    ----------
    table : pyarrow.Table
        A row for each sample.
    target : str
        The column to learn: strings, integers, booleans, or floats that are whole numbers.
    plan : Plan
        What to build.
    ignore : collection of str
        Columns that are neither target nor feature.

    Raises
    ------
    DataError
        If there are no rows, a column is missing or can't be used, or the target has missing values or a single class.
    """
    check_names(table.schema, [target, *ignore])
    classes = learn_classes(target, table.column(target))
    schema = Schema.infer(table.schema, {target, *ignore})
    indices = class_indices(target, table.column(target), classes)
    held_out = held_out_rows(table.num_rows, plan.validation, plan.options.seed)
    n_validation = int(held_out.sum())
    if plan.validation and not 0 < n_validation < table.num_rows:
        raise DataError(
            f"Holding out {plan.validation:g} of {table.num_rows} rows leaves none for "
            f"{'training' if n_validation else 'validation'}. Train on all of them: --validation 0"
        )

    features = table.select(schema.names())
    training = features.filter(pa.array(~held_out))
    preprocessor = Preprocessor.learn(schema, in_blocks(training.to_batches(), BLOCK_ROWS))
    network = Network.create(
        [len(preprocessor.inputs), *plan.hidden, len(classes)],
        activation=plan.activation,
        seed=plan.options.seed,
        dtype=plan.dtype,
        classes=classes,
        feature_names=preprocessor.inputs,
    )
    model = Model(schema, preprocessor, network, target)
    batch_size = plan.batch_size or min(AUTO_BATCH, training.num_rows)
    validation = None
    if n_validation:
        samples = Samples(_inputs(model, features.filter(pa.array(held_out))), classes[indices[held_out]])
        validation = Validation(network, samples, plan.options.n_threads)
    return Training(
        model=model,
        plan=plan,
        options=dataclasses.replace(plan.options, batch_size=batch_size),
        samples=Samples(_inputs(model, training), classes[indices[~held_out]]),
        validation=validation,
    )


def held_out_rows(n_rows: int, share: float, seed: int) -> np.ndarray:
    """Which rows are held out: a function of seed and position alone, whatever the number of rows.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    position = np.arange(n_rows, dtype=np.uint64)
    uniform = random_bits(mix(np.array([seed], np.uint64)), position) >> np.uint64(11)
    held_out: np.ndarray = uniform < np.uint64(round(share * 2**53))
    return held_out


def _inputs(model: Model, table: pa.Table) -> np.ndarray:
    """The network's input rows for a whole table, made block by block."""
    out = np.empty((table.num_rows, model.network.n_features), model.network.dtype)
    start = 0
    for block in in_blocks(table.to_batches(), BLOCK_ROWS):
        out[start : start + block.num_rows] = model.preprocessor.transform(block, model.network.dtype)
        start += block.num_rows
    return out
