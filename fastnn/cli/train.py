"""The command train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fastnn.cli import arguments
from fastnn.cli.terminal import COMPILING, progress, said_when_slow, say, show

if TYPE_CHECKING:
    from fastnn.pipeline.columns.options import TableOptions
    from fastnn.pipeline.learning.plan import Plan
    from fastnn.pipeline.learning.reading import Reading
    from fastnn.pipeline.learning.train import Trained, Training


@arguments.with_training_options
def train(
    data: arguments.Data,
    *,
    target: arguments.Target,
    model: arguments.NewModel,
    ignore: arguments.Ignore = None,
    columns: arguments.Columns = None,
    missing: arguments.Missing = None,
    strip: arguments.Strip = False,
    delimiter: arguments.Delimiter = ",",
    decimal: arguments.Decimal = ".",
    encoding: arguments.Encoding = "utf-8",
    on_bad_row: arguments.OnBadTrainingRow = "fail",
    plot: arguments.LossPlot = None,
    resume: arguments.ResumeTraining = False,
    json: arguments.Json = False,
    **training: Any,
) -> None:
    """Train a classifier or a regression on a table and write it to a model file. The table may be larger than memory.

    Numbers and dates are standardised, strings one-hot encoded, missing values filled; the model file keeps all of it.
    """
    plan = _plan(training)
    checkpoint = None if training["checkpoint"] is None else Path(training["checkpoint"])
    if "://" in (training["checkpoint"] or ""):
        raise typer.BadParameter("--checkpoint must be a local file.")
    if resume:
        if checkpoint is not None:
            raise typer.BadParameter("--resume names the checkpoint itself: leave --checkpoint out.")
        checkpoint = _checkpoint_beside(model)
    arguments.check_outputs(data, [path for path in (model, checkpoint) if path is not None], plot)
    both = [name for name in target if name in (ignore or ())]
    if both:
        raise typer.BadParameter(f"{both[0]!r} is both target and ignored.")
    text = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding, "strip": strip}
    prepared = _prepare(data, target, plan, ignore or [], _reading(text, missing or [], columns, on_bad_row))
    trained = _run(prepared, checkpoint, training["checkpoint_every"])
    trained.model.save(model)
    if resume and checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    _report(trained, model, plot, json)


def _reading(text: dict[str, Any], missing: list[str], columns: Path | None, on_bad_row: str) -> Reading:
    """How the columns are read: what the options say, and the TOML file of single columns."""
    from fastnn.pipeline.columns.options import TableOptions
    from fastnn.pipeline.learning.reading import Reading

    said = TableOptions({}) if columns is None else _column_options(columns)
    dialect = arguments.dialect_of(**text, missing=(*said.missing, *missing))
    return Reading(dialect, said.columns, on_bad_row=on_bad_row)


def _plan(training: dict[str, Any]) -> Plan:
    """The plan that the options of training ask for. An option that isn't accepted is a usage error."""
    from dataclasses import fields

    from fastnn.pipeline.learning.plan import Plan
    from fastnn.training.option_table import COMMAND_LINE, OPTIONS, PLAN, TRAIN
    from fastnn.training.options import TrainOptions

    said = {**training, "hidden": _layer_sizes(training["hidden"]), "batch_size": _batch_size(training["batch_size"])}
    if said["solver"] != "adamw" and said["weight_decay"] == OPTIONS["weight_decay"].uses[COMMAND_LINE].default:
        said["weight_decay"] = 0.0  # the default is adamw's
    known = {field.name for field in fields(TrainOptions)}
    settings, options, names = {}, {}, {}
    for name, option in OPTIONS.items():
        if COMMAND_LINE in option.uses:
            here = option.uses[COMMAND_LINE].name or name
            there = option.uses[PLAN].name or name if PLAN in option.uses else name
            if PLAN in option.uses:
                settings[there] = said[here]
            elif TRAIN in option.uses and name in known:
                options[name] = said[here]
            names[there] = f"--{here.replace('_', '-')}"
    try:
        return Plan(**settings, options=TrainOptions(**options))
    except (TypeError, ValueError) as error:
        message = str(error)
        for name, option_name in names.items():
            message = message.replace(f"{name} ", f"{option_name} ")
        raise typer.BadParameter(message) from None


def _checkpoint_beside(model: str) -> Path:
    """The file that keeps the progress until the model is written."""
    from fastnn.pipeline.io.places import Local, place_of

    place = place_of(model)
    if not isinstance(place, Local):
        raise typer.BadParameter("--resume keeps its progress beside the model. Name a local file: --checkpoint FILE")
    return Path(f"{place.path}.checkpoint")


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


def _prepare(data: list[str], target: list[str], plan: Plan, ignore: list[str], reading: Reading) -> Training:
    """Read the data once, and compile."""
    from fastnn.pipeline.io.opening import open_source
    from fastnn.pipeline.learning.train import prepare

    source = open_source(data, reading.dialect)
    say(f"{source.name}: looking at the rows")
    with progress(source.n_rows) as advance:
        training = prepare(source, target, plan, ignore, reading.options, advance, reading)
    with said_when_slow(COMPILING):
        training.compile()
    return training


def _column_options(path: Path) -> TableOptions:
    from fastnn.pipeline.columns.options import read_columns

    try:
        return read_columns(path)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _run(training: Training, checkpoint: Path | None, every: int) -> Trained:
    """Train, with the progress on stderr."""
    from fastnn.callbacks import ProgressBar, called
    from fastnn.network.samples import Checked
    from fastnn.training.checkpoint import Checkpoint

    epochs = training.plan.epochs
    kept = None if checkpoint is None else Checkpoint(checkpoint, every)
    if checkpoint is not None and checkpoint.exists():
        say(f"{checkpoint}: going on from there")
    try:
        if isinstance(training.samples, Checked):
            with called([ProgressBar()], epochs) as report:
                return training.run(report, kept)
        # Out of core an epoch may take hours, so the progress is that of the rows.
        with progress(training.n_train * epochs) as training.samples.advance:
            return training.run(lambda epoch: say(f"epoch {epoch.number}/{epochs}  {epoch.measures}"), kept)
    except KeyboardInterrupt:
        if checkpoint is not None:
            say(f"{checkpoint} keeps the epochs that are done: the same command goes on from there")
        raise


def _report(trained: Trained, model: str, plot: Path | None, as_json: bool) -> None:
    """Draw the losses if a plot is wanted, and print the summary."""
    from fastnn.pipeline.io.places import place_of
    from fastnn.plot import plot_loss

    model = place_of(model).name  # without secrets
    losses = [epoch.loss for epoch in trained.epochs]
    if plot is not None:
        plot_loss(plot, losses, [epoch.validation_score for epoch in trained.epochs])
    classes = trained.model.task == "classification"
    summary = {
        "model": model,
        "rows": trained.n_train,
        "validation_rows": trained.n_validation,
        "task": trained.model.task,
        "validation_accuracy" if classes else "validation_r2": trained.score,
        "epochs": len(losses),
        "loss": losses[-1],
        "seconds": trained.seconds,
        "sizes": list(trained.model.network.sizes),
        "classes": trained.model.classes.tolist() if classes else None,
    }
    measure = "accuracy" if classes else "R²"
    held_out = f", held-out {measure} {trained.score:.4f}" if trained.score is not None else ""
    text = (
        f"{model}: {len(losses)} epochs on {trained.n_train} rows in {trained.seconds:.2f} s, "
        f"loss {losses[-1]:.4f}{held_out}"
    )
    show(summary, as_json, text)
