"""Sources that are one file: Parquet, CSV, Arrow's two formats and NumPy's arrays. A file's first bytes tell which."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.source import BATCH_ROWS, Source, as_data_errors, first_line, plain_schema

Batches = Generator[pa.RecordBatch, None, None]

# The types of a CSV file's columns are inferred from its first 64 MB, which is the whole of most files.
_INFERRED_BYTES = 64 << 20
_CSV_BLOCK_BYTES = 4 << 20
_PARQUET_BUFFER_BYTES = 256 << 10
# More than the first three letters of bzip2, because a column's name may begin with them.
_COMPRESSIONS = {
    "gzip": rb"\x1f\x8b",
    "bz2": rb"BZh[1-9]1AY&SY",
    "zstd": rb"\x28\xb5\x2f\xfd",
    "lz4": rb"\x04\x22\x4d\x18",
}


class File(Source):
    """The rows of a file, with the columns that the names of its folders make.

    Parameters
    ----------
    path : str
        The file's path.
    partition : mapping of str to pyarrow.Scalar
        The columns from the folders' names, each with its one value. They replace the file's columns of the same names.
    """

    def __init__(self, path: str, partition: Mapping[str, pa.Scalar]) -> None:
        self.path = self.name = path
        self._partition = partition
        status = os.stat(path)
        self._identity: dict[str, Any] = {"path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns}

    def _set_schema(self, schema: pa.Schema) -> None:
        """Set the source's schema, given that of the file itself."""
        own = [field for field in plain_schema(schema) if field.name not in self._partition]
        self.schema = pa.schema([*own, *((name, value.type) for name, value in self._partition.items())])

    def identity(self) -> list[dict[str, Any]]:
        return [self._identity]

    def check_unchanged(self) -> None:
        with as_data_errors(self.name):
            status = os.stat(self.path)
        if (status.st_size, status.st_mtime_ns) != (self._identity["size"], self._identity["mtime_ns"]):
            raise DataError(f"{self.name} was changed while it was read.")

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name in self._partition:
            return pa.repeat(self._partition[field.name], batch.num_rows)
        return super()._column(batch, field)

    def _own(self, names: list[str]) -> list[str]:
        return [name for name in names if name not in self._partition]


class Parquet(File):
    """A Parquet file. Its blocks are the row groups."""

    def __init__(self, path: str, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(path, partition)
        with self._open() as file:
            self._set_schema(file.schema_arrow)
            self._block_rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]

    @property
    def block_rows(self) -> Sequence[int]:
        return self._block_rows

    def _open(self) -> pyarrow.parquet.ParquetFile:
        # Without a buffer Arrow reads each column's chunk as a whole: a row group of 4,000,000 rows x 31 float32 takes
        # 600 MB. With a buffer it takes 120 MB and half the time.
        return pyarrow.parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=_PARQUET_BUFFER_BYTES)

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        with self._open() as file:
            yield from file.iter_batches(BATCH_ROWS, row_groups=list(blocks), columns=self._own(names))


class Csv(File):
    """A CSV file with a header line, which is one block.

    Parameters
    ----------
    path, partition
        As for `File`.
    types : mapping of str to pyarrow.DataType
        The types of columns, where they are known; names that the file doesn't have are ignored. The other types are
        inferred from the columns' values.
    """

    block_rows = (None,)

    def __init__(self, path: str, partition: Mapping[str, pa.Scalar], types: Mapping[str, pa.DataType]) -> None:
        super().__init__(path, partition)
        with open(path, "rb") as file:
            start = file.read(16)
        self._compression = next((name for name, magic in _COMPRESSIONS.items() if re.match(magic, start)), None)
        header = self._open(types, None, _CSV_BLOCK_BYTES).schema
        if not types.keys() >= set(header.names) - partition.keys() and (
            self._compression or self._identity["size"] > _CSV_BLOCK_BYTES
        ):
            header = self._open(types, None, _INFERRED_BYTES).schema
        self._set_schema(header)

    def read_as_text(self, names: Collection[str]) -> None:
        """Read these columns as strings from now on; names that the file itself doesn't have are ignored."""
        own = {*names} - self._partition.keys()
        self.schema = pa.schema([field.with_type(pa.string()) if field.name in own else field for field in self.schema])

    def _open(
        self, types: Mapping[str, pa.DataType], columns: list[str] | None, block_bytes: int
    ) -> pyarrow.csv.CSVStreamingReader:
        return pyarrow.csv.open_csv(
            pa.input_stream(self.path, compression=self._compression),
            read_options=pyarrow.csv.ReadOptions(block_size=block_bytes),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict(types), include_columns=columns),
        )

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        own = self._own(names)
        types = {name: self.schema.field(name).type for name in own}
        for _ in blocks:
            with self._open(types, own, _CSV_BLOCK_BYTES) as reader:
                yield from reader


