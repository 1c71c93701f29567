"""Text columns with types: those that a training infers (`Typed`), and those of a model that scores (`open_for`)."""

from __future__ import annotations

import hashlib
import json
import shlex
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.arrow import to_arrow, to_numpy
from fastnn.pipeline.columns.options import PLAIN, ColumnOptions, Dialect
from fastnn.pipeline.columns.schema import Schema, SchemaError, is_text
from fastnn.pipeline.columns.text import (
    MisfitError,
    Spelling,
    Unparsable,
    is_spelt,
    merged_type,
    odd_one,
    parsed_batch,
    parsed_schema,
    spellings_of,
    type_of,
)
from fastnn.pipeline.io.csvfile import Csv
from fastnn.pipeline.io.opening import Files, by_part, open_source
from fastnn.pipeline.io.source import Batches, Source

# What the text of a column is read as, if the column is declared to be of this kind.
_DECLARED = {"number": pa.float64(), "date": pa.timestamp("us"), "boolean": pa.bool_()}


@dataclass(frozen=True)
class Reading:
    """How a training reads its columns.

    Attributes
    ----------
    dialect : Dialect
        How text is written.
    options : mapping of str to ColumnOptions
        The options of single columns: a column's declared kind tells its type.
    as_text : collection of str
        The columns that stay text: ids, of which every character counts.
    required : collection of str
        The columns in which a row must have a value, such as the target.
    on_bad_row : {"fail", "null", "skip"}
        What becomes of a row with a text that can't be parsed: an error, a missing value, or no row. With "skip", rows
        without a required value are left out, too.
    """

    dialect: Dialect = PLAIN
    options: Mapping[str, ColumnOptions] = field(default_factory=dict)
    as_text: Collection[str] = ()
    required: Collection[str] = ()
    on_bad_row: str = "fail"

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("fail", "null", "skip"):
            raise ValueError(f"on_bad_row must be fail, null or skip, got {self.on_bad_row!r}.")
        if not isinstance(self.dialect, Dialect):
            raise TypeError(f"dialect must be a fastnn.pipeline.Dialect, got {self.dialect!r}.")

    def spelling(self, name: str) -> Spelling:
        """How the text of a column is written, if it stays text."""
        missing = (self.options.get(name) or ColumnOptions()).missing or ()
        return Spelling(pa.string(), (*self.dialect.missing, *missing), self.dialect.strip, self.dialect.decimal)


AS_IT_IS = Reading()


