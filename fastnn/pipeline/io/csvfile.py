"""CSV files: text with a header line. All columns are read as text; `columns.text` knows what the text stands for."""

from __future__ import annotations

import codecs
import csv
import io
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fastnn.pipeline.columns.options import Dialect
from fastnn.pipeline.columns.schema import DataError, quoted
from fastnn.pipeline.io.formats import File
from fastnn.pipeline.io.places import Local, Place
from fastnn.pipeline.io.signatures import START_BYTES, compression_of, refuse_foreign
from fastnn.pipeline.io.source import Batches, as_data_errors, first_line

_BLOCK_BYTES = 4 << 20
# A row must fit into a block, and Arrow needs a few times a block's memory.
MOST_BLOCK_BYTES = 256 << 20
# The types of columns are inferred from so much of a file. A later value that is of another type widens its column.
_INFERRED_BYTES = 16 << 20
_LINE_END = re.compile(rb"[\r\n]")


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
        if any(map(_has_line_end, self._names)):
            self._check_quotes()
        self._quotes = self._may_have_quotes()
        if len(self._names) == 1:
            with self._lines() as lines:
                self._lines_before = next((i for i, line in enumerate(lines) if line.strip("\r\n")), 0)
            self._blank_lines = True
        self._set_schema(pa.schema([(name, pa.string()) for name in self._names]))
        self.untyped = frozenset(self._names) - {*partition}

    def _bytes(self) -> pa.NativeFile:
        file = self.place.open()
        return file if self._compression is None else pa.CompressedInputStream(file, self._compression)

    def _header(self) -> list[str]:
        try:
            with self._opened(None) as reader:
                return list(reader.schema.names)
        except UnicodeError:
            raise self._not_text(None) from None
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise
        # Arrow wants a line after the header, or at least its line break.
        with self._lines() as lines:
            names: list[str] = next((names for names in self._split(lines) if names), [])
        self._header_alone = bool(names)
        return names

    @property
    def is_empty(self) -> bool:
        """Whether the file hasn't even a header."""
        return not self._names

    def _opened(self, columns: Sequence[str] | None) -> pyarrow.csv.CSVStreamingReader:
        """A reader of some columns as text, and of all others, too, if `_rows` has to look for missing quotation marks;
        without `columns`, a reader that tells the names of all columns.
        """
        dialect = self._dialect
        types = None
        if columns is not None:
            others = self._names if self._quotes else []
            types = {**dict.fromkeys(others, pa.binary()), **dict.fromkeys(columns, pa.string())}
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
                        column_types=types, include_columns=None if types is None else list(types)
                    ),
                )
            except pa.ArrowInvalid as error:
                stream.close()
                self._take_up(error)

    def _take_up(self, error: pa.ArrowInvalid) -> None:
        """Read larger blocks from now on, if the error is that of a row that doesn't fit into one; else raise it."""
        expected = re.search(r"Expected (\d+) columns, got \d+", str(error))
        if expected is not None and expected[1] == "1":
            with self._lines() as lines:
                header = next(line for line in lines if line.strip()).strip()
            if self._other_delimiter(header):
                raise DataError(
                    f"{self.name} can't be read: its header has one name.{self._other_delimiter(header)}"
                ) from None
        if expected is not None:
            raise self._ragged(int(expected[1])) from None
        if "straddling" not in str(error):
            raise error
        if self._block_bytes >= MOST_BLOCK_BYTES:
            raise DataError(
                f"{self.name} can't be read: a row has more than {MOST_BLOCK_BYTES >> 20} MB. Is a quotation mark "
                "missing?"
            ) from None
        self._block_bytes *= 4

    def _other_delimiter(self, header: str) -> str:
        """A hint, if there is another delimiter in a header that seems to be a single name."""
        other = next((each for each in ";\t|," if each in header and each != self._dialect.delimiter), None)
        if other is None:
            return ""
        return (
            f" Does another character stand between the values of {quoted(header)}: --delimiter {shlex.quote(other)}?"
        )

    def check_columns(self, names: Collection[str]) -> None:
        try:
            super().check_columns(names)
        except DataError as error:
            hint = self._other_delimiter(self._names[0]) if len(self._names) == 1 else ""
            raise DataError(f"{error}{hint}") from None

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        own = self._own(names)
        for _ in blocks:
            if not self._header_alone:
                yield from self._rows(own or self._names[:1])

    def _rows(self, names: list[str]) -> Batches:
        done = 0
        while True:
            skipped = 0
            last, suspicious = pa.scalar(None), False
            try:
                with self._opened(names) as reader:
                    for batch in reader:
                        # After larger blocks were needed, the rows before them are read anew.
                        again = min(done - skipped, batch.num_rows)
                        skipped += again
                        if again < batch.num_rows:
                            done, skipped = done + batch.num_rows - again, skipped + batch.num_rows - again
                            if self._quotes:
                                last = batch.column(self._names[-1])[-1]
                                suspicious = suspicious or any(map(_may_swallow, batch.columns))
                            yield batch.select(names).slice(again)
                # A missing quotation mark makes one value of all that follows up to another mark or to the file's end.
                # To look at the file itself takes long, and is rarely needed.
                if suspicious or (last.is_valid and _LINE_END.search(last.as_buffer())):
                    self._check_quotes()
                return
            except pa.ArrowInvalid as error:
                if "invalid UTF8" in str(error):
                    number = first_line(error).partition("#")[2].partition(":")[0]
                    raise self._not_text(int(number) if number.isdecimal() else None) from None
                self._take_up(error)
            except UnicodeError:
                raise self._not_text(None) from None

    def _not_text(self, column: int | None) -> DataError:
        """The error of text that isn't of the declared encoding, in one column or in any."""
        place = self.name
        with suppress(UnicodeError), self._lines("surrogateescape") as lines:
            for number, values in self._numbered(lines):
                found = values if column is None else values[column : column + 1]
                if any("\udc80" <= letter <= "\udcff" for value in found for letter in value):
                    place = f"{self.name}, line {number}"
                    break
        which = "the text" if column is None else f"the text of column {self._names[column]!r}"
        return DataError(
            f"{place}: {which} isn't {self._dialect.encoding}. Say which encoding the file has: --encoding latin-1, "
            "for example."
        )

    def _ragged(self, n_columns: int) -> DataError:
        """The error of a row with more or fewer values than the header."""
        with self._lines() as lines:
            for number, values in self._numbered(lines):
                if values and len(values) != n_columns:
                    quote = " Is a quotation mark missing?" if any(map(_has_line_end, values)) else ""
                    return DataError(
                        f"{self.name}, line {number}: Expected {n_columns} columns, got {len(values)}.{quote}"
                    )
        return self._changed()

    def _check_quotes(self) -> None:
        """Refuse a file in which a quotation mark is missing, so that one value swallows others and rows."""
        end = ["end"]  # since no delimiter is a letter
        lines_of_row: list[str] = []

        def noted(lines: Iterable[str]) -> Iterator[str]:
            for line in lines:
                lines_of_row.append(line)
                yield line

        with self._lines() as lines:
            for number, values in self._numbered(noted(chain(lines, end))):
                try:
                    if len(lines_of_row) > 1:
                        next(self._split(lines_of_row, strict=True))
                    closed = values == end or lines_of_row[-1:] != end
                except csv.Error:
                    closed = False
                if not closed:
                    raise DataError(
                        f"{self.name}, line {number}: a quotation mark is missing in the row that begins there."
                    )
                lines_of_row.clear()
        self._quotes = False  # that could be wrong

    def _may_have_quotes(self) -> bool:
        """Whether there may be quotation marks. A look at a local file's bytes tells (0.2 s for 1 GB in memory)."""
        if self._compression is not None or not isinstance(self.place, Local):
            return True
        with self.place.open() as file:
            return any(b'"' in chunk for chunk in iter(lambda: file.read(1 << 20), b""))

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

    @contextmanager
    def _lines(self, errors: str = "replace") -> Iterator[Iterable[str]]:
        """The file's lines as Python reads them: many times slower than Arrow does, but they have numbers."""
        limit = csv.field_size_limit(MOST_BLOCK_BYTES)
        try:
            # Arrow, too, takes no notice of a byte order mark.
            encoding = "utf-8-sig" if codecs.lookup(self._dialect.encoding).name == "utf-8" else self._dialect.encoding
            with io.TextIOWrapper(io.BufferedReader(self._bytes()), encoding, errors, newline="") as lines:
                yield lines
        finally:
            csv.field_size_limit(limit)

    def _split(self, lines: Iterable[str], *, strict: bool = False) -> Any:
        return csv.reader(lines, delimiter=self._dialect.delimiter, strict=strict)

    def _numbered(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """The header and all rows as lists of text, each with the number of the line on which it begins."""
        reader = self._split(lines)
        first = 1
        for values in reader:
            yield first, values
            first = reader.line_num + 1

    def line_of(self, row: int) -> int:
        """The number of the line on which a row begins, counted from 1; rows are counted from 0."""
        with self._lines() as lines:
            # Blank lines before the header of a single column are no rows.
            rows = islice(self._numbered(lines), self._lines_before, None)
            found = ((number, values) for number, values in rows if values or self._blank_lines)
            return next(islice(found, row + 1, None), (0, []))[0]  # since the header is a line

    def where(self, row: int) -> str:
        return f"{self.name}, line {self.line_of(row)}"


def _may_swallow(texts: pa.Array) -> bool:
    """Whether a text may be several, since a quotation mark is missing: it has several lines, and a mark in it."""
    marked = pc.match_substring(texts, '"')
    if not pc.any(marked).as_py():
        return False
    found: bool = pc.any(pc.match_substring_regex(texts.filter(marked), _LINE_END.pattern.decode())).as_py()
    return found


def _has_line_end(text: str) -> bool:
    return _LINE_END.search(text.encode()) is not None
