"""Tables into files: CSV and Parquet, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastnn.atomic import replacing
from fastnn.pipeline.schema import DataError

_FORMATS = {".csv": "csv", ".parquet": "parquet"}


def format_of(path: str | os.PathLike[str]) -> str:
    """``"csv"`` or ``"parquet"``, by the file's ending; ValueError for any other."""
    try:
        return _FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise ValueError(f"{path}: an output's name ends in .csv or .parquet.") from None


def write_batches(path: str | os.PathLike[str], schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write record batches to a CSV or Parquet file, by the ending of its name.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists, when the last batch is written; until then, and on any failure, it is what it was.
    schema : pyarrow.Schema
        That of every batch.
    batches : iterable of pyarrow.RecordBatch
        Read once.

    Returns
    -------
    int
        The number of rows written.

    Raises
    ------
    ValueError
        If the name ends in something else.
    DataError
        If a column's type can't be written in this format.
    OSError
        If the file can't be written.
    """
    format_ = format_of(path)
    rows = 0
    with replacing(path) as file:
        try:
            with _writer(format_, file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    rows += batch.num_rows
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{path} can't be written: {str(error).partition(chr(10))[0]}") from None
    return rows


def _writer(format_: str, file: Any, schema: pa.Schema) -> Any:
    if format_ == "csv":
        return pyarrow.csv.CSVWriter(file, schema)
    return pyarrow.parquet.ParquetWriter(file, schema)
