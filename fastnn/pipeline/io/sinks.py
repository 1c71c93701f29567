"""Writing rows to CSV, Parquet and Arrow IPC files, which appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from fastnn.pipeline.columns.arrow import to_arrow
from fastnn.pipeline.columns.schema import DataError, family_of, value_type
from fastnn.pipeline.io.overlap import write_behind
from fastnn.pipeline.io.places import Place, is_uri, place_of, without_secrets
from fastnn.pipeline.io.rebatch import MOST_TEXT_BYTES, rebatch
from fastnn.pipeline.io.source import first_line

_GROUP_ROWS = 131_072  # in a row group of Parquet
_SYNC_BYTES = 8 << 20
_FORMATS = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}


@dataclass(frozen=True)
class Written:
    """The size of a file that was written."""

    rows: int
    bytes: int


def format_of(path: str | os.PathLike[str] | Place) -> str:
    """``"csv"``, ``"parquet"`` or ``"arrow"``, from the ending of the file's name; ValueError for any other ending."""
    name = path.name if isinstance(path, Place) else os.fspath(path)
    try:
        return _FORMATS[Path(name.partition("?")[0] if is_uri(name) else name).suffix.lower()]
    except KeyError:
        raise ValueError(f"{without_secrets(name)}: an output's name must end in .csv, .parquet or .arrow.") from None


def write_batches(
    path: str | os.PathLike[str] | Place, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> Written:
    """Write record batches to a CSV, Parquet or Arrow IPC file; the ending of the file's name tells which.

    A thread encodes the batches while the caller's thread makes the next ones. The file's bytes depend on the rows
    alone, not on how they were divided into batches: row groups have 131,072 rows, or fewer where a column has more
    than 2 GB of text.

    Parameters
    ----------
    path : str, path-like or Place
        The file, which replaces an existing one after the last batch is written. Until then, and after any failure,
        the existing file is unchanged.
    schema : pyarrow.Schema
        The schema of every batch. Dictionary-encoded columns are written as their values.
    batches : iterable of pyarrow.RecordBatch
        Read once, in the caller's thread.

    Returns
    -------
    Written
        The number of rows and of bytes.

    Raises
    ------
    ValueError
        If the name has another ending.
    DataError
        If a column's type can't be written in this format.
    OSError
        If the file can't be written.
    """
    format_ = format_of(path)
    rows = 0
    place = place_of(path)
    with place.replacing() as file:

        def encode(waiting: Iterator[pa.RecordBatch]) -> None:
            try:
                # A separate descriptor with its own buffer. What a full disk can't take stays in this buffer, not in
                # that of `file`, which would write it once more when it is closed.
                with open(os.dup(file.fileno()), "wb") as out:
                    _encode(format_, out, schema, waiting)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), place.name) from None
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(f"{place.name} can't be written: {first_line(error)}") from None

        with write_behind(encode) as write:
            for batch in batches:
                write(batch)
                rows += batch.num_rows
        return Written(rows, os.fstat(file.fileno()).st_size)


def _encode(format_: str, file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    # Dictionaries are written as values: they depend on how the rows were divided, and only Parquet could hold several.
    plain = pa.schema([field.with_type(value_type(field.type)) for field in schema], schema.metadata)
    values = (batch if batch.schema.equals(plain) else batch.cast(plain) for batch in batches)
    synced = 0
    with _writer(format_, file, plain) as writer:
        for block in rebatch(values, _GROUP_ROWS):
            for part in _fitting(block, plain):
                # An Arrow file is a copy of memory, with whatever lies under nulls; after `_copied` zeros lie there.
                writer.write_batch(_copied(part) if format_ == "arrow" else part)
            written = file.tell()
            if written - synced > _SYNC_BYTES:
                # To the disk now, while other threads compute: at the end it would take half a second for 160 MB.
                file.flush()
                os.fdatasync(file.fileno())
                synced = written


def _fitting(block: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """A block with the types that its columns had before `rebatch` made them large, in as many parts as that needs."""
    large = [column for column, type_ in zip(block.columns, schema.types, strict=True) if column.type != type_]
    if not large:
        yield block
    elif all((pc.sum(pc.binary_length(column)).as_py() or 0) <= MOST_TEXT_BYTES for column in large):
        yield _copied(block).cast(schema)  # since Arrow would also count the text that lies before a slice
    else:
        half = block.num_rows // 2
        yield from _fitting(block.slice(0, half), schema)
        yield from _fitting(block.slice(half), schema)


def _copied(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.take(to_arrow(np.arange(batch.num_rows)))


def _writer(format_: str, file: BinaryIO, schema: pa.Schema) -> Any:
    if format_ == "csv":
        return pyarrow.csv.CSVWriter(file, schema)
    if format_ == "arrow":
        return pa.ipc.new_file(file, schema)
    # Text only: a dictionary of numbers that all differ, such as probabilities, makes the file half as large again and
    # takes 30 MB of memory.
    texts = [field.name for field in schema if family_of(field.type) == "text"]
    return pyarrow.parquet.ParquetWriter(file, schema, use_dictionary=texts)
