"""Sources that are one file: Parquet, Arrow's two formats and NumPy's arrays; CSV has a module of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.places import Local, Place
from fastnn.pipeline.io.source import BATCH_ROWS, Batches, Source, as_data_errors, first_line

_PARQUET_BUFFER_BYTES = 256 << 10
_SMALL_GROUP_BYTES = 4 << 20
# A row group of so many bytes, uncompressed, is read at once: one of 131,072 rows of 30 float32 columns has 16 MB.
_WHOLE_GROUP_BYTES = 32 << 20


class File(Source):
    """The rows of a file, with the columns that the names of its folders make.

    Parameters
    ----------
    place : Place
        Where the file is.
    partition : mapping of str to pyarrow.Scalar
        The columns from the folders' names, each with its one value. They replace the file's columns of the same names.

    Attributes
    ----------
    relative : str
        The file's path below the folder or the pattern that was asked for.
    """

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar]) -> None:
        self.place, self.name = place, place.name
        self.relative = os.path.basename(place.name)
        self.partition = partition
        self._identity: dict[str, Any] = {"path": place.name, **place.status()}

    def _set_schema(self, schema: pa.Schema) -> None:
        """Set the source's schema, given that of the file itself."""
        own = [field for field in schema if field.name not in self.partition]
        columns = [pa.field(name, value.type) for name, value in self.partition.items()]
        super()._set_schema(pa.schema([*own, *columns], schema.metadata))

    def identity(self) -> list[dict[str, Any]]:
        return [self._identity]

    def check_unchanged(self) -> None:
        with as_data_errors(self.name):
            status = self.place.status()
        if {"path": self.name, **status} != self._identity:
            raise self._changed()

    def _column(self, batch: pa.RecordBatch, field: pa.Field, index: int | None) -> pa.Array:
        if field.name in self.partition:
            return pa.repeat(self.partition[field.name], batch.num_rows).cast(field.type)
        return super()._column(batch, field, index)

    def _own(self, names: list[str]) -> list[str]:
        return [name for name in names if name not in self.partition]


class Empty(File):
    """A file without a byte, or with blank lines only. It has no columns, and no rows that could need any."""

    block_rows = ()

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(place, partition)
        self._set_schema(pa.schema([]))

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        yield from ()


class Parquet(File):
    """A Parquet file. Its blocks are the row groups."""

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(place, partition)
        # Without a buffer Arrow reads each column's chunk as a whole: a row group of 4,000,000 rows x 31 float32 takes
        # 600 MB. With a buffer it takes 120 MB and half the time. But with one, a damaged page of a small file can ask
        # for 2 GB; without one, it can't be larger than the chunk.
        self._buffer_bytes = 0
        with self._open() as file:
            self._set_schema(file.schema_arrow)
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        self._block_rows = [group.num_rows for group in groups]
        self._most_bytes = max((group.total_byte_size for group in groups), default=0)
        if self._most_bytes > _SMALL_GROUP_BYTES:
            self._buffer_bytes = _PARQUET_BUFFER_BYTES

    @property
    def block_rows(self) -> Sequence[int]:
        return self._block_rows

    def _open(self) -> pyarrow.parquet.ParquetFile:
        return pyarrow.parquet.ParquetFile(
            self.place.open(),
            pre_buffer=False,
            buffer_size=self._buffer_bytes,
            # Old writers' timestamps (INT96) are nanoseconds for Arrow, which end in 2262: 9999-12-31 would be 1816.
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
        )

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        own = self._own(names)
        with self._open() as file:
            if self._most_bytes > _WHOLE_GROUP_BYTES:
                yield from file.iter_batches(BATCH_ROWS, row_groups=list(blocks), columns=own)
                return
            # This takes half the time of `iter_batches` for a thousand files of 1,000 rows.
            threads = self._most_bytes > _SMALL_GROUP_BYTES
            for group in blocks:
                yield from file.read_row_group(group, own, use_threads=threads).to_batches(BATCH_ROWS)


class ArrowFile(File):
    """An Arrow IPC file (Feather). Its blocks are the record batches."""

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(place, partition)
        with self._open() as file:
            self._fields = file.schema.names
            self._set_schema(file.schema)
            self._n_blocks = int(file.num_record_batches)
        self._block_rows: list[int] | None = None

    def _open(self, included: list[int] | None = None) -> pa.RecordBatchFileReader:
        return pa.ipc.open_file(self.place.open(), options=pa.ipc.IpcReadOptions(included_fields=included))

    @property
    def n_blocks(self) -> int:
        return self._n_blocks

    @property
    def block_rows(self) -> Sequence[int]:
        if not self._fields:
            return [0] * self._n_blocks
        if self._block_rows is None:
            # The format has no list of them, so the batches are opened with their first column alone.
            with as_data_errors(self.name), self._open([0]) as file:
                self._block_rows = [file.get_batch(i).num_rows for i in range(self._n_blocks)]
        return self._block_rows

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        own = {*self._own(names)}
        with self._open([i for i, name in enumerate(self._fields) if name in own]) as file:
            for i in blocks:
                yield _sound(file.get_batch(i))


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch itself; an ArrowInvalid if its buffers contradict one another, which would crash Arrow's functions."""
    batch.validate(full=True)
    return batch


class ArrowStream(File):
    """A file in Arrow's IPC stream format, which is one block."""

    block_rows = (None,)

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(place, partition)
        with self._open() as reader:
            self._set_schema(reader.schema)

    def _open(self) -> pa.RecordBatchStreamReader:
        return pa.ipc.open_stream(self.place.open())

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        for _ in blocks:
            with self._open() as reader:
                yield from map(_sound, reader)


class Npy(File):
    """A NumPy array: of two dimensions, with columns that are called f0, f1 and so on, or of records in one dimension.

    Its blocks are slices of `BATCH_ROWS` rows.
    """

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar]) -> None:
        super().__init__(place, partition)
        array = self._map()
        self._names = list(array.dtype.names or [f"f{i}" for i in range(array.shape[-1] if array.ndim else 0)])
        if array.ndim != (1 if array.dtype.names else 2):
            raise DataError(
                f"{self.name}: expected an array of two dimensions, or of records in one dimension; got shape "
                f"{array.shape}."
            )
        for name in array.dtype.names or ():
            shape = array.dtype[name].shape
            if shape:
                raise DataError(
                    f"{self.name}: field {name!r} is an array of shape {shape}; make each of its numbers a field of "
                    "its own."
                )
        self._set_schema(self._batch(array[:0], self._names).schema)
        self._n_rows = len(array)

    @property
    def block_rows(self) -> Sequence[int]:
        return slice_rows(self._n_rows)

    def _map(self) -> np.ndarray:
        try:
            if isinstance(self.place, Local):
                return np.load(self.place.path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
            with self.place.open() as file:
                return np.load(file, allow_pickle=False)  # type: ignore[no-any-return]
        except (ValueError, EOFError) as error:
            raise DataError(f"{self.name} can't be read: {first_line(error)}") from None

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