def merged_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that Arrow infers from the values of both types together; string where that is hard to tell."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for widening in ([pa.int64(), pa.float64()], [pa.date32(), pa.timestamp("s"), pa.timestamp("ns")]):
        if one in widening and other in widening:
            return max(one, other, key=widening.index)
    return pa.string()


class ArrowFile(File):
    """An Arrow IPC file (Feather). Its blocks are the record batches."""

    def __init__(self, path: str, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(path, partition)
        with self._open() as file:
            self._fields = file.schema.names
            self._set_schema(file.schema)
            self._n_blocks = int(file.num_record_batches)
        self._block_rows: list[int] | None = None

    def _open(self, included: list[int] | None = None) -> pa.RecordBatchFileReader:
        return pa.ipc.open_file(pa.OSFile(self.path), options=pa.ipc.IpcReadOptions(included_fields=included))

    @property
    def n_blocks(self) -> int:
        return self._n_blocks

    @property
    def block_rows(self) -> Sequence[int]:
        if self._block_rows is None:
            # The format has no list of them, so the batches are opened with their first column alone.
            with as_data_errors(self.name), self._open([0]) as file:
                self._block_rows = [file.get_batch(i).num_rows for i in range(self._n_blocks)]
        return self._block_rows

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        own = self._own(names)
        with self._open([i for i, name in enumerate(self._fields) if name in own]) as file:
            for i in blocks:
                yield file.get_batch(i)


class ArrowStream(File):
    """A file in Arrow's IPC stream format, which is one block."""

    block_rows = (None,)

    def __init__(self, path: str, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(path, partition)
        with self._open() as reader:
            self._set_schema(reader.schema)

    def _open(self) -> pa.RecordBatchStreamReader:
        return pa.ipc.open_stream(pa.OSFile(self.path))

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        for _ in blocks:
            with self._open() as reader:
                yield from reader


class Npy(File):
    """A NumPy array: of two dimensions, with columns that are called f0, f1 and so on, or of records in one dimension.

    Its blocks are slices of `BATCH_ROWS` rows.
    """

    def __init__(self, path: str, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(path, partition)
        array = self._map()
        self._names = list(array.dtype.names or [f"f{i}" for i in range(array.shape[-1] if array.ndim else 0)])
        if array.ndim != (1 if array.dtype.names else 2):
            raise DataError(
                f"{path}: expected an array of two dimensions, or of records in one dimension; got shape {array.shape}."
            )
        for name in array.dtype.names or ():
            shape = array.dtype[name].shape
            if shape:
                raise DataError(
                    f"{path}: field {name!r} is an array of shape {shape}; make each of its numbers a field of its own."
                )
        self._set_schema(self._batch(array[:0], self._names).schema)
        self._n_rows = len(array)

    @property
    def block_rows(self) -> Sequence[int]:
        return slice_rows(self._n_rows)

    def _map(self) -> np.ndarray:
        try:
            array: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{self.path} can't be read: {first_line(error)}") from None
        return array

    def _batch(self, rows: np.ndarray, names: list[str]) -> pa.RecordBatch:
        if rows.dtype.names:
            columns = [rows[name] for name in names]
        else:
            columns = list(rows.T[[self._names.index(name) for name in names]])
        # Copied, because a column's values aren't contiguous in the file and Arrow knows native byte order only.
        native = [np.array(column, column.dtype.newbyteorder("="), order="C") for column in columns]
        return pa.RecordBatch.from_arrays([pa.array(column) for column in native], names)

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        for i in blocks:
            # Mapped anew for each block: all that was read through a map counts as this process's memory until the map
            # is closed.
            rows = self._map()[i * BATCH_ROWS : (i + 1) * BATCH_ROWS]
            yield self._batch(rows, self._own(names) or self._names[:1])  # since a batch without columns has no rows


def slice_rows(n_rows: int) -> list[int]:
    """The number of rows in each block of a source that can be divided anywhere."""
    return [min(BATCH_ROWS, n_rows - start) for start in range(0, n_rows, BATCH_ROWS)]


_BY_MAGIC: dict[bytes, Callable[[str, Mapping[str, pa.Scalar]], File]] = {
    b"PAR1": Parquet,
    b"ARROW1\0\0": ArrowFile,
    b"\xff\xff\xff\xff": ArrowStream,
    b"\x93NUMPY": Npy,
}


def open_file(path: str, partition: Mapping[str, pa.Scalar], types: Mapping[str, pa.DataType]) -> File:
    """Open a file in the format that its first bytes tell; a file of no other format is read as CSV.

    Raises
    ------
    DataError
        If the file can't be read.
    """
    with as_data_errors(path):
        if not os.path.exists(path):
            raise DataError(f"{path}: there is no such file.")
        if not os.path.isfile(path):
            raise DataError(f"{path} isn't a regular file.")
        with open(path, "rb") as file:
            start = file.read(8)
        for magic, format_ in _BY_MAGIC.items():
            if start.startswith(magic):
                return format_(path, partition)
        return Csv(path, partition, types)
