"""The command predict."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import typer

from fastnn.cli import arguments
from fastnn.cli.terminal import progress, show

if TYPE_CHECKING:
    from fastnn.pipeline.jobs.job import Job, JobOptions, Scored, Task
    from fastnn.pipeline.jobs.result import OnBadRow, Output


def predict(
    model: arguments.ModelFile,
    data: arguments.Data,
    *,
    out: arguments.Out,
    format_: arguments.OutputFormat = None,
    keep: arguments.Keep = None,
    output: arguments.Output = "both",
    on_bad_row: arguments.OnBadRow = "fail",
    check_drift: arguments.CheckDrift = False,
    drift_limit: arguments.DriftLimit = None,
    delimiter: arguments.OtherDelimiter = None,
    decimal: arguments.OtherDecimal = None,
    encoding: arguments.OtherEncoding = None,
    resume: arguments.ResumeScoring = False,
    json: arguments.Json = False,
) -> None:
    """Score tables: the kept columns, `prediction`, and a `probability_...` for each class.

    Each output appears whole or not at all, and with it a hidden manifest, by which `--resume` knows what is finished.
    """
    from fastnn.pipeline.io.places import is_uri, place_of, without_secrets
    from fastnn.pipeline.jobs.job import JobOptions, n_rows
    from fastnn.pipeline.jobs.scoring import score_task

    began = perf_counter()
    options = JobOptions(
        keep=tuple(dict.fromkeys(keep or ())),
        output=cast("Output", output),
        on_bad_row=cast("OnBadRow", on_bad_row),
        check_drift=check_drift or drift_limit is not None,
        drift_limit=drift_limit,
        delimiter=delimiter,
        decimal=decimal,
        encoding=encoding,
    )
    job = _job(model, options)
    tasks = _tasks(job, model, data, out, format_)
    done = {task.out.name: scored for task in tasks if resume and (scored := job.finished(task)) is not None}
    left = [task for task in tasks if task.out.name not in done]
    with progress(n_rows(left)) as advance:
        results = {**done, **{task.out.name: score_task(job, task, advance) for task in left}}
    seconds = perf_counter() - began

    outputs: list[dict[str, Any]] = [
        {"path": task.out.name, **vars(results[task.out.name]), "skipped": task.out.name in done} for task in tasks
    ]
    summary = {
        "out": without_secrets(out) if is_uri(out) else out,
        **{name: sum(output[name] for output in outputs) for name in ("rows", "bad_rows", "bytes")},
        "seconds": seconds,
        "model": {"path": place_of(model).name, "sha256": job.model_sha256},
        "columns": tasks[0].schema.names,
        "outputs": outputs,
        "skipped": len(done),
        "drift": _largest_drift(results.values()),
    }
    show(summary, json, _in_words(summary))


def _job(model: str, options: JobOptions) -> Job:
    from fastnn.files.modelfile import ModelFileError
    from fastnn.pipeline.columns.schema import DataError
    from fastnn.pipeline.jobs.job import Job

    try:
        return Job(model, options)
    except (DataError, ModelFileError):
        raise
    except ValueError as error:  # a delimiter, say, that can't be one
        raise typer.BadParameter(str(error)) from None


def _tasks(job: Job, model: str, data: list[str], out: str, format_: str | None) -> list[Task]:
    """What is to be scored into which file; a usage error if that can't be done."""
    from fastnn.pipeline.columns.schema import DataError, SchemaError
    from fastnn.pipeline.io.formats import File
    from fastnn.pipeline.io.places import Local, is_uri, place_of, without_secrets

    place = place_of(out)
    path = without_secrets(out) if is_uri(out) else out
    suffix = os.path.splitext(path)[1]
    into_folder = path.endswith(("/", os.sep)) or place.kind == "folder" or (len(data) > 1 and not suffix)
    if not into_folder and format_ is not None:
        raise typer.BadParameter(
            f"--format is for outputs in a folder: the format of {place.name} is that of its ending."
        )
    try:
        if into_folder:
            if isinstance(place, Local):
                _check_folder(Path(out))
            ending = format_ or "parquet"
            arguments.refuse_among_inputs(place / f"any.{ending}", data)
            tasks = job.tasks(data, place, ending)
        else:
            arguments.check_outputs([model, *data], [out])
            tasks = [job.task(data, place)]
    except (DataError, SchemaError):
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    inputs = {part.place.identity for task in tasks for part in task.source.parts if isinstance(part, File)}
    for task in tasks:
        if task.out.identity in {place_of(model).identity, *inputs}:
            raise typer.BadParameter(f"{task.out.name} is named twice: an output must be a file of its own.")
    return tasks


def _check_folder(folder: Path) -> None:
    """Refuse, before the work begins, a folder that can't be written."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{folder}: {there} is no folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: no right to write in the folder {there}.")


def _largest_drift(results: Iterable[Scored]) -> dict[str, float] | None:
    """Each column's largest drift in any output, the largest first."""
    largest: dict[str, float] = {}
    for scored in results:
        for name, psi in (scored.drift or {}).items():
            largest[name] = max(psi, largest.get(name, 0.0))
    return dict(sorted(largest.items(), key=lambda entry: -entry[1])) or None


def _in_words(summary: dict[str, Any]) -> str:
    notes = [f", {summary['bad_rows']} of them bad"] * (summary["bad_rows"] > 0)
    notes += [f", {summary['skipped']} outputs done before"] * (summary["skipped"] > 0)
    drift = "".join(f"\ndrift  {psi:8.4f}  {name}" for name, psi in (summary["drift"] or {}).items())
    return f"{summary['out']}: {summary['rows']} rows scored in {summary['seconds']:.2f} s{''.join(notes)}{drift}"
