"""`Source`, the protocol of everything that rows are read from: a schema, blocks that can be read alone, batches."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.options import hint
from fastnn.pipeline.columns.schema import DataError, RowError, check_wanted, listed

# No machine has so much memory: whoever asks for it has read a wrong number.
_ABSURD_BYTES = 1 << 44

Batches = Generator[pa.RecordBatch, None, None]

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
    own_types : dict of str to pyarrow.DataType
        The columns' types before they became those of `schema`, which other files may have decided.
    odd : dict of str to str
        Columns that can't be read since the source's files don't have them in common, each with the reason.
    unlearnt : frozenset of str
        Columns that a training learns from only if it is told to: pandas' index, and those of folders above the path.
    untyped : frozenset of str
        Columns that are text because nothing says their types: those of CSV files, and, where a model reads them, those
        of folders.
    once : bool
        Whether the source is a stream, which can be read only once.
    """

    name: str
    schema: pa.Schema
    own_types: dict[str, pa.DataType]
    odd: Mapping[str, str] = {}
    unlearnt: frozenset[str] = frozenset()
    untyped: frozenset[str] = frozenset()
    once = False

    def _set_schema(self, schema: pa.Schema) -> None:
        """Set what the source's own schema tells."""
        self.schema = plain_schema(schema)
        self.own_types = {field.name: field.type for field in self.schema}
        self.unlearnt = index_columns(schema)

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
    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
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
    def starts(self) -> Sequence[int]:
        """The number of each part's first block, and that of all blocks."""
        return [0, self.n_blocks]

    @property
    def n_rows(self) -> int | None:
        """The number of rows; None if it is unknown before they are read."""
        known = [rows for rows in self.block_rows if rows is not None]
        return sum(known) if len(known) == self.n_blocks else None

    def batches(self, columns: Collection[str] | None = None, blocks: Sequence[int] | None = None) -> Batches:
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
        self.check_columns([*self.schema.names, *self.odd] if columns is None else columns)
        wanted = None if columns is None else {*columns}
        schema = pa.schema([field for field in self.schema if wanted is None or field.name in wanted])
        return self._shaped(schema, range(self.n_blocks) if blocks is None else blocks)

    def check_columns(self, names: Collection[str]) -> None:
        """Raise a DataError if a column is missing, occurs twice, or isn't one that all files have in common."""
        for name in names:
            if name in self.odd:
                raise DataError(self.odd[name])
        known = {*self.schema.names}
        missing = [name for name in names if name not in known]
        if missing:
            words = ", ".join(repr(name) + hint(name, known) for name in missing[:10])
            raise DataError(f"{self.name} has no column {words}, but {listed(self.schema.names)}.")
        check_wanted(self.schema, names)

    def where(self, row: int) -> str:
        """Where a row stands, in words; rows are counted from 0."""
        return f"{self.name}, row {row + 1}"

    def _shaped(self, schema: pa.Schema, blocks: Sequence[int]) -> Batches:
        with as_data_errors(self.name), closing(self._read(schema.names, blocks)) as found:
            for batch in found:
                columns = batch.columns
                if not batch.schema.equals(schema):  # since comparing 31 columns one by one takes 1 ms
                    position = {name: i for i, name in enumerate(batch.schema.names)}
                    columns = [self._column(batch, field, position.get(field.name)) for field in schema]
                shaped = pa.RecordBatch.from_arrays(columns, schema=schema)
                for start in range(0, shaped.num_rows, BATCH_ROWS):
                    yield shaped.slice(start, BATCH_ROWS)

    def _column(self, batch: pa.RecordBatch, field: pa.Field, index: int | None) -> pa.Array:
        """A column in the type that the source's schema has; `index` is its place in the batch."""
        if index is None or plain_type(batch.schema.field(index).type) != self.own_types[field.name]:
            raise self._changed()
        column = batch.column(index)
        if column.type == field.type:
            return column
        try:
            return column.cast(field.type)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{self.name}: column {field.name!r} is {column.type} here and is read as {field.type}, because other "
                f"files have another type; that can't be done without a loss: {first_line(error)}"
            ) from None

    def _changed(self) -> DataError:
        return DataError(f"{self.name} was changed while it was read.")


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Names and types without metadata, and large strings for string views, which Arrow can't take or filter yet."""
    return pa.schema([(field.name, plain_type(field.type)) for field in schema])


def index_columns(schema: pa.Schema) -> frozenset[str]:
    """The columns that were the index of a pandas DataFrame, which pandas names in the schema's metadata."""
    try:
        said = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
        return frozenset(name for name in said if isinstance(name, str))
    except (ValueError, AttributeError, TypeError):
        return frozenset()


def plain_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches with the types of `plain_schema`, which is worked out once for each run of batches of one schema."""
    given = plain = None
    for batch in batches:
        if given is None or not batch.schema.equals(given):
            given, plain = batch.schema, plain_schema(batch.schema)
        yield batch if given.equals(plain) else batch.cast(plain)


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type of a source's column: large strings in place of string views, also for a dictionary's values."""
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_dictionary(type_) and pa.types.is_string_view(type_.value_type):
        return pa.dictionary(type_.index_type, pa.large_string(), type_.ordered)
    return type_


@contextmanager
def at_its_place(source: Source) -> Iterator[None]:
    """Say of a row that can't be used where it stands in the source."""
    try:
        yield
    except RowError as error:
        raise DataError(f"{source.where(error.row)}: {error.problem}") from None


@contextmanager
def as_data_errors(name: str) -> Iterator[None]:
    """Turn errors of Arrow and of the operating system into a DataError of one line."""
    try:
        yield
    except MemoryError as error:  # Arrow's memory errors are also ArrowExceptions
        asked = re.search(r"of size (\d+) failed", str(error))
        if asked is None or int(asked[1]) < _ABSURD_BYTES:
            raise
        raise DataError(f"{name} can't be read: it is damaged, since it asks for {int(asked[1]):,} bytes.") from None
    except UnicodeError:
        raise DataError(
            f"{name} can't be read: it isn't text of the encoding that was declared, which is UTF-8 if none was. Say "
            "its encoding: --encoding latin-1?"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} can't be read: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """An error's message without the rows that Arrow quotes after a line break."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.strip().partition(chr(10))[0]}."
    line = str(error).strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}…"
