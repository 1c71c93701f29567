"""Tables from files: CSV and Parquet, as a stream of Arrow record batches.

What is in memory meanwhile is the source's business: of a CSV file the whole table, of Parquet a row group. Nobody
above this file relies on either.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastnn.pipeline.schema import DataError

_PARQUET_MAGIC = b"PAR1"


def read_table(path: str | os.PathLike[str], text: Collection[str] = ()) -> pa.Table:
    """The whole table of a CSV or Parquet file.

    Parameters
    ----------
    path : str or path-like
        What starts as Parquet does is read as that, everything else as comma-separated values in UTF-8 with a header
        line. A CSV column's type is inferred from its values.
    text : collection of str
        Columns of a CSV file to read as strings, whatever their values look like. Not all of them need be there.

    Raises
    ------
    DataError
        If the file can't be read: absent, empty, ragged, damaged, or something else.
    """
    with _as_data_errors(path):
        if not Path(path).exists():
            raise DataError(f"{path}: there is no such file.")
        if not Path(path).is_file():
            raise DataError(f"{path} is {'a folder' if Path(path).is_dir() else 'no ordinary file'}.")
        with open(path, "rb") as file:
            is_parquet = file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
        if is_parquet:
            with pyarrow.parquet.ParquetFile(path) as parquet:
                return _without_views(pa.Table.from_batches(parquet.iter_batches(), parquet.schema_arrow))
        return _read_csv(path, text)


def _without_views(table: pa.Table) -> pa.Table:
    """String views as large strings: Arrow can't take or filter views yet."""
    fields = [
        field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def in_blocks(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows`, the last one aside: no trace of how the source cut them."""
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
    # One batch of one chunk a column.
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _read_csv(path: str | os.PathLike[str], text: Collection[str]) -> pa.Table:
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(text, pa.string())),
    )
    list(table.column_names)  # a name that isn't UTF-8 is found only when it is asked for
    return table


@contextmanager
def _as_data_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise DataError(f"{path} can't be read: it isn't UTF-8 text.") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} can't be read: {_first_line(error)}") from None


def _first_line(error: Any) -> str:
    """An error's own words, without the rows that Arrow quotes after a line break."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    line = str(error).strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}…"
