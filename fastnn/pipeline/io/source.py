"""What all sources of rows have in common: a schema, blocks that can be read by themselves, and batches."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.schema import DataError, check_names, listed

# The most rows of a batch.
BATCH_ROWS = 131_072


class Source(ABC):
    """Rows that can be read in batches, in bounded memory.

    Attributes
    ----------
    name : str
        For messages.
    schema : pyarrow.Schema
        That of all batches. String views are large strings; every column may have nulls.
    once : bool
        Whether it is a stream, to be read once only.
    """

    name: str
    schema: pa.Schema
    once = False

    @property
    @abstractmethod
    def block_rows(self) -> Sequence[int | None]:
        """The rows of each block, None where only reading it would tell."""

    @abstractmethod
    def identity(self) -> list[dict[str, Any]]:
        """What tells these rows from others, in JSON's terms: of each file its path as given, size and ``mtime_ns``;
        of a table its number of rows and its columns.
        """

    def fingerprint(self) -> str:
        """A SHA-256 of what tells these rows from others; of a table, of its values."""
        return hashlib.sha256(json.dumps(self.identity()).encode()).hexdigest()

    def check_unchanged(self) -> None:
        """Raise a DataError if a file isn't what it was when it was opened."""
        for part in self.parts:
            if part is not self:
                part.check_unchanged()

    @abstractmethod
    def _read(self, names: list[str], blocks: Sequence[int]) -> Generator[pa.RecordBatch, None, None]:
        """Batches of any size that have at least the named columns."""

    @property
    def parts(self) -> Sequence[Source]:
        """A source for each input file."""
        return [self]

    @property
    def n_blocks(self) -> int:
        """How many pieces can be read by themselves."""
        return len(self.block_rows)

    @property
    def n_rows(self) -> int | None:
        """The number of rows, None if only reading them would tell."""
        known = [rows for rows in self.block_rows if rows is not None]
        return sum(known) if len(known) == self.n_blocks else None

    def batches(
        self, columns: Collection[str] | None = None, blocks: Sequence[int] | None = None
    ) -> Generator[pa.RecordBatch, None, None]:
        """Read rows.

        Parameters
        ----------
        columns : collection of str, optional
            The columns to read; all by default. They come in the order of `schema`.
        blocks : sequence of int, optional
            The blocks to read, in this order; all by default.

        Yields
        ------
        pyarrow.RecordBatch
            Of 1 to `BATCH_ROWS` rows.

        Raises
        ------
        DataError
            If a column isn't there or is there twice, at once; if something can't be read, when it is its turn.
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
                if not batch.schema.equals(schema):  # to look at each of 31 columns takes 1 ms
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
    """Names and types alone, string views as large strings: Arrow can't take or filter views yet."""
    return pa.schema([(field.name, plain_type(field.type)) for field in schema])


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type that a column of a source has: string views are large strings, also as a dictionary's values."""
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_dictionary(type_) and pa.types.is_string_view(type_.value_type):
        return pa.dictionary(type_.index_type, pa.large_string(), type_.ordered)
    return type_


@contextmanager
def as_data_errors(name: str) -> Iterator[None]:
    """Arrow's and the system's errors as a DataError of one line."""
    try:
        yield
    except MemoryError:  # some are Arrow's
        raise
    except UnicodeDecodeError:
        raise DataError(f"{name} can't be read: it isn't UTF-8 text.") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} can't be read: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """An error's own words, without the rows that Arrow quotes after a line break."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.strip().partition(chr(10))[0]}."
    line = str(error).strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}…"
