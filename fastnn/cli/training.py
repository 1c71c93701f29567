"""The command that trains: train."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastnn.cli.arguments import Json, check_outputs
from fastnn.cli.terminal import COMPILING, progress, said_when_slow, say, show

if TYPE_CHECKING:
    from fastnn.pipeline.columns.options import ColumnOptions
    from fastnn.pipeline.learning.train import Plan


class Activation(StrEnum):
    """Hidden layers' activations."""

    TANH = "tanh"
    RELU = "relu"
    LOGISTIC = "logistic"
    IDENTITY = "identity"


class Solver(StrEnum):
    """Optimisers."""

    ADAM = "adam"
    SGD = "sgd"


class Dtype(StrEnum):
    """Number formats of weights and arithmetic."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def train(
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA...", help="Files (Parquet, CSV, Arrow, .npy), glob patterns, or a folder."),
    ],
    *,
    target: Annotated[str, typer.Option(help="The column to learn.")],
    model: Annotated[Path, typer.Option(help="The model file to write.")],
    hidden: Annotated[str, typer.Option(help="Units of each hidden layer, as 128,64; 0 for no hidden layer.")] = "128",
    activation: Annotated[Activation, typer.Option(help="Of the hidden layers.")] = Activation.TANH,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data, at most.")] = 50,
    batch_size: Annotated[str, typer.Option(help="Rows of a mini-batch; auto: 200, or all if fewer.")] = "auto",
    solver: Annotated[Solver, typer.Option(help="adam, or sgd with Nesterov momentum of 0.9.")] = Solver.ADAM,
    learning_rate: Annotated[float, typer.Option(help="The step size.")] = 1e-3,
    alpha: Annotated[float, typer.Option(help="Strength of the L2 penalty.")] = 1e-4,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, split and shuffle.")] = 0,
    validation: Annotated[
        float,
        typer.Option(
            help="Share of rows to hold out (200,000 at most), to stop when the loss on them no longer falls; 0: none."
        ),
    ] = 0.1,
    hold_out_by: Annotated[
        str | None, typer.Option(help="A column of ids, no feature: rows of one id are held out together.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given again.")] = None,
    columns: Annotated[
        Path | None,
        typer.Option(help="A TOML file that says how to use single columns (kind, impute, categories, ...)."),
    ] = None,
    buffer_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Rows in memory, and shuffled, at a time; by default all that 512 MB hold, or 128 MB."
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="The most threads to use.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Of weights and arithmetic.")] = Dtype.FLOAT32,
    plot: Annotated[Path | None, typer.Option(help="Draw the loss of each epoch into this image file.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Keep the progress in this file; the same command goes on from there after a kill."),
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Epochs from one checkpoint to the next.")] = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep the progress beside the model (MODEL.checkpoint) until it is written."),
    ] = False,
    json: Json = False,
) -> None:
    """Train a classifier on a table and write it to a model file. The table may be larger than memory.

    Numbers and dates are standardised, strings one-hot encoded, holes filled; all of that goes into the model file.
    """
    from fastnn.callbacks import ProgressBar, called
    from fastnn.network.samples import Checked
    from fastnn.pipeline.io.sources import open_source
    from fastnn.pipeline.learning.train import prepare
    from fastnn.plot import plot_loss
    from fastnn.training.checkpoint import Checkpoint

    options = {
        "solver": solver.value,
        "step_size": learning_rate,
        "alpha": alpha,
        "seed": seed,
        "n_threads": threads,
        # As in scikit-learn. Adam makes no use of it.
        "momentum": 0.9,
        "nesterovs_momentum": True,
    }
    settings = {
        "hidden": _layer_sizes(hidden),
        "activation": activation.value,
        "dtype": dtype.value,
        "epochs": epochs,
        "validation": validation,
        "hold_out_by": hold_out_by,
        "batch_size": _batch_size(batch_size),
        "buffer_rows": buffer_rows,
    }
    plan = _plan(settings, options)
    if resume:
        if checkpoint is not None:
            raise typer.BadParameter("--resume names the checkpoint itself: leave --checkpoint out.")
        checkpoint = model.with_name(f"{model.name}.checkpoint")
    check_outputs(data, [path for path in (model, checkpoint) if path is not None], plot)
    kept = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
    if target in (ignore or ()):
        raise typer.BadParameter(f"{target!r} is both target and ignored.")

    overrides = None if columns is None else _column_options(columns)
    source = open_source(data[0] if len(data) == 1 else data)
    say(f"{source.name}: looking at the rows")
    with progress(source.n_rows) as advance:
        training = prepare(source, target, plan, ignore or (), overrides, advance)
    with said_when_slow(COMPILING):
        training.compile()
    if checkpoint is not None and checkpoint.exists():
        say(f"{checkpoint}: going on from there")
    try:
        if isinstance(training.samples, Checked):
            with called([ProgressBar()], epochs) as report:
                trained = training.run(report, kept)
        else:  # an epoch may take hours
            with progress(training.n_train * epochs) as training.samples.advance:
                trained = training.run(lambda epoch: say(f"epoch {epoch.number}/{epochs}  {epoch.measures}"), kept)
    except KeyboardInterrupt:
        if checkpoint is not None:
            say(f"{checkpoint} keeps the epochs that are done: the same command goes on from there")
        raise
    trained.model.save(model)
    if resume and checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    losses = [epoch.loss for epoch in trained.epochs]
    if plot is not None:
        plot_loss(plot, losses, [epoch.validation_score for epoch in trained.epochs])
    summary = {
        "model": str(model),
        "rows": trained.n_train,
        "validation_rows": trained.n_validation,
        "validation_accuracy": trained.accuracy,
        "epochs": len(losses),
        "loss": losses[-1],
        "seconds": trained.seconds,
        "sizes": list(trained.model.network.sizes),
        "classes": trained.model.classes.tolist(),
    }
    held_out = f", held-out accuracy {trained.accuracy:.4f}" if trained.accuracy is not None else ""
    text = (
        f"{model}: {len(losses)} epochs on {trained.n_train} rows in {trained.seconds:.2f} s, "
        f"loss {losses[-1]:.4f}{held_out}"
    )
    show(summary, json, text)


def _plan(settings: dict[str, Any], options: dict[str, Any]) -> Plan:
    from fastnn.pipeline.learning.train import Plan
    from fastnn.training.trainer import TrainOptions

    if not 0 <= settings["validation"] < 1:
        raise typer.BadParameter(f"--validation is a share from 0 to below 1, got {settings['validation']:g}.")
    try:
        return Plan(**settings, options=TrainOptions(**options))
    except (TypeError, ValueError) as error:
        # The library calls it step_size.
        raise typer.BadParameter(str(error).replace("step_size", "--learning-rate")) from None


def _column_options(path: Path) -> dict[str, ColumnOptions]:
    from fastnn.pipeline.columns.options import read_columns

    try:
        return read_columns(path)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _layer_sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if parts == ["0"]:
        return ()
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"--hidden is a list of layer sizes such as 128,64, got {text!r}.")
    return tuple(int(part) for part in parts)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise typer.BadParameter(f"--batch-size is auto or a number of rows, got {text!r}.")
    return int(text)
