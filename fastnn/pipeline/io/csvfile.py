"""CSV files: text with a header line. All columns are read as text; `columns.text` knows what the text stands for."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.csv

from fastnn.pipeline.columns.options import Dialect
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.formats import File
from fastnn.pipeline.io.places import Place
from fastnn.pipeline.io.signatures import START_BYTES, compression_of, refuse_foreign
from fastnn.pipeline.io.source import Batches, as_data_errors, first_line

_BLOCK_BYTES = 4 << 20
# A row must fit into a block, and Arrow needs a few times a block's memory.
MOST_BLOCK_BYTES = 256 << 20
# The types of columns are inferred from so much of a file. A later value that is of another type widens its column.
_INFERRED_BYTES = 16 << 20


class Csv(File):
    """A CSV file with a header line, which is one block. All of its columns are strings.

    Parameters
    ----------
    place, partition
        As for `File`.
    dialect : Dialect
        How the file is written.
    """

    block_rows = (None,)
    untyped = True

    def __init__(self, place: Place, partition: Mapping[str, pa.Scalar], dialect: Dialect) -> None:
        super().__init__(place, partition)
        self._dialect = dialect
        with place.open() as file:
            start = file.read(START_BYTES)
        self._compression = compression_of(start)
        if self._compression is not None:
            with self._bytes() as stream:
                start = stream.read(START_BYTES)
        refuse_foreign(self.name, start, dialect.encoding)
        self._block_bytes = _BLOCK_BYTES
        # In a file of one column, a blank line is a row with a missing value; in others, it is no row.
        self._blank_lines = False
        self._lines_before = 0  # the blank lines before the header of a file of one column
        self._header_alone = False
        self._names = self._header()
        if len(self._names) == 1:
            with self._lines() as lines:
                self._lines_before = next((i for i, line in enumerate(lines) if line.strip("\r\n")), 0)
            self._blank_lines = True
        self._set_schema(pa.schema([(name, pa.string()) for name in self._names]))

    def _bytes(self) -> pa.NativeFile:
        file = self.place.open()
        return file if self._compression is None else pa.CompressedInputStream(file, self._compression)

    def _header(self) -> list[str]:
        try:
            with self._opened(None) as reader:
                return list(reader.schema.names)
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise
        # Arrow wants a line after the header, or at least its line break.
        text = self._lines().read(1 << 20)
        for names in csv.reader(io.StringIO(text), delimiter=self._dialect.delimiter):
            if names:
                self._header_alone = True
                return names
        return []

    @property
    def is_empty(self) -> bool:
        """Whether the file hasn't even a header."""
        return not self._names

    def _opened(self, columns: Sequence[str] | None) -> pyarrow.csv.CSVStreamingReader:
        """A reader of some columns as text; without `columns`, a reader that tells the names of all columns."""
        dialect = self._dialect
        while True:
            stream = self._bytes()
            try:
                return pyarrow.csv.open_csv(
                    stream,
                    read_options=pyarrow.csv.ReadOptions(
                        block_size=self._block_bytes, encoding=dialect.encoding, skip_rows=self._lines_before
                    ),
                    parse_options=pyarrow.csv.ParseOptions(
                        delimiter=dialect.delimiter,
                        newlines_in_values=True,
                        ignore_empty_lines=not self._blank_lines,
                    ),
                    convert_options=pyarrow.csv.ConvertOptions(
                        column_types=None if columns is None else dict.fromkeys(columns, pa.string()),
                        include_columns=columns,
                    ),
                )
            except pa.ArrowInvalid as error:
                stream.close()
                self._take_up(error)

    def _take_up(self, error: pa.ArrowInvalid) -> None:
        """Read larger blocks from now on, if the error is that of a row that doesn't fit into one; else raise it."""
        if "Expected 1 columns" in str(error):
            with self._lines() as lines:
                header = next(line for line in lines if line.strip()).strip()
            other = next((each for each in ";\t|," if each in header), None)
            if other is not None:
                raise DataError(
                    f"{self.name} can't be read: its header has one name, {header!r}. Does another character stand "
                    f"between the values: --delimiter {shlex.quote(other)}?"
                ) from None
        if "straddling" not in str(error):
            raise error
        if self._block_bytes >= MOST_BLOCK_BYTES:
            raise DataError(
                f"{self.name} can't be read: a row has more than {MOST_BLOCK_BYTES >> 20} MB. Is a quotation mark "
                "missing?"
            ) from None
        self._block_bytes *= 4

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        own = self._own(names)
        for _ in blocks:
            if not self._header_alone:
                yield from self._rows(own or self._names[:1])

    def _rows(self, names: list[str]) -> Batches:
        done = 0
        while True:
            skipped = 0
            try:
                with self._opened(names) as reader:
                    for batch in reader:
                        # After larger blocks were needed, the rows before them are read anew.
                        again = min(done - skipped, batch.num_rows)
                        skipped += again
                        if again < batch.num_rows:
                            done, skipped = done + batch.num_rows - again, skipped + batch.num_rows - again
                            yield batch.slice(again)
                return
            except pa.ArrowInvalid as error:
                if "invalid UTF8" in str(error):
                    raise self._not_utf8(error) from None
                self._take_up(error)

    def _not_utf8(self, error: pa.ArrowInvalid) -> DataError:
        line = first_line(error)
        number = line.partition("#")[2].partition(":")[0]
        column = f" column {self._names[int(number)]!r}" if number.isdecimal() else ""
        return DataError(
            f"{self.name} can't be read: the text of{column or ' a column'} isn't {self._dialect.encoding}. Say which "
            f"encoding the file has: --encoding latin-1, for example."
        )

    def head(self, names: Sequence[str]) -> pa.RecordBatch:
        """The first rows of some columns, from which their types are inferred: about 16 MB of the file."""
        own = self._own(list(names))
        with as_data_errors(self.name):
            batches: list[pa.RecordBatch] = []
            size = 0
            for batch in self._read(own, [0]) if own else ():
                batches.append(batch)
                size += self._block_bytes
                if size >= _INFERRED_BYTES:
                    break
            table = pa.Table.from_batches(batches, pa.schema([(name, pa.string()) for name in own]))
            (head,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
            return head

    def _lines(self) -> io.TextIOWrapper:
        csv.field_size_limit(MOST_BLOCK_BYTES)
        return io.TextIOWrapper(io.BufferedReader(self._bytes()), self._dialect.encoding, "replace", newline="")

    def line_of(self, row: int) -> int:
        """The number of the line on which a row ends, counted from 1; rows are counted from 0."""
        with self._lines() as lines:
            reader = csv.reader(lines, delimiter=self._dialect.delimiter)
            left = row + 1  # since the header is a line
            for _ in range(self._lines_before):
                next(reader)
            for values in reader:
                if values or self._blank_lines:
                    if not left:
                        break
                    left -= 1
            return reader.line_num
