"""`Source`, the protocol of everything that rows are read from: a schema, blocks that can be read alone, batches."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.schema import DataError, check_names, listed

# The largest number of rows in a batch.
BATCH_ROWS = 131_072


class Source(ABC):
    """Rows that can be read in batches, in bounded memory.

    Attributes
    ----------
    name : str
        The source's name in messages.
    schema : pyarrow.Schema
        The schema of every batch. String views are large strings; every column may have nulls.
    once : bool
        Whether the source is a stream, which can be read only once.
    """

    name: str
    schema: pa.Schema
    once = False

    @property
    @abstractmethod
    def block_rows(self) -> Sequence[int | None]:
        """The number of rows in each block; None where it is unknown before the block is read."""

    @abstractmethod
    def identity(self) -> list[dict[str, Any]]:
        """What identifies these rows, as JSON can express it.

        Each file has its path as given, its size and ``mtime_ns``; a table has its number of rows and its columns.
        """

    def fingerprint(self) -> str:
        """The SHA-256 of the source's identity, or of its values if it is a table in memory."""
        return hashlib.sha256(json.dumps(self.identity()).encode()).hexdigest()

    def check_unchanged(self) -> None:
        """Raise a DataError if a file has changed since it was opened."""
        for part in self.parts:
            if part is not self:
                part.check_unchanged()

    @abstractmethod
    def _read(self, names: list[str], blocks: Sequence[int]) -> Generator[pa.RecordBatch, None, None]:
        """Read blocks in batches of any size, which have at least the named columns."""

    @property
    def parts(self) -> Sequence[Source]:
        """One source for each input file."""
        return [self]

    @property
    def n_blocks(self) -> int:
        """The number of blocks, each of which can be read alone."""
        return len(self.block_rows)

    @property
    def n_rows(self) -> int | None:
        """The number of rows; None if it is unknown before they are read."""
        known = [rows for rows in self.block_rows if rows is not None]
        return sum(known) if len(known) == self.n_blocks else None

    def batches(
        self, columns: Collection[str] | None = None, blocks: Sequence[int] | None = None
    ) -> Generator[pa.RecordBatch, None, None]:
        """Read rows.

        Parameters
        ----------
        columns : collection of str, optional
            The columns to read; all by default. The batches have them in the order of `schema`.
        blocks : sequence of int, optional
            The blocks to read, in this order; all by default.

        Yields
        ------
        pyarrow.RecordBatch
            A batch of 1 to `BATCH_ROWS` rows.

        Raises
        ------
        DataError
            At once if a column is missing or occurs twice; later, while batches are read, if a block can't be read.
        """
        missing = [name for name in columns or () if name not in self.schema.names]
        if missing:
            raise DataError(f"{self.name} has no column {listed(missing)}, but {listed(self.schema.names)}.")
        schema = pa.schema([field for field in self.schema if columns is None or field.name in columns])
        check_names(schema, [])
        return self._shaped(schema, range(self.n_blocks) if blocks is None else blocks)

    def _shaped(self, schema: pa.Schema, blocks: Sequence[int]) -> Generator[pa.RecordBatch, None, None]:
        with as_data_errors(self.name), closing(self._read(schema.names, blocks)) as found:
            for batch in found:
                columns = batch.columns
                if not batch.schema.equals(schema):  # since comparing 31 columns one by one takes 1 ms
                    columns = [self._column(batch, field) for field in schema]
                shaped = pa.RecordBatch.from_arrays(columns, schema=schema)
                for start in range(0, shaped.num_rows, BATCH_ROWS):
                    yield shaped.slice(start, BATCH_ROWS)

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        index = batch.schema.get_field_index(field.name)
        if index < 0 or plain_type(batch.schema.field(index).type) != field.type:
            raise DataError(f"{self.name} was changed while it was read.")
        column = batch.column(index)
        return column if column.type == field.type else column.cast(field.type)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Names and types without metadata, and large strings for string views, which Arrow can't take or filter yet."""
    return pa.schema([(field.name, plain_type(field.type)) for field in schema])


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type of a source's column: large strings in place of string views, also for a dictionary's values."""
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_dictionary(type_) and pa.types.is_string_view(type_.value_type):
        return pa.dictionary(type_.index_type, pa.large_string(), type_.ordered)
    return type_


@contextmanager
def as_data_errors(name: str) -> Iterator[None]:
    """Turn errors of Arrow and of the operating system into a DataError of one line."""
    try:
        yield
    except MemoryError:  # Arrow's memory errors are also ArrowExceptions
        raise
    except UnicodeDecodeError:
        raise DataError(f"{name} can't be read: it isn't UTF-8 text.") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} can't be read: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """An error's message without the rows that Arrow quotes after a line break."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.strip().partition(chr(10))[0]}."
    line = str(error).strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}…"
