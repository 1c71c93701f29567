"""Scoring files into files: which goes where, what is done already, and how it is noted that it is.

Beside each output lies a manifest, a hidden file of JSON: what was scored, by which model, with which options, and what
came of it. It is removed before the output is written and appears after it, so that a job that is killed at any moment
finds manifests of finished outputs only. It holds no times of its own: the same work gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fastnn.files.atomic import replacing
from fastnn.files.modelfile import ModelFileError
from fastnn.pipeline.columns.drift import Drift
from fastnn.pipeline.columns.schema import DataError, SchemaError
from fastnn.pipeline.io.overlap import read_ahead
from fastnn.pipeline.io.parsing import open_for
from fastnn.pipeline.io.sinks import format_of, write_batches
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.jobs.scoring import OnBadRow, Output, Scorer
from fastnn.pipeline.model import Model
from fastnn.training.interrupts import held_back

_MANIFEST_VERSION = 1


class DriftError(SchemaError):
    """Data whose distribution has moved further from that of training than was allowed."""


@dataclass(frozen=True)
class JobOptions:
    """What to make of each file.

    Parameters
    ----------
    keep, output, on_bad_row
        As for `predict_batches`.
    check_drift : bool
        Whether to compare each column's distribution with that of training.
    drift_limit : float, optional
        The most that a column's population stability index may be.
    """

    keep: tuple[str, ...] = ()
    output: Output = "both"
    on_bad_row: OnBadRow = "fail"
    check_drift: bool = False
    drift_limit: float | None = None


@dataclass(frozen=True)
class Task:
    """An output, and the rows that go into it: what their text is to be parsed as, and whether there may be none."""

    source: Source
    out: Path
    spelt: Mapping[str, pa.DataType]
    may_be_empty: bool = False

    @property
    def manifest(self) -> Path:
        """Where it is noted that the output is finished."""
        return self.out.with_name(f".{self.out.name}.manifest.json")


@dataclass(frozen=True)
class Scored:
    """What came of a task: rows and bad rows that were read, bytes that were written, and each column's drift."""

    rows: int
    bad_rows: int
    bytes: int
    drift: dict[str, float] | None


