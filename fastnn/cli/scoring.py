"""The commands that apply a model to tables: predict, evaluate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastnn.cli.arguments import Json, ModelFile, check_outputs, refuse_among_inputs
from fastnn.cli.terminal import progress, show

if TYPE_CHECKING:
    import numpy as np

    from fastnn.pipeline.jobs.job import Job, Scored, Task

_DATA_HELP = "Files (CSV with a header line, Parquet, Arrow, .npy), folders, or patterns as 'data/*.parquet'."


class Output(StrEnum):
    """What a score is."""

    PROBA = "proba"
    LABEL = "label"
    BOTH = "both"


class OnBadRow(StrEnum):
    """What becomes of rows that can't be scored."""

    FAIL = "fail"
    NULL = "null"
    SKIP = "skip"


class Format(StrEnum):
    """Formats of output files."""

    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"


def predict(
    model: ModelFile,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help=_DATA_HELP)],
    *,
    out: Annotated[
        str,
        typer.Option(help="The .csv, .parquet or .arrow file to write, or a folder, for a file for each input file."),
    ],
    format_: Annotated[Format | None, typer.Option("--format", help="Of files in a folder; default: parquet.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to carry along; may be given again.")] = None,
    output: Annotated[
        Output, typer.Option(help="proba: a probability for each class; label: the most probable class.")
    ] = Output.BOTH,
    on_bad_row: Annotated[
        OnBadRow, typer.Option(help="What becomes of rows that can't be scored: fail, null scores, or no row.")
    ] = OnBadRow.FAIL,
    check_drift: Annotated[
        bool, typer.Option("--check-drift", help="Report how far each column has moved from training (PSI).")
    ] = False,
    drift_limit: Annotated[
        float | None, typer.Option(min=0, help="Fail, without an output, where a column has moved further than that.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Skip outputs that are done and whose input, model and options are the same."),
    ] = False,
    json: Json = False,
) -> None:
    """Score tables: the kept columns, `prediction`, and a `probability_...` for each class.

    Each output appears whole or not at all, and with it a hidden manifest, which `--resume` goes by.
    """
    from fastnn.pipeline.jobs.job import Job, JobOptions, n_rows
    from fastnn.pipeline.jobs.scoring import score_task

    began = perf_counter()
    scored_by = Job(
        model,
        JobOptions(
            keep=tuple(dict.fromkeys(keep or ())),
            output=output.value,
            on_bad_row=on_bad_row.value,
            check_drift=check_drift or drift_limit is not None,
            drift_limit=drift_limit,
        ),
    )
    tasks = _tasks(scored_by, model, data, out, format_)
    done = {task.out: scored for task in tasks if resume and (scored := scored_by.finished(task)) is not None}
    left = [task for task in tasks if task.out not in done]
    with progress(n_rows(left)) as advance:
        results = {**done, **{task.out: score_task(scored_by, task, advance) for task in left}}
    seconds = perf_counter() - began

    rows, bad_rows = (sum(getattr(scored, count) for scored in results.values()) for count in ("rows", "bad_rows"))
    drift = _largest_drift(results.values())
    summary = {
        "out": out,
        "rows": rows,
        "bad_rows": bad_rows,
        "bytes": sum(scored.bytes for scored in results.values()),
        "seconds": seconds,
        "model": {"path": str(model), "sha256": scored_by.model_sha256},
        "columns": tasks[0].schema.names,
        "outputs": [{"path": str(task.out), **vars(results[task.out]), "skipped": task.out in done} for task in tasks],
        "skipped": len(done),
        "drift": drift,
    }
    notes = [f", {bad_rows} of them bad"] * (bad_rows > 0) + [f", {len(done)} outputs done before"] * (len(done) > 0)
    moved = "".join(f"\ndrift  {psi:8.4f}  {name}" for name, psi in (drift or {}).items())
    show(summary, json, f"{out}: {rows} rows scored in {seconds:.2f} s{''.join(notes)}{moved}")


def evaluate(
    model: ModelFile,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help=_DATA_HELP)],
    *,
    target: Annotated[str, typer.Option(help="The column of the true classes.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the confusion table into this image file.")] = None,
    json: Json = False,
) -> None:
    """Compare a model's predictions with known classes: accuracy, log-loss, confusion table."""
    from fastnn.pipeline import Model
    from fastnn.pipeline.io.parsing import open_for
    from fastnn.pipeline.jobs.evaluate import evaluate as evaluate_rows
    from fastnn.plot import plot_confusion

    check_outputs([model, *data], [], plot)
    fitted = Model.load(model)
    labels = fitted.classes.tolist()
    source, spelt = open_for(fitted.schema, data, text={target} if fitted.classes.dtype.kind == "U" else ())
    result = evaluate_rows(fitted, source.batches({*fitted.schema.names(), target}), target, spelt)
    if plot is not None:
        plot_confusion(plot, result.confusion, labels)
    summary = {
        "rows": result.n_rows,
        "accuracy": result.accuracy,
        "log_loss": result.log_loss,
        "classes": labels,
        "confusion": result.confusion.tolist(),
    }
    text = (
        f"rows      {result.n_rows}\naccuracy  {result.accuracy:.4f}\nlog-loss  {result.log_loss:.4f}\n\n"
        f"true class (rows) against predicted class (columns)\n{_confusion_text(labels, result.confusion)}"
    )
    show(summary, json, text)


def _tasks(job: Job, model: Path, data: list[str], out: str, format_: Format | None) -> list[Task]:
    """What is to be scored into which file; a usage error where that can't be."""
    from fastnn.pipeline.columns.schema import DataError, SchemaError

    path = Path(out)
    into_folder = out.endswith(os.sep) or path.is_dir() or (len(data) > 1 and not path.suffix)
    if not into_folder and format_ is not None:
        raise typer.BadParameter(f"--format is for outputs in a folder; {out} says by its name what it is.")
    try:
        if into_folder:
            _check_folder(path)
            ending = (format_ or Format.PARQUET).value
            refuse_among_inputs(path / f"any.{ending}", data)
            tasks = job.tasks(data, path, ending)
        else:
            check_outputs([model, *data], [path])
            tasks = [job.task(data, path)]
    except (DataError, SchemaError):
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    inputs = {os.path.realpath(part.name) for task in tasks for part in task.source.parts}
    for task in tasks:
        if os.path.realpath(task.out) in {os.path.realpath(model), *inputs}:
            raise typer.BadParameter(f"{task.out} is named twice: an output must be a file of its own.")
    return tasks


def _check_folder(folder: Path) -> None:
    """Refuse, before the work begins, a folder that can't be written."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{folder}: {there} is no folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: no right to write in the folder {there}.")


def _largest_drift(results: Iterable[Scored]) -> dict[str, float] | None:
    """Of each column the index of the output where it is largest, the largest first."""
    largest: dict[str, float] = {}
    for scored in results:
        for name, psi in (scored.drift or {}).items():
            largest[name] = max(psi, largest.get(name, 0.0))
    return dict(sorted(largest.items(), key=lambda entry: -entry[1])) or None


def _confusion_text(labels: list[Any], confusion: np.ndarray) -> str:
    rows = [
        ["", *map(str, labels)],
        *([str(label), *map(str, row)] for label, row in zip(labels, confusion, strict=True)),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(labels) + 1)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