class Typed(Source):
    """A source for training, in which text has become values of the types that it spells.

    The types of a CSV file's columns are inferred from its first rows, unless other files have types. Text of other
    formats stays text, unless it is declared to be something else.

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
        self.name, self.once, self.unlearnt, self.odd = source.name, source.once, source.unlearnt, source.odd
        self.n_skipped, self.first_skipped = 0, ""
        wanted = {*names} - {*reading.as_text}
        fields = {each.name: each.type for each in source.schema if each.name in wanted}
        self._spellings = {name: reading.spelling(name) for name, type_ in fields.items() if is_spelt(type_)}
        kinds = {name: said.kind or "" for name, said in reading.options.items() if name in self._spellings}
        types = {name: _DECLARED[kind] for name, kind in kinds.items() if kind in _DECLARED}
        self.declared = frozenset(types)
        self._inferred: dict[str, pa.DataType] = {}  # the types that later values may widen
        if source.untyped:
            self._inferred = self._infer([name for name in self._spellings if name not in types])
            types |= self._inferred
        else:
            # The text of CSV files beside files that have types.
            types |= {name: type_ for name, type_ in fields.items() if not is_spelt(type_)}
        for name, type_ in types.items():
            self._spellings[name] = reading.spelling(name)._replace(type=type_)
        self._set_types()

    def _infer(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        types: dict[str, pa.DataType] = {}
        for part in self._source.parts:
            if isinstance(part, Csv):
                head = part.head([name for name in names if is_spelt(part.schema.field(name).type)])
                for name, text in zip(head.schema.names, head.columns, strict=True):
                    spelling, before = self._reading.spelling(name), types.get(name, pa.null())
                    types[name] = merged_type(before, type_of(text, spelling))
                    if types[name] == pa.string() != before:
                        self._say_why(name, part, text, 0)
        return types

    def _set_types(self) -> None:
        self.schema = parsed_schema(self._source.schema, self._spellings)
        self.own_types = {each.name: each.type for each in self.schema}

    def _say_why(self, name: str, file: Source, text: pa.Array, first_row: int) -> None:
        """Warn of a column that is text because of a few of its values."""
        said = self._reading.options.get(name)
        row = odd_one(text, self._reading.spelling(name)) if said is None or said.kind is None else None
        if row is not None:
            value = text[row].as_py()
            use = "its values are classes" if name in self._reading.required else "it is learnt as a category"
            declare = "" if name in self._reading.required else ', or declare the column: kind = "number" in --columns'
            warnings.warn(
                f"{_place(file, first_row + row)}: column {name!r} holds {value!r}, so the column is text and {use}. "
                f"If that means a missing value: --missing {shlex.quote(value)}{declare}.",
                DataWarning,
                stacklevel=2,
            )

    def widen(self, misfit: MisfitError) -> bool:
        """Whether a column could be given a wider type, after which its rows are to be read anew."""
        found = misfit.found
        before = self._inferred.get(found.name)
        if before is None:
            return False
        wider = merged_type(before, type_of(found.text, self._reading.spelling(found.name)))
        self._inferred[found.name] = wider if wider != before else pa.string()
        self._spellings[found.name] = self._spellings[found.name]._replace(type=self._inferred[found.name])
        if self._inferred[found.name] == pa.string():
            self._say_why(found.name, misfit.origin[0], found.text, misfit.origin[1])
        self._set_types()
        return True

    @property
    def empty(self) -> list[str]:
        """The columns in which no value has been found so far, and whose types a value would tell."""
        return [name for name, type_ in self._inferred.items() if pa.types.is_null(type_)]

    @property
    def _skips(self) -> bool:
        return self._reading.on_bad_row == "skip"

    @property
    def _deciding(self) -> list[str]:
        """The columns by which rows are left out, which therefore are always read."""
        return [*self.declared, *self._reading.required] if self._skips else []

    @property
    def parts(self) -> Sequence[Source]:
        return self._source.parts

    @property
    def block_rows(self) -> Sequence[int | None]:
        return [None] * self._source.n_blocks if self._skips else self._source.block_rows

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

    def _column(self, batch: pa.RecordBatch, field: pa.Field, index: int | None) -> pa.Array:
        assert index is not None
        return batch.column(index).cast(field.type)

    def _read(self, names: list[str], blocks: Sequence[int]) -> Batches:
        wanted = list(dict.fromkeys([*names, *self._deciding]))
        for i, inner in by_part(self._source, blocks):
            part = self._source.parts[i]
            row = sum(rows or 0 for rows in part.block_rows[: inner[0]])
            for batch in part.batches(wanted, inner):
                yield self._usable(batch, part, row)
                row += batch.num_rows

    def _usable(self, batch: pa.RecordBatch, part: Source, first_row: int) -> pa.RecordBatch:
        """The rows of a batch that can be learnt from, with their values."""
        parsed, failures = parsed_batch(batch, self._spellings)
        bad = np.zeros(batch.num_rows, np.bool_)
        for found in failures:
            if found.name in self._inferred or self._reading.on_bad_row == "fail":
                raise self._misfit(found, part, first_row)
            bad[found.rows] = True
        if not self._skips:
            return parsed
        for name in self._reading.required:
            column = parsed.column(name)
            bad |= to_numpy(pc.or_kleene(column.is_null(nan_is_null=True), _is_empty(column)).cast(pa.uint8())) == 1
        if not bad.any():
            return parsed
        if not self.n_skipped:
            self.first_skipped = _place(part, first_row + int(bad.argmax()))
        self.n_skipped += int(bad.sum())
        return parsed.filter(to_arrow(~bad))

    def _misfit(self, found: Unparsable, part: Source, first_row: int) -> MisfitError:
        ways = (
            f" If that means a missing value: --missing {shlex.quote(found.value)}. To leave such rows out: "
            "--on-bad-row skip."
        )
        return MisfitError(_place(part, first_row + found.rows[0]), found, ways, (part, first_row))


def _is_empty(column: pa.Array) -> pa.Array:
    return pc.equal(column, "").fill_null(True) if is_text(column.type) else pa.repeat(False, len(column))


def _place(source: Source, row: int) -> str:
    """A row of a file in words; rows are counted from 0."""
    return f"{source.name}, line {source.line_of(row)}" if isinstance(source, Csv) else f"{source.name}, row {row + 1}"


def open_for(
    schema: Schema,
    data: Sequence[str],
    dialect: Dialect | None = None,
    *,
    keep: Collection[str] = (),
    further: Mapping[str, pa.DataType] | None = None,
) -> tuple[Source, dict[str, Spelling]]:
    """Open files for a model. All columns of CSV files come as text, which `columns.text.parse` parses batch by batch.

    Parameters
    ----------
    schema : Schema
        The model's columns.
    data : sequence of str
        Files, folders and patterns.
    dialect : Dialect, optional
        How CSV files are written; by default as in training.
    keep : collection of str
        Columns that are copied. If some files are CSV files, they are text in all files.
    further : mapping of str to pyarrow.DataType, optional
        Further columns, such as the target, and what their text stands for.

    Returns
    -------
    source : Source
        The rows.
    spellings : dict of str to Spelling
        How `parse` is to read the columns that come as text.

    Raises
    ------
    DataError
        If a file can't be read.
    SchemaError
        If the columns don't match the model's.
    """
    if dialect is not None:
        schema = replace(schema, dialect=dialect)
    spellings = spellings_of(schema)
    for name, type_ in (further or {}).items():
        spellings[name] = Spelling(type_, schema.dialect.missing, schema.dialect.strip, schema.dialect.decimal)
    source = open_source(list(data), schema.dialect, spellings)
    odd = [source.odd[name] for name in schema.names() if name in source.odd]
    if odd:
        raise SchemaError(f"The data doesn't match the model: {odd[0]}")
    schema.check(parsed_schema(source.schema, spellings) if source.untyped else source.schema)
    if isinstance(source, Files) and any(part.untyped for part in source.parts) and not source.untyped:
        source.spell(dict.fromkeys(keep, pa.string()))
    return source, spellings
