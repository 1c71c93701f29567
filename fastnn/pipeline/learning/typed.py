"""Text columns with the types that a training infers."""

from __future__ import annotations

import hashlib
import json
import shlex
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.arrow import to_arrow, to_numpy
from fastnn.pipeline.columns.labels import is_missing
from fastnn.pipeline.columns.options import PLAIN
from fastnn.pipeline.columns.schema import LEAVE_OUT, DataError, quoted
from fastnn.pipeline.columns.text import (
    Spelling,
    Unparsable,
    is_spelt,
    merged_type,
    odd_one,
    parsed_batch,
    parsed_schema,
    type_of,
)
from fastnn.pipeline.columns.values import numbers_of
from fastnn.pipeline.io.csvfile import Csv
from fastnn.pipeline.io.opening import best_types, by_part, keep_text
from fastnn.pipeline.io.source import Batches, Source
from fastnn.pipeline.learning.reading import DECLARED, Reading

_MOST_SHOWN = 40  # characters of a text in an option that a message suggests


class WidenedError(DataError):
    """Later values gave columns wider types, so that the rows are to be read anew."""


class Typed(Source):
    """A source for training, in which text has become values of the types that it spells.

    The types of a CSV file's columns are inferred from its first rows, unless other files have types. Text of other
    formats stays text, unless it is declared to be something else.

    If a later value isn't of its column's inferred type, the column gets a wider one. Reading goes on to the end of the
    blocks, for other such values, and then raises a `WidenedError`: what was read before has the old types.

    Parameters
    ----------
    source : Source
        The rows.
    names : collection of str
        The columns that are read.
    reading : Reading
        How they are read.

    Attributes
    ----------
    declared : frozenset of str
        The columns whose text was declared to be numbers, dates or booleans.
    n_skipped : int
        How many rows have been left out since this was last set to 0.
    first_skipped : str
        The place of the first of them.
    """

    def __init__(self, source: Source, names: Collection[str], reading: Reading) -> None:
        self._source, self._reading = source, reading
        keep_text(source, [*reading.as_text, *self._inexact_names(names)])
        self.name, self.once, self.unlearnt, self.odd = source.name, source.once, source.unlearnt, source.odd
        self.n_skipped, self.first_skipped = 0, ""
        self._noted: set[str] = set()  # the columns that a note was given of
        self._counted: dict[int, int] = {}  # the rows of blocks, where only reading the block tells
        self._wanted = [name for name in names if name in source.schema.names]
        wanted = {*names} - {*reading.as_text}
        fields = {each.name: each.type for each in source.schema if each.name in wanted}
        text = [name for name, type_ in fields.items() if is_spelt(type_)]
        self.declared = frozenset(name for name in text if reading.kind(name) in DECLARED)
        # The types that later values may widen.
        self._inferred = self._infer([name for name in text if name in source.untyped and name not in self.declared])
        types = {name: type_ for name, type_ in fields.items() if not is_spelt(type_)}  # for CSV files' text
        kinds = {name: DECLARED[reading.kind(name) or ""] for name in self.declared}
        types |= {**self._inferred, **best_types(source, kinds, reading.spelling)}
        self._spellings = {
            name: reading.spelling(name)._replace(type=types.get(name, pa.string())) for name in (*text, *types)
        }
        self._set_types()

    def _inexact_names(self, names: Collection[str]) -> list[str]:
        """The columns of labels and categories that some CSV file spells as no number would be, beside typed files."""
        wanted = {name for name in names if self._reading.spelling(name).exact} - self._source.untyped
        found: set[str] = set()
        for part in self._source.parts if wanted else ():
            if isinstance(part, Csv):
                head = part.head([name for name in wanted if name in part.untyped])
                texts = zip(head.schema.names, head.columns, strict=True)
                found |= {name for name, text in texts if self._reading.type_of(name, text) == pa.string()}
        return sorted(found)

    def _infer(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        """The types that the first rows of all files tell. If a column is text because of some values, say which."""
        types: dict[str, pa.DataType] = dict.fromkeys(names, pa.null())
        plain = dict(types)  # the types that the values would have if they named nothing
        found_floats: set[str] = set()
        first: dict[str, tuple[str, str]] = {}  # the place and the value of a column's first text
        odd: set[str] = set()
        for part in self._source.parts:
            if not isinstance(part, Csv):
                continue
            head = part.head([name for name in names if name in part.untyped])
            for name, text in zip(head.schema.names, head.columns, strict=True):
                spelling, before, here = self._reading.spelling(name), types[name], self._reading.type_of(name, text)
                types[name] = merged_type(before, here)
                plain[name] = merged_type(plain[name], type_of(text, spelling))
                found_floats |= {name} if here == pa.float64() else set()
                if types[name] != pa.string() or here in (before, pa.null()):
                    continue
                odd |= {name} if before != pa.null() else set()
                if before != pa.string():
                    row = _first_text(text, spelling, before, here)
                    odd |= {name} if row[1] else set()
                    first[name] = part.where(row[0]), text[row[0]].as_py()
        # 007 is a label, unless other values say that the column is one of numbers.
        types |= {name: pa.float64() for name in found_floats if plain[name] == pa.float64()}
        for name, (place, value) in first.items():
            if name in odd and types[name] == pa.string():
                self._say_why(name, place, value)
        return types

    def _set_types(self) -> None:
        self.schema = parsed_schema(self._source.schema, self._spellings)
        self.own_types = {each.name: each.type for each in self.schema}

    def _say_why(self, name: str, place: str, value: str) -> None:
        """Warn of a column that is text because of some of its values, unless it was declared to be."""
        if self._reading.kind(name) is not None or name in self._noted:
            return
        self._noted.add(name)
        label = name in self._reading.labels
        use = "its values are classes" if label else "it is learnt as a category"
        declare = "" if label else ', or declare the column: kind = "number" in --columns'
        way = f" If that means a missing value: {_as_missing(value)}{declare}."
        if not self._reading.spelling(name)._replace(type=pa.float64(), exact=False).values(pa.array([value]))[1]:
            way = " As a number it might be the same as another one." if label else ""
        warnings.warn(
            f"{place}: column {name!r} holds {quoted(value)}, so the column is text and {use}.{way}",
            DataWarning,
            stacklevel=2,
        )

    def _widen(self, found: Unparsable, part: Source, first_row: int) -> None:
        """Give a column a wider type, since later values aren't of the one that was inferred."""
        name, before = found.name, self._inferred[found.name]
        wider = merged_type(before, self._reading.type_of(name, found.text))
        self._inferred[name] = wider if wider != before else pa.string()
        self._spellings[name] = self._spellings[name]._replace(type=self._inferred[name])
        if self._inferred[name] == pa.string():
            row = odd_one(found.text, self._reading.spelling(name))
            if row is not None or before != pa.null():
                row = found.rows[0] if row is None else row
                self._say_why(name, part.where(first_row + row), found.text[row].as_py())
        self._set_types()

    @property
    def empty(self) -> list[str]:
        """The columns in which no value has been found so far, and whose types a value would tell."""
        return [name for name, type_ in self._inferred.items() if pa.types.is_null(type_)]

    @property
    def _skips(self) -> bool:
        return self._reading.on_bad_row == "skip"

    @property
    def parts(self) -> Sequence[Source]:
        return self._source.parts

    @property
    def block_rows(self) -> Sequence[int | None]:
        known = [None] * self._source.n_blocks if self._skips else self._source.block_rows
        return [self._counted.get(block, rows) for block, rows in enumerate(known)]

    @property
    def n_blocks(self) -> int:
        return self._source.n_blocks

    def identity(self) -> list[dict[str, Any]]:
        return self._source.identity()

    def fingerprint(self) -> str:
        found, reading = self._source.fingerprint(), self._reading
        if reading.dialect == PLAIN and reading.on_bad_row == "fail":
            return found
        how = [found, reading.dialect.description(), reading.on_bad_row]
        return hashlib.sha256(json.dumps(how).encode()).hexdigest()

    def check_unchanged(self) -> None:
        self._source.check_unchanged()

    def where(self, row: int) -> str:
        if self._skips:
            for piece in self._pieces([], range(self.n_blocks)):
                kept = np.flatnonzero(~piece.bad)
                if row < len(kept):
                    return piece.part.where(piece.first_row + int(kept[row]))
                row -= len(kept)
        return self._source.where(row)

    def _column(self, batch: pa.RecordBatch, field: pa.Field, index: int | None) -> pa.Array:
        assert index is not None
        return batch.column(index).cast(field.type)

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        for piece in self._pieces(names, blocks):
            n_bad = int(piece.bad.sum())
            if n_bad and not self.n_skipped:
                self.first_skipped = piece.part.where(piece.first_row + int(piece.bad.argmax()))
            self.n_skipped += n_bad
            yield piece.rows.filter(to_arrow(~piece.bad)) if n_bad else piece.rows

    def _pieces(self, names: Sequence[str], blocks: Sequence[int]) -> Iterator[_Piece]:
        """The batches of some blocks with parsed columns; a WidenedError at the end of these if a type was too narrow.

        The rows of each block are counted where they weren't known.
        """
        deciding = self._wanted if self._skips else []  # since any of them may be why a row is left out
        wanted = list(dict.fromkeys([*names, *deciding]))
        starts = self._source.starts
        widened = False
        for i, inner in by_part(self._source, blocks):
            part = self.parts[i]
            known = part.block_rows
            row = sum(rows or 0 for rows in known[: inner[0]])
            ends = np.cumsum([known[block] or 0 for block in inner[:-1]]) + row  # of blocks whose rows are known
            counts = np.zeros(len(inner), np.int64)
            for batch in part.batches(wanted, inner):
                parsed, bad = self._parsed(batch, part, row)
                if parsed is None:
                    widened = True
                elif not widened:
                    yield _Piece(part, row, parsed, bad)
                if self._skips or known[inner[0]] is None:
                    of_block = np.searchsorted(ends, np.arange(row, row + batch.num_rows), "right")
                    counts += np.bincount(of_block[~bad], minlength=len(inner))
                row += batch.num_rows
            if self._skips or known[inner[0]] is None:
                self._counted.update(zip((starts[i] + block for block in inner), counts.tolist(), strict=True))
        if widened:
            raise WidenedError(f"{self.name} was changed while it was read: later values have other types.")

    def _parsed(
        self, batch: pa.RecordBatch, part: Source, first_row: int
    ) -> tuple[pa.RecordBatch | None, NDArray[np.bool_]]:
        """A batch's values, and the rows that can't be learnt from; no values if a type was too narrow for them."""
        parsed, failures = parsed_batch(batch, self._spellings)
        bad = np.zeros(batch.num_rows, np.bool_)
        late = [found for found in failures if found.name in self._inferred]
        for found in late:
            self._widen(found, part, first_row)
        if late:
            return None, bad
        for found in failures:
            if self._reading.on_bad_row == "fail":
                raise DataError(
                    f"{part.where(first_row + found.rows[0])}: {found.problem} If that means a missing value: "
                    f"{_as_missing(found.value)}. {LEAVE_OUT}"
                )
            bad[found.rows] = True
        if not self._skips:
            return parsed, np.zeros(batch.num_rows, np.bool_)
        for name in self._reading.required:
            bad |= is_missing(parsed.column(name))
        for name in parsed.schema.names:
            numbers = parsed.column(name)
            if pa.types.is_floating(numbers.type):
                bad |= np.isinf(to_numpy(numbers))
            if name in self._reading.at_least_0 and not is_spelt(numbers.type):
                bad |= numbers_of(numbers) < 0
        return parsed, bad


class _Piece(NamedTuple):
    """A batch of a file's rows.

    Attributes
    ----------
    part : Source
        The file.
    first_row : int
        The number of the file's rows before the batch.
    rows : pyarrow.RecordBatch
        The batch, with parsed columns.
    bad : ndarray of bool, shape (n,)
        The rows to leave out.
    """

    part: Source
    first_row: int
    rows: pa.RecordBatch
    bad: NDArray[np.bool_]


def _as_missing(value: str) -> str:
    """The command line's option for a text that means a missing value."""
    return f"--missing {shlex.quote(value) if len(value) <= _MOST_SHOWN else 'TEXT'}"


def _first_text(text: pa.Array, spelling: Spelling, before: pa.DataType, here: pa.DataType) -> tuple[int, bool]:
    """The first text that makes text of a column of the type `before`, and whether it is odd among its neighbours."""
    row = odd_one(text, spelling) if here == pa.string() else None
    if row is not None:
        return row, True
    plain = type_of(text, spelling)  # which names such as 007 would have as numbers
    inexact = spelling._replace(type=plain, exact=True).values(text)[1] if plain != pa.string() else []
    unlike = inexact or spelling._replace(type=before).values(text)[1]
    return (unlike[0] if unlike else pc.index(text.is_valid(), True).as_py()), bool(inexact)
