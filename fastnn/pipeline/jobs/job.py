"""Jobs, which score files into files: which output is made from which files, and which outputs are finished.

Beside each output lies a manifest, a hidden JSON file that says what was scored, by which model, with which options,
and what came of it. The manifest is removed before its output is written and appears after it. So a job that is killed
at any moment leaves manifests of finished outputs only. A manifest holds no times, except those of the input files: the
same work gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fastnn.files.atomic import replacing
from fastnn.files.modelfile import ModelFileError
from fastnn.pipeline.io.parsing import open_for, parsed_schema
from fastnn.pipeline.io.sinks import format_of
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.jobs.result import OnBadRow, Output, ResultColumns
from fastnn.pipeline.model import Model

_MANIFEST_VERSION = 1


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
    """An output file, with the rows that go into it and the columns that it has.

    `spelt` names the columns that arrive as text, with the types that the text is parsed as. If the task may be empty,
    a source without rows makes an output without rows; otherwise that is an error.
    """

    source: Source
    out: Path
    spelt: Mapping[str, pa.DataType]
    schema: pa.Schema
    may_be_empty: bool = False

    @property
    def manifest(self) -> Path:
        """The file that says that the output is finished."""
        return self.out.with_name(f".{self.out.name}.manifest.json")

    @contextmanager
    def unfinished(self) -> Iterator[None]:
        """Make the output's folder and remove an old manifest; if the block fails, remove the new folders, if empty."""
        made = [folder for folder in self.out.parents if not folder.exists()]
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                self.manifest.unlink()
            yield
        except BaseException:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise


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
        What to make of each file.

    Raises
    ------
    ModelFileError
        If the file holds no model for tables, or is replaced while it is read.
    """

    def __init__(self, model: str | os.PathLike[str], options: JobOptions) -> None:
        before = _sha256(model)
        self.model = Model.load(model)
        self.options = options
        self.model_sha256 = _sha256(model)
        if self.model_sha256 != before:
            raise ModelFileError(f"{model} was changed while it was read.")
        self._columns = ResultColumns(self.model, options.keep, options.output, options.on_bad_row)

    def task(self, data: Sequence[str], out: Path) -> Task:
        """All rows of some files, folders and patterns in one output.

        Raises
        ------
        DataError
            If something can't be read, or the files don't fit together.
        SchemaError
            If the files don't fit the model.
        ValueError
            If the output's name says no format.
        """
        source, spelt, schema = self._open(data, format_of(out))
        return Task(source, out, spelt, schema)

    def tasks(self, data: Sequence[str], folder: Path, format_: str) -> list[Task]:
        """An output in a folder for each input file, in sub-folders like the input's.

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
            source, spelt, schema = self._open([name], format_)
            for part in source.parts:
                path = Path(os.path.relpath(part.name, root))
                out = folder / path.with_suffix(f".{format_}")
                if out in tasks:
                    raise ValueError(f"{tasks[out].source.name} and {part.name} would both be scored into {out}.")
                tasks[out] = Task(part, out, spelt, schema, may_be_empty=True)
        return list(tasks.values())

    def finished(self, task: Task) -> Scored | None:
        """What came of a task, if it was done by this model, with these options, from the files as they are now."""
        try:
            manifest = json.loads(task.manifest.read_bytes())
            scored = Scored(**manifest.pop("scored"))
            complete = task.out.stat().st_size == scored.bytes
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return scored if complete and manifest == json.loads(json.dumps(self._identity(task))) else None

    def record(self, task: Task, scored: Scored) -> None:
        """Write the manifest of a task whose output has just been written."""
        manifest = {**self._identity(task), "scored": dataclasses.asdict(scored)}
        with replacing(task.manifest) as file:
            file.write(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")

    def _open(self, data: Sequence[str], format_: str) -> tuple[Source, dict[str, pa.DataType], pa.Schema]:
        """The rows of some files, the types of the columns that are text there, and the result's columns."""
        # From CSV to CSV, a kept column is copied as it is spelled: an id of 007 stays 007.
        spelled = set(self.options.keep) - set(self.model.schema.names()) if format_ == "csv" else set()
        source, spelt = open_for(self.model.schema, data, spelled)
        return source, spelt, self._columns.schema(parsed_schema(source.schema, spelt))

    def _identity(self, task: Task) -> dict[str, Any]:
        """All that the output is a function of."""
        return {
            "manifest_version": _MANIFEST_VERSION,
            "input": task.source.identity(),
            "model": self.model_sha256,
            "options": dataclasses.asdict(self.options),
            # The types of a CSV file's columns depend on all files that are read together.
            "columns": [(field.name, str(field.type)) for field in task.schema],
        }


def n_rows(tasks: Iterable[Task]) -> int | None:
    """The rows of some tasks, None if only reading them would tell."""
    known = [task.source.n_rows for task in tasks]
    return None if None in known else sum(rows for rows in known if rows is not None)


def _sha256(path: str | os.PathLike[str]) -> str:
    """A file's SHA-256; of a file that can't be read an empty string, since the model's reader says why it can't."""
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
