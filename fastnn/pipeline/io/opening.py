"""From a path, a pattern, a table or a stream to a `Source` of rows: `open_source`.

Files are found by `discovery` and opened by `formats`. Several files, tables in memory and streams are sources here.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.schema import DataError, listed
from fastnn.pipeline.io.discovery import find_files, partitions
from fastnn.pipeline.io.formats import Csv, File, merged_type, open_file, slice_rows
from fastnn.pipeline.io.source import BATCH_ROWS, Source, as_data_errors, plain_schema

Batches = Generator[pa.RecordBatch, None, None]


def open_source(data: Any, *, text: Collection[str] = (), types: Mapping[str, pa.DataType] | None = None) -> Source:
    """Open files, a table or a stream as a source of rows.

    Parameters
    ----------
    data : path, sequence of paths, table or stream
        A path is that of a file, of a folder, or a pattern such as ``data/*.parquet``. A file is Parquet, Arrow IPC,
        ``.npy``, or CSV in UTF-8 with a header line; its first bytes tell which. A folder's subfolders that are called
        ``key=value`` make columns. A table or a stream is any object with Arrow's interface: tables of pyarrow, pandas
        and polars are tables; DuckDB's relations and record batch readers are streams.
    text : collection of str
        The columns of CSV files to read as strings, whatever their values look like. Names that a file doesn't have
        are ignored.
    types : mapping of str to pyarrow.DataType, optional
        The types of columns of CSV files, where they are known. The other types are inferred from the values in the
        first 64 MB of each file.

    Raises
    ------
    DataError
        If a file doesn't exist or can't be read, or if several files differ in their columns.
    TypeError
        If `data` is of any other type.
    """
    if isinstance(data, str | os.PathLike):
        data = [data]
    if isinstance(data, list | tuple):
        return _open_files(data, {**(types or {}), **dict.fromkeys(text, pa.string())})
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
            return (
                Table(_without_index(pa.table(data))) if in_memory else Stream(pa.RecordBatchReader.from_stream(data))
            )
    raise TypeError(
        f"Expected paths or a table that speaks Arrow (pyarrow, pandas, polars, DuckDB), got {type(data).__name__}."
    )


def _without_index(table: pa.Table) -> pa.Table:
    """A table without the columns that were the index of a pandas DataFrame."""
    said = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    index = {name for name in said if isinstance(name, str)}
    return table.drop_columns([name for name in table.column_names if name in index])


def read_table(path: str | os.PathLike[str], text: Collection[str] = ()) -> pa.Table:
    """Read a file, a folder or a pattern as one table.

    Parameters
    ----------
    path : str or path-like
        As for `open_source`.
    text : collection of str
        As for `open_source`.

    Raises
    ------
    DataError
        If a file can't be read, for example because it is missing, empty, ragged or damaged.
    """
    source = open_source(path, text=text)
    return pa.Table.from_batches(source.batches(), source.schema)


class Files(Source):
    """Several files with the same columns, read one after the other.

    Parameters
    ----------
    files : sequence of File
        The files. All of them get the schema that they have in common, with the columns in the first file's order.
    name : str
        The name in messages.

    Raises
    ------
    DataError
        If the files' columns differ.
    """

    def __init__(self, files: Sequence[File], name: str) -> None:
        self.name = name
        self._files = files
        self.unify()

    def unify(self) -> None:
        """Give all files the schema that they have in common; DataError if their columns differ."""
        self.schema = _common_schema(self._files)
        for file in self._files:
            file.schema = self.schema

    @property
    def parts(self) -> Sequence[Source]:
        return self._files

    @property
    def block_rows(self) -> Sequence[int | None]:
        return [rows for file in self._files for rows in file.block_rows]

    @property
    def n_blocks(self) -> int:
        return sum(file.n_blocks for file in self._files)

    def identity(self) -> list[dict[str, Any]]:
        return [entry for file in self._files for entry in file.identity()]

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        located = [(i, block) for i, file in enumerate(self._files) for block in range(file.n_blocks)]
        for i, group in groupby((located[block] for block in blocks), key=lambda found: found[0]):
            yield from self._files[i].batches(names, [block for _, block in group])


class Table(Source):
    """A table in memory. Its blocks are slices of `BATCH_ROWS` rows."""

    name = "The table"

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema = plain_schema(table.schema)

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
        self.schema = plain_schema(reader.schema)

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


def _open_files(paths: Sequence[str | os.PathLike[str]], types: Mapping[str, pa.DataType]) -> Source:
    found = [file for path in paths for file in find_files(os.fspath(path))]
    if not found:
        raise DataError("There are no files in an empty list.")
    opened = zip(found, partitions(found), strict=True)
    files = [open_file(file.path, partition, types) for file, partition in opened]
    return files[0] if len(files) == 1 else Files(files, ", ".join(map(str, paths[:3])))


def _common_schema(files: Sequence[File]) -> pa.Schema:
    """The columns that all files have, in the first file's order; DataError if the files' columns differ."""
    first = files[0]
    types = {field.name: field.type for field in first.schema}
    for file in files[1:]:
        for this, other in ((file, first), (first, file)):
            extra = Counter(this.schema.names) - Counter(other.schema.names)
            if extra:
                raise DataError(f"{this.name} has a column {listed([*extra])} that {other.name} doesn't have.")
        for field in file.schema:
            type_ = types[field.name]
            if isinstance(file, Csv) and isinstance(first, Csv):
                types[field.name] = merged_type(type_, field.type)
            elif field.type != type_:
                raise DataError(f"{file.name}: column {field.name!r} is {field.type}, but {type_} in {first.name}.")
    return pa.schema([(name, types[name]) for name in first.schema.names])
