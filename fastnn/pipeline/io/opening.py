"""From a path, a pattern, a table or a stream to a `Source` of rows: `open_source`.

Files are found by `discovery` and opened by `formats`. Several files, tables in memory and streams are sources here.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastnn.pipeline.columns.options import PLAIN, Dialect
from fastnn.pipeline.columns.schema import DataError, family_of
from fastnn.pipeline.columns.text import Spelling, is_spelt
from fastnn.pipeline.io.csvfile import Csv
from fastnn.pipeline.io.discovery import find_files, partitions
from fastnn.pipeline.io.formats import ArrowFile, ArrowStream, Empty, File, Npy, Parquet, slice_rows
from fastnn.pipeline.io.places import Place, without_secrets
from fastnn.pipeline.io.promotion import common_schema
from fastnn.pipeline.io.source import BATCH_ROWS, Batches, Source, as_data_errors


def open_source(data: Any, dialect: Dialect = PLAIN, *, type_folders: bool = True) -> Source:
    """Open files, a table or a stream as a source of rows.

    Parameters
    ----------
    data : path, sequence of paths, table or stream
        A path or a URI is that of a file, of a folder, or a pattern such as ``data/*.parquet``. A file is Parquet,
        Arrow IPC, ``.npy``, or CSV with a header line; its first bytes tell which. Subfolders that are called
        ``key=value`` make columns. A table or a stream is any object with Arrow's interface: tables of pyarrow, pandas
        and polars are tables; DuckDB's relations and record batch readers are streams.
    dialect : Dialect
        How CSV files are written. All columns of a CSV file are text; `typed` finds their types.
    type_folders : bool
        Whether the columns that folders make get a type, for a training. A model knows their types, and reads text.

    Raises
    ------
    DataError
        If a file doesn't exist or can't be read.
    TypeError
        If `data` is of any other type.
    """
    if isinstance(data, str | os.PathLike):
        data = [data]
    if isinstance(data, list | tuple):
        return _open_files(data, dialect, type_folders)
    with as_data_errors("The table"):
        if isinstance(data, pa.Table):
            return Table(data)
        if isinstance(data, pa.RecordBatch):
            return Table(pa.Table.from_batches([data]))
        if isinstance(data, pa.RecordBatchReader):
            return Stream(data)
        if hasattr(data, "__arrow_c_stream__"):
            # A DataFrame is in memory. A query, for example, isn't, and may give other rows the next time.
            in_memory = hasattr(data, "__array__")
            return Table(pa.table(data)) if in_memory else Stream(pa.RecordBatchReader.from_stream(data))
    raise TypeError(
        f"Expected paths or a table that speaks Arrow (pyarrow, pandas, polars, DuckDB), got {type(data).__name__}."
    )


class Files(Source):
    """Several files with common columns, read one after the other.

    The batches of a file have its own schema, which is the common one except that CSV files have text.

    Parameters
    ----------
    files : sequence of File
        The files. They get the types of the schema that they have in common, with the columns in the first one's order.
    name : str
        The name in messages.
    """

    def __init__(self, files: Sequence[File], name: str) -> None:
        self.name = name
        self._files = files
        self._starts = [0, *accumulate(file.n_blocks for file in files)]
        self.schema, self.odd, self.untyped = common_schema(files)
        self.own_types = {field.name: field.type for field in self.schema}
        self.unlearnt = frozenset[str]().union(*(file.unlearnt for file in files))
        self.spell({})

    def spell(self, types: Mapping[str, pa.DataType]) -> None:
        """Give the files their schemas: the common one, with other types for some columns, and text as it is."""
        self.schema = pa.schema([(field.name, types.get(field.name, field.type)) for field in self.schema])
        for file in self._files:
            text = {name: file.own_types[name] for name in file.untyped if name not in types}
            file.schema = pa.schema([(field.name, text.get(field.name, field.type)) for field in self.schema])

    def where(self, row: int) -> str:
        for file in self._files:
            n_rows = file.n_rows
            if n_rows is None:
                n_rows = sum(batch.num_rows for batch in file.batches(file.schema.names[:1]))
            if row < n_rows:
                return file.where(row)
            row -= n_rows
        return super().where(row)

    @property
    def parts(self) -> Sequence[Source]:
        return self._files

    @property
    def block_rows(self) -> Sequence[int | None]:
        return [rows for file in self._files for rows in file.block_rows]

    @property
    def n_blocks(self) -> int:
        return self.starts[-1]

    @property
    def starts(self) -> Sequence[int]:
        return self._starts

    def identity(self) -> list[dict[str, Any]]:
        return [entry for file in self._files for entry in file.identity()]

    def _shaped(self, schema: pa.Schema, blocks: Sequence[int]) -> Batches:
        return self._read(schema.names, blocks)

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        for i, inner in by_part(self, blocks):
            yield from self._files[i].batches(names, inner)


def by_part(source: Source, blocks: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Blocks of a source, in their order, as those of its parts: the part's number, and the blocks' numbers in it."""
    starts = source.starts
    for i, group in groupby(blocks, key=lambda block: bisect_right(starts, block) - 1):
        yield i, [block - starts[i] for block in group]


class Table(Source):
    """A table in memory. Its blocks are slices of `BATCH_ROWS` rows."""

    name = "The table"

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._set_schema(table.schema)

    @property
    def block_rows(self) -> Sequence[int]:
        return slice_rows(self._table.num_rows)

    def identity(self) -> list[dict[str, Any]]:
        return [{"rows": self._table.num_rows, "columns": _described(self.schema)}]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()  # which takes a second for each gigabyte
        with pa.PythonFile(_Hashing(digest), "w") as file, pa.ipc.new_stream(file, self._table.schema) as stream:
            stream.write_table(self._table)
        return digest.hexdigest()

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        table = self._table.select(names)
        for block in blocks:
            yield from table.slice(block * BATCH_ROWS, BATCH_ROWS).to_batches()


class Stream(Source):
    """A stream of batches, which is one block and can be read only once."""

    name = "The stream"
    once = True
    block_rows = (None,)

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader: pa.RecordBatchReader | None = reader
        self._set_schema(reader.schema)

    def identity(self) -> list[dict[str, Any]]:
        return [{"rows": None, "columns": _described(self.schema)}]

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        if self._reader is None:
            raise DataError("A stream can be read once only.")
        reader, self._reader = self._reader, None
        with reader:
            yield from reader


class _Hashing(io.RawIOBase):
    """A file that keeps nothing of what is written to it but a hash."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)


def _described(schema: pa.Schema) -> list[list[str]]:
    return [[field.name, str(field.type)] for field in schema]


def _open_files(paths: Sequence[str | os.PathLike[str]], dialect: Dialect, type_folders: bool) -> Source:
    found = [file for path in paths for file in find_files(path)]
    if not found:
        raise DataError("There are no files in an empty list.")
    files = []
    for file, (partition, unlearnt) in zip(found, partitions(found, typed=type_folders), strict=True):
        opened = open_file(file.place, partition, dialect)
        opened.unlearnt |= unlearnt
        if not type_folders:
            opened.untyped |= {*partition}
        opened.relative = posixpath.join(file.inner, os.path.basename(file.path))
        files.append(opened)
    if all(isinstance(file, Empty) for file in files):
        raise DataError(f"{files[0].name} is empty.")
    if len(files) == 1 and len({*files[0].schema.names}) == len(files[0].schema.names):
        return files[0]
    return Files(files, ", ".join(without_secrets(os.fspath(path)) for path in paths[:3]))


_BY_MAGIC: dict[bytes, Callable[[Place, Mapping[str, pa.Scalar]], File]] = {
    b"PAR1": Parquet,
    b"ARROW1\0\0": ArrowFile,
    b"\xff\xff\xff\xff": ArrowStream,
    b"\x93NUMPY": Npy,
}


def open_file(place: Place, partition: Mapping[str, pa.Scalar], dialect: Dialect = PLAIN) -> File:
    """Open a file in the format that its first bytes tell; a file of no other format is read as CSV.

    Parameters
    ----------
    place : Place
        Where the file is.
    partition : mapping of str to pyarrow.Scalar
        The columns that the names of its folders make.
    dialect : Dialect
        How a CSV file is written.

    Raises
    ------
    DataError
        If the file can't be read.
    """
    with as_data_errors(place.name):
        if place.kind is None:
            raise DataError(f"{place.name}: there is no such file.")
        if place.kind != "file":
            raise DataError(f"{place.name} isn't a regular file.")
        with place.open() as file:
            start = file.read(8)
        for magic, format_ in _BY_MAGIC.items():
            if start.startswith(magic):
                return format_(place, partition)
        opened = Csv(place, partition, dialect)
        return Empty(place, partition) if opened.is_empty else opened


def best_types(
    source: Source, choices: Mapping[str, Sequence[pa.DataType]], spelling: Callable[[str], Spelling]
) -> dict[str, pa.DataType]:
    """For each of these columns the type, of several, as which most text of all files' first rows can be parsed."""
    failures = {name: np.zeros(len(types), np.int64) for name, types in choices.items()}
    for part in source.parts:
        names = [name for name in choices if len(choices[name]) > 1 and is_spelt(part.schema.field(name).type)]
        if names:
            with closing(part.batches(names)) as batches:
                first = next(batches, pa.RecordBatch.from_pylist([], part.schema))
            for name in names:
                text, how = pc.unique(first.column(name)), spelling(name)
                failures[name] += [len(how._replace(type=each).values(text)[1]) for each in choices[name]]
    return {name: choices[name][int(found.argmin())] for name, found in failures.items()}


def text_in_some(source: Source, names: Collection[str]) -> list[str]:
    """Which of these columns have a type, but are text in some files, namely CSV files."""
    typed = [field.name for field in source.schema if field.name in names and not is_spelt(field.type)]
    return [name for name in typed if any(name in part.untyped for part in source.parts)]


def keep_text(source: Source, names: Collection[str]) -> None:
    """Let columns be text in all files, if they are text in some. Casts to the others' type would change ids."""
    mixed = text_in_some(source, names)
    for name in mixed:
        type_ = source.schema.field(name).type
        if family_of(type_) is None:
            raise DataError(f"Column {name!r} is {type_} in some files and text in CSV files.")
    if isinstance(source, Files) and mixed:
        source.spell(dict.fromkeys(mixed, pa.string()))
