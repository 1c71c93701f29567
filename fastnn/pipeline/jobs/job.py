"""Jobs, which score files into files: which output is made from which files, and which outputs are finished.

Beside each output lies a manifest, a hidden JSON file that says what was scored, by which model, with which options,
and what came of it. The manifest is removed before its output is written and appears after it. So a job that is killed
at any moment leaves manifests of finished outputs only. A manifest holds no times, except those of the input files: the
same work gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fastnn.files.modelfile import ModelFileError
from fastnn.pipeline.columns.text import Spellings
from fastnn.pipeline.io.formats import File
from fastnn.pipeline.io.opening import text_in_some
from fastnn.pipeline.io.places import Place, place_of
from fastnn.pipeline.io.sinks import format_of
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.jobs.inputs import open_for
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
    delimiter, decimal, encoding : str, optional
        How CSV files are written; by default as in training.
    """

    keep: tuple[str, ...] = ()
    output: Output = "both"
    on_bad_row: OnBadRow = "fail"
    check_drift: bool = False
    drift_limit: float | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Task:
    """An output file, with the rows that go into it and the columns that it has.

    `spelt` says how columns that arrive as text are read. If the task may be empty,
    a source without rows makes an output without rows; otherwise that is an error.
    """

    source: Source
    out: Place
    spelt: Spellings
    schema: pa.Schema
    may_be_empty: bool = False

    @property
    def manifest(self) -> Place:
        """The file that says that the output is finished."""
        return self.out.beside(f".{os.path.basename(self.out.name)}.manifest.json")

    @contextmanager
    def unfinished(self) -> Iterator[None]:
        """Make the output's folder and remove an old manifest; if the block fails, remove the new folders, if empty."""
        made = self.out.make_folders()
        try:
            self.manifest.remove()
            yield
        except BaseException:
            for folder in made:
                folder.remove_folder()
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
        self._dialect = self.model.schema.dialect.changed(
            delimiter=options.delimiter, decimal=options.decimal, encoding=options.encoding
        )
        self.model_sha256 = _sha256(model)
        if self.model_sha256 != before:
            raise ModelFileError(f"{place_of(model).name} was changed while it was read.")
        self._columns = ResultColumns(self.model, options.keep, options.output, options.on_bad_row)

    def task(self, data: Sequence[str], out: str | os.PathLike[str] | Place) -> Task:
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
        format_of(out)
        source, spelt, schema = self._open(data)
        return Task(source, place_of(out), spelt, schema)

    def tasks(self, data: Sequence[str], folder: str | os.PathLike[str] | Place, format_: str) -> list[Task]:
        """An output in a folder for each input file, in sub-folders like the input's.

        Raises
        ------
        DataError, SchemaError
            As `task`.
        ValueError
            If two outputs would be the same file.
        """
        tasks: dict[str, Task] = {}
        for name in data:
            source, spelt, schema = self._open([name])
            for part in source.parts:
                assert isinstance(part, File)
                out = place_of(folder) / f"{os.path.splitext(part.relative)[0]}.{format_}"
                if out.name in tasks:
                    both = f"{tasks[out.name].source.name} and {part.name}"
                    raise ValueError(
                        f"{both} would both be scored into {out.name}. Score them into two folders, or all into one "
                        "file."
                    )
                tasks[out.name] = Task(part, out, spelt, schema, may_be_empty=True)
        return list(tasks.values())

    def finished(self, task: Task) -> Scored | None:
        """What came of a task, if it was done by this model, with these options, from the files as they are now."""
        try:
            manifest = json.loads(task.manifest.read())
            scored = Scored(**manifest.pop("scored"))
            complete = task.out.status()["size"] == scored.bytes
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return scored if complete and manifest == json.loads(json.dumps(self._identity(task))) else None

    def record(self, task: Task, scored: Scored) -> None:
        """Write the manifest of a task whose output has just been written."""
        manifest = {**self._identity(task), "scored": dataclasses.asdict(scored)}
        with task.manifest.replacing() as file:
            file.write(json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")

    def _open(self, data: Sequence[str]) -> tuple[Source, Spellings, pa.Schema]:
        """The rows of some files, how columns that are text there are read, and the result's columns."""
        source, spelt = open_for(self.model.schema, data, self._dialect, keep=self.options.keep)
        source.check_columns(self.options.keep)
        self._columns.kept_types = dict.fromkeys(text_in_some(source, self.options.keep), pa.string())
        return source, spelt, self._columns.schema(source.schema)

    def _identity(self, task: Task) -> dict[str, Any]:
        """All that the output is a function of."""
        return {
            "manifest_version": _MANIFEST_VERSION,
            "input": task.source.identity(),
            "model": self.model_sha256,
            # An option that is not given is left out where earlier versions didn't have it.
            "options": {
                name: value
                for name, value in dataclasses.asdict(self.options).items()
                if value is not None or name == "drift_limit"
            },
            # The types of kept columns depend on all files that are read together.
            "columns": [(field.name, str(field.type)) for field in task.schema],
        }


def n_rows(tasks: Iterable[Task]) -> int | None:
    """The rows of some tasks, None if only reading them would tell."""
    known = [task.source.n_rows for task in tasks]
    return None if None in known else sum(rows for rows in known if rows is not None)


def _sha256(path: str | os.PathLike[str]) -> str:
    """A file's SHA-256; of a file that can't be read an empty string, since the model's reader says why it can't."""
    with suppress(OSError, ValueError):
        place = place_of(path)
        if place.kind == "file":
            with place.open() as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