class Job:
    """A model that scores files.

    Parameters
    ----------
    model : path
        The model file.
    options : JobOptions

    Raises
    ------
    ModelFileError
        If it is no model for tables, or is replaced while it is read.
    """

    def __init__(self, model: str | os.PathLike[str], options: JobOptions) -> None:
        before = _sha256(model)
        self.model = Model.load(model)
        self.options = options
        self.model_sha256 = _sha256(model)
        if self.model_sha256 != before:
            raise ModelFileError(f"{model} was changed while it was read.")

    def task(self, data: Sequence[str], out: Path) -> Task:
        """All rows of some files, folders and patterns in one output.

        Raises
        ------
        DataError
            If something can't be read, or doesn't fit together.
        SchemaError
            If it doesn't fit the model.
        ValueError
            If the output's name says no format.
        """
        source, spelt = self._open(data, format_of(out))
        return self._checked(Task(source, out, spelt))

    def tasks(self, data: Sequence[str], folder: Path, format_: str) -> list[Task]:
        """An output in a folder for each input file, in sub-folders as the inputs' are.

        Raises
        ------
        DataError, SchemaError
            As `task`.
        ValueError
            If two outputs would be the same file.
        """
        tasks: dict[Path, Task] = {}
        for name in data:
            root = _root(name)
            source, spelt = self._open([name], format_)
            for part in source.parts:
                path = Path(os.path.relpath(part.name, root))
                out = folder / path.with_suffix(f".{format_}")
                if out in tasks:
                    raise ValueError(f"{tasks[out].source.name} and {part.name} would both be scored into {out}.")
                tasks[out] = self._checked(Task(part, out, spelt, may_be_empty=True))
        return list(tasks.values())

    def columns(self, task: Task) -> list[str]:
        """The names of an output's columns."""
        names: list[str] = self._schema(task).names
        return names

    def finished(self, task: Task) -> Scored | None:
        """What came of a task, if it is done: by this model, with these options, of the files as they are now."""
        try:
            manifest = json.loads(task.manifest.read_bytes())
            scored = Scored(**manifest.pop("scored"))
            is_whole = task.out.stat().st_size == scored.bytes
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return scored if is_whole and manifest == self._identity(task) else None

    def run(self, task: Task, advance: Callable[[int], object] = lambda rows: None) -> Scored:
        """Score a task's rows: its output appears whole or not at all, and after it the manifest.

        Parameters
        ----------
        task : Task
        advance : callable, optional
            Called now and then with the number of rows that were scored since.

        Raises
        ------
        SchemaError, DataError
            If the data doesn't fit the model, or can't be used.
        DriftError
            If a column moved further than the limit. There is no new output then.
        OSError
            If the output can't be written.
        KeyboardInterrupt
            Between two batches.
        """
        scorer = self._scorer(task.spelt)
        schema = scorer.schema(task.source.schema)
        with _folder(task.out.parent), held_back() as interrupted:
            with suppress(FileNotFoundError):
                task.manifest.unlink()

            def batches() -> Iterator[pa.RecordBatch]:
                # One ahead is enough: the scorer has one more than it works on.
                with closing(read_ahead(task.source.batches(scorer.columns), 1)) as read:
                    rows = 0
                    for batch in scorer.batches(read):
                        yield batch
                        advance(scorer.rows - rows)
                        rows = scorer.rows
                        if interrupted():
                            raise KeyboardInterrupt
                if not scorer.rows and not task.may_be_empty:
                    raise DataError(f"{task.source.name}: there are no rows.")
                self._check_drift(task, scorer)

            written = write_batches(task.out, schema, batches())
            scored = Scored(scorer.rows, scorer.bad_rows, written.bytes, _drift(scorer))
            manifest = {**self._identity(task), "scored": dataclasses.asdict(scored)}
            with replacing(task.manifest) as file:
                file.write(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
        return scored

    def _open(self, data: Sequence[str], format_: str) -> tuple[Source, dict[str, pa.DataType]]:
        # From CSV to CSV a kept column is carried as it is spelled: an id of 007 stays one.
        spelled = set(self.options.keep) - set(self.model.schema.names()) if format_ == "csv" else set()
        return open_for(self.model.schema, data, spelled)

    def _checked(self, task: Task) -> Task:
        self._schema(task)
        return task

    def _scorer(self, spelt: Mapping[str, pa.DataType]) -> Scorer:
        options = self.options
        return Scorer(
            self.model,
            keep=options.keep,
            output=options.output,
            on_bad_row=options.on_bad_row,
            spelt=spelt,
            drift=Drift(self.model.preprocessor) if options.check_drift else None,
        )

    def _check_drift(self, task: Task, scorer: Scorer) -> None:
        limit = self.options.drift_limit
        if limit is None:
            return
        moved = {name: psi for name, psi in (_drift(scorer) or {}).items() if psi > limit}
        if moved:
            worst = sorted(moved, key=lambda name: -moved[name])
            columns = ", ".join(f"{name!r} ({moved[name]:.3g})" for name in worst)
            raise DriftError(
                f"{task.source.name}: the distribution of column {columns} has moved from that of training: its "
                f"population stability index is above {limit:g}."
            )

    def _schema(self, task: Task) -> pa.Schema:
        return self._scorer(task.spelt).schema(task.source.schema)

    def _identity(self, task: Task) -> dict[str, Any]:
        """What the output is a function of, as it will be read back."""
        identity: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "manifest_version": _MANIFEST_VERSION,
                    "input": task.source.identity(),
                    "model": self.model_sha256,
                    "options": dataclasses.asdict(self.options),
                    # Of CSV files their types depend on all files that are read together.
                    "columns": [(field.name, str(field.type)) for field in self._schema(task)],
                }
            )
        )
        return identity


def n_rows(tasks: Iterable[Task]) -> int | None:
    """The rows of some tasks, None if only reading them would tell."""
    known = [task.source.n_rows for task in tasks]
    return None if None in known else sum(rows for rows in known if rows is not None)


def _drift(scorer: Scorer) -> dict[str, float] | None:
    return None if scorer.drift is None else {column.name: column.psi for column in scorer.drift.report()}


def _sha256(path: str | os.PathLike[str]) -> str:
    """A file's SHA-256; nothing of what can't be read, of which the model's reader says why."""
    with suppress(OSError, ValueError):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _root(name: str) -> Path:
    """The folder below which an argument's files keep their sub-folders."""
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists() or not glob.has_magic(name):
        return path.parent
    parts = path.parts
    plain = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:plain])


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder; if the block fails, remove those that were made and are empty."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise
