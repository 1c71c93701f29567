"""Where rows come from: files in all their formats, sets of files, tables in memory and streams."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.schema import DataError, listed
from fastnn.pipeline.io.ahead import ahead
from fastnn.pipeline.io.discovery import find_files, partitions
from fastnn.pipeline.io.formats import Csv, File, merged_type, open_file, slice_rows
from fastnn.pipeline.io.source import BATCH_ROWS, Source, as_data_errors, plain_schema

__all__ = ["BATCH_ROWS", "Source", "ahead", "in_blocks", "open_source", "read_table"]

Batches = Generator[pa.RecordBatch, None, None]

# Where a column of these types ends: its offsets are of 32 bits, those of the large types of 64.
MOST_TEXT_BYTES = 2**31 - 1
LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def open_source(data: Any, *, text: Collection[str] = (), types: Mapping[str, pa.DataType] | None = None) -> Source:
    """The rows of files, a table or a stream.

    Parameters
    ----------
    data : path, sequence of paths, table or stream
        A file (Parquet, Arrow IPC, ``.npy``, and CSV in UTF-8 with a header line; told apart by their first bytes), a
        folder, whose folders called ``key=value`` make columns, or a pattern such as ``data/*.parquet``. Or anything
        that speaks Arrow: pyarrow, pandas and polars have tables, DuckDB's relations and record batch readers are
        streams.
    text : collection of str
        Columns of CSV files to read as strings, whatever their values look like. Not all of them need be there.
    types : mapping of str to pyarrow.DataType, optional
        Columns of CSV files whose types are known. Those of the others are inferred from the values in the first
        64 MB of each file.

    Raises
    ------
    DataError
        If there is no such file, it can't be read, or the files of a set differ in their columns.
    TypeError
        If `data` is something else.
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
            # A DataFrame is in memory; what isn't, such as a query, needn't give the same rows again.
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
    """The whole table of a file, folder or pattern.

    Parameters
    ----------
    path : str or path-like
        As for `open_source`.
    text : collection of str
        Columns of a CSV file to read as strings, whatever their values look like. Not all of them need be there.

    Raises
    ------
    DataError
        If the file can't be read: absent, empty, ragged, damaged, or something else.
    """
    source = open_source(path, text=text)
    return pa.Table.from_batches(source.batches(), source.schema)


def in_blocks(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows`, the last one aside: no trace of how the source cut them.

    Columns of string or binary are large_string or large_binary in blocks with more than 2 GB of them.
    """
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        start = 0
        while n_waiting + batch.num_rows - start >= rows:
            stop = start + rows - n_waiting
            yield _joined([*waiting, batch.slice(start, stop - start)])
            waiting, n_waiting, start = [], 0, stop
        if start < batch.num_rows:
            waiting.append(batch.slice(start))
            n_waiting += batch.num_rows - start
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches)
    for place, field in enumerate(table.schema):
        large = LARGE.get(field.type)
        if large is not None and table.column(place).nbytes > MOST_TEXT_BYTES:
            table = table.set_column(place, field.with_type(large), table.column(place).cast(large))
    # One chunk a column: of what doesn't fit into one, Arrow would make several.
    (joined,) = table.combine_chunks().to_batches()
    return joined


class Files(Source):
    """Several files with the same columns, one after the other.

    Parameters
    ----------
    files : list of File
        They take on the order of the first one's columns.
    name : str
        For messages.

    Raises
    ------
    DataError
        If their columns differ.
    """

    def __init__(self, files: Sequence[File], name: str) -> None:
        self.name = name
        self._files = files
        self.schema = _common_schema(files)
        for file in files:
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
        places = [(i, block) for i, file in enumerate(self._files) for block in range(file.n_blocks)]
        for i, group in groupby((places[block] for block in blocks), key=lambda place: place[0]):
            yield from self._files[i].batches(names, [block for _, block in group])


class Table(Source):
    """A table in memory: its blocks are slices of it."""

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
        digest = hashlib.sha256()  # a second for a gigabyte
        with pa.PythonFile(_Hashing(digest), "w") as file, pa.ipc.new_stream(file, self._table.schema) as stream:
            stream.write_table(self._table)
        return digest.hexdigest()

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        table = self._table.select(names)
        for block in blocks:
            yield from table.slice(block * BATCH_ROWS, BATCH_ROWS).to_batches()


class Stream(Source):
    """Batches that somebody else makes, to be read once: one block."""

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
    """A file that nobody reads, but for its hash."""

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
    """The columns of all files, in the first one's order; DataError if they differ."""
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
