"""Values that arrive as text: from text to numbers, dates and booleans, and the types that text can be read as.

A column is parsed batch by batch, so that a value that can't be parsed spoils one row and not the whole file.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from fastnn.pipeline.columns.arrow import strings_to_arrow, to_numpy
from fastnn.pipeline.columns.schema import LEAVE_OUT, RowError, Schema, SchemaError, is_text, quoted, value_type

# The ways in which CSV spells a missing value, where values are numbers or dates.
NO_VALUE = tuple(pyarrow.csv.ConvertOptions().null_values)
# What text may stand for, in the order of Arrow's reader of CSV files.
_GUESSES = (
    pa.int64(),
    pa.bool_(),
    pa.float64(),
    pa.date32(),
    pa.time64("us"),
    pa.timestamp("s"),
    pa.timestamp("s", "UTC"),
    pa.timestamp("us"),
    pa.timestamp("us", "UTC"),
)
_WIDENINGS = (
    (pa.int64(), pa.float64()),
    (pa.date32(), pa.timestamp("s"), pa.timestamp("us")),
    (pa.timestamp("s", "UTC"), pa.timestamp("us", "UTC")),
)
_PLAIN_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_PLAIN_DATE = r"^\s*\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?\s*$"
# The ways in which integers and booleans are spelt where they are names: as names, 007 and 7 are two. In some files all
# integers end in .0, as pandas writes them beside missing values; where only some do, 1 and 1.0 are two names as well.
_INTEGERS = (r"^(0|-?[1-9]\d*)$", r"^(0|-?[1-9]\d*)\.0$")
_BOOLEANS = ("^(true|false)$", "^(True|False)$", "^(TRUE|FALSE)$")
_DAY = r"\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|[12]\d))"
_TIME = r"([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d(\.\d+)?)?)?"
_ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
_LONG_INTEGER = r"^[+-]?\d+$"
# A number, a date or a time, also with a currency, a sign for thousands or one for per cent.
_NUMERIC = r"^[\s\p{Sc}]*[+-]?\p{Sc}?[\d.,]*\d[\d.,:/\s'TZ+-]*([eE][+-]?\d+)?[\s%\p{Sc}]*$"


class Spelling(NamedTuple):
    """How a column that arrives as text is read.

    Attributes
    ----------
    type : pyarrow.DataType
        The type that the text is parsed as; a type of strings leaves it text.
    missing : tuple of str
        The texts that stand for a missing value, beside those that CSV has for numbers and dates.
    strip : bool
        Whether blanks around the text are left out. Those around numbers and dates always are.
    decimal : str
        The character before a number's decimal places.
    exact : bool
        Whether integers and booleans are names, and can't be spelt with leading zeros or signs, for example.
    """

    type: pa.DataType
    missing: tuple[str, ...] = ()
    strip: bool = False
    decimal: str = "."
    exact: bool = False

    @property
    def stays_text(self) -> bool:
        """Whether the column's values are strings."""
        return is_text(self.type)

    @property
    def changes_nothing(self) -> bool:
        """Whether text is read as it is."""
        return self.stays_text and not self.missing and not self.strip

    def prepared(self, text: pa.Array) -> pa.Array:
        """The text with nulls in the place of missing values, as Arrow can parse it."""
        if not self.stays_text:
            text = pc.ascii_trim(text, " \t")  # as Arrow's reader does
        elif self.strip:
            text = pc.utf8_trim_whitespace(text)
        if not self.changes_nothing:
            missing = self.missing if self.stays_text else (*NO_VALUE, *(each.strip() for each in self.missing))
            is_missing = pc.is_in(text, value_set=_value_set(missing, text.type))
            text = pc.if_else(is_missing, pa.scalar(None, text.type), text)
        if self.decimal != "." and not self.stays_text and not pa.types.is_temporal(self.type):
            # A full stop spoils the number: it would be one of thousands.
            text = pc.replace_substring(pc.replace_substring(text, ".", "?"), self.decimal, ".")
        return text

    def values(self, text: pa.Array) -> tuple[pa.Array, list[int]]:
        """The values that the text spells, and the positions of those that can't be parsed and have become null."""
        if pa.types.is_dictionary(text.type):
            entries, unparsable = self.values(text.dictionary)
            at = pc.is_in(text.indices, value_set=pa.array(unparsable, text.indices.type))
            return entries.take(text.indices), np.flatnonzero(to_numpy(at.cast(pa.uint8()))).tolist()
        text = self.prepared(text)
        if self.stays_text:
            return text, []
        ways = _ways(self.type) if self.exact else ()
        values = None if ways else _parsed(text, self.type)
        if values is not None:
            return values, []
        # One pass finds most of the texts that can't be parsed, and dividing the others finds the rest. Dividing alone
        # would take 6 s for 65,536 words.
        fits = pc.match_substring_regex(text, "|".join(ways) or _shape_of(self.type))
        hopeless = pc.invert(fits).fill_null(False)
        values, unparsable = _divided(pc.if_else(hopeless, pa.scalar(None, text.type), text), self.type)
        return values, sorted([*unparsable, *np.flatnonzero(to_numpy(hopeless.cast(pa.uint8()))).tolist()])


Spellings = Mapping[str, Spelling]

# What the text of a column is parsed as in scoring. A date's text may have any number of decimal places.
_TYPES = {
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "date": pa.timestamp("us"),
    "instant": pa.timestamp("us", "UTC"),
    "time": pa.time64("us"),
}


def spellings_of(schema: Schema, *, typed: bool = False) -> dict[str, Spelling]:
    """How a model's columns are read where they arrive as text: all of them, or those of formats that have types."""
    dialect = schema.dialect
    found = {}
    for column in schema.columns:
        type_ = _TYPES[column.family]
        named = column.kind == "category"
        if column.family == "number" and named:  # an identifier, of which every digit counts
            type_ = pa.uint64() if "uint64" in column.type else pa.int64()
        if column.family == "text" or column.text or not typed:
            found[column.name] = Spelling(type_, column.missing, dialect.strip, dialect.decimal, named)
    return {name: spelling for name, spelling in found.items() if not spelling.changes_nothing}


class Unparsable(NamedTuple):
    """A column of a batch, some of whose text can't be read as its type.

    Attributes
    ----------
    name : str
        The column's name.
    text : pyarrow.Array
        The text.
    type : pyarrow.DataType
        What the text can't be read as.
    rows : list of int
        The rows in the batch whose text can't be parsed.
    """

    name: str
    text: pa.Array
    type: pa.DataType
    rows: list[int]

    @property
    def value(self) -> str:
        """The first such text."""
        return str(self.text[self.rows[0]].as_py())

    @property
    def problem(self) -> str:
        """What is wrong, in words."""
        return f"column {self.name!r} holds {quoted(self.value)}, which is no {self.type}."


def parsed_schema(table: pa.Schema, spellings: Spellings) -> pa.Schema:
    """The schema that a table has after parsing."""
    return pa.schema(
        field.with_type(spellings[field.name].type)
        if field.name in spellings and is_spelt(field.type) and not spellings[field.name].stays_text
        else field
        for field in table
    )


def is_spelt(type_: pa.DataType) -> bool:
    """Whether a type is one of text, dictionary-encoded or not."""
    return is_text(value_type(type_))


def parse(
    batch: pa.RecordBatch, spellings: Spellings, bad: NDArray[np.bool_] | None, first_row: int = 0
) -> pa.RecordBatch:
    """Convert a batch's text columns into the values that the text spells.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The rows.
    spellings : mapping of str to Spelling
        The columns to parse. Columns that aren't text stay as they are.
    bad : ndarray of bool, shape (n,), or None
        Set to True for rows with a value that can't be parsed. The value becomes null.
    first_row : int
        The number of rows before this batch, for messages.

    Raises
    ------
    SchemaError
        If no value of a column can be parsed, the batch is the first one, and `bad` is None: the column must hold
        something else than in training.
    RowError
        If a value can't be parsed and `bad` is None.
    """
    parsed, failures = parsed_batch(batch, spellings)
    for found in failures:
        n_known = len(found.text) - parsed.column(found.name).null_count
        if bad is not None:
            bad[found.rows] = True
        elif first_row == n_known == 0 and len(found.rows) > 1:
            raise SchemaError(
                f"The data doesn't match the model: column {found.name!r} is string (such as {quoted(found.value)}), "
                f"but was {found.type} in training."
            )
        else:
            raise RowError(first_row + found.rows[0], f"{found.problem} {LEAVE_OUT}")
    return parsed


def parsed_batch(batch: pa.RecordBatch, spellings: Spellings) -> tuple[pa.RecordBatch, list[Unparsable]]:
    """A batch with the values that its text spells, null where it can't be parsed, and the columns with such text."""
    columns, failures = batch.columns, []
    for number, (field, column) in enumerate(zip(batch.schema, batch.columns, strict=True)):
        spelling = spellings.get(field.name)
        if spelling is not None and is_spelt(field.type) and not spelling.changes_nothing:
            columns[number], unparsable = spelling.values(column)
            if unparsable:
                failures.append(Unparsable(field.name, column, spelling.type, unparsable))
    return pa.RecordBatch.from_arrays(columns, batch.schema.names), failures


def type_of(text: pa.Array, spelling: Spelling) -> pa.DataType:
    """The type that Arrow's reader of CSV files would infer from these texts, except that dates have no nanoseconds.

    `spelling` has the column's missing texts; its type is of no account. Text without any value is of type null.
    """
    distinct = pc.unique(text)
    for guess in _GUESSES:
        prepared = spelling._replace(type=guess).prepared(distinct)
        if prepared.null_count == len(prepared):
            return pa.null()
        # A few values tell most of the wrong guesses at once.
        if all(_parsed(some, guess, exact=True) is not None for some in (prepared[:10], prepared)):
            return guess
    return pa.string()


def type_of_names(text: pa.Array, spelling: Spelling, *, surely: bool) -> pa.DataType:
    """The type of texts that name something: categories, or the classes of a target.

    They are integers or booleans only if all are spelt in the one way by which every text comes back from its value.
    Otherwise they stay text. Unless they are `surely` names, numbers that aren't all whole are floats, since a target
    may be one of a regression.
    """
    found, distinct = type_of(text, spelling), pc.unique(text)
    if found == pa.float64():
        known = spelling._replace(type=found).prepared(distinct)
        if not surely and not pc.all(pc.match_substring_regex(known, _LONG_INTEGER), min_count=0).as_py():
            return found
        found = pa.int64()
    known = spelling._replace(type=found).prepared(distinct)
    one_way = any(pc.all(pc.match_substring_regex(known, way), min_count=0).as_py() for way in _ways(found))
    in_range = not spelling._replace(type=found).values(distinct)[1]
    return found if pa.types.is_null(found) or (one_way and in_range) else pa.string()


def _ways(type_: pa.DataType) -> tuple[str, ...]:
    """The ways in which names of this type are spelt, as regular expressions; none for a type that names nothing."""
    return _INTEGERS if pa.types.is_integer(type_) else _BOOLEANS if pa.types.is_boolean(type_) else ()


def merged_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that is inferred from the values of both types together; string where that is hard to tell."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for widening in _WIDENINGS:
        if one in widening and other in widening:
            return max(one, other, key=widening.index)
    return pa.string()


def odd_one(text: pa.Array, spelling: Spelling) -> int | None:
    """The first text that is no number among numbers, or no date among dates; None if the text is something else.

    Numbers with a currency or with thousands, and dates in another order, are all odd, if most texts are like that.
    """
    known = spelling._replace(type=pa.float64()).prepared(text)
    alike = [pc.match_substring_regex(known, pattern) for pattern in (_PLAIN_NUMBER, _PLAIN_DATE, _NUMERIC)]
    if (pc.mean(alike[2]).as_py() or 0.0) <= 0.5:
        return None
    plain = max(alike[:2], key=lambda found: pc.sum(found).as_py() or 0)
    odd = pc.index(plain, False).as_py()
    return odd if odd >= 0 else None


@functools.lru_cache(maxsize=256)
def _value_set(texts: tuple[str, ...], type_: pa.DataType) -> pa.Array:
    return strings_to_arrow(texts).cast(type_)


def _parsed(text: pa.Array, type_: pa.DataType, *, exact: bool = False) -> pa.Array | None:
    """The values that the text spells; None if one of them can't be parsed.

    3.0 is an integer unless `exact`: pandas writes it in a column of integers with missing values.
    """
    for attempt in _attempts(text, type_, exact):
        with suppress(pa.ArrowInvalid):
            return attempt()
    return None


def _attempts(text: pa.Array, type_: pa.DataType, exact: bool) -> Iterator[Callable[[], pa.Array]]:
    """The ways to parse text, which raise an ArrowInvalid if a text can't be parsed in this way."""
    if pa.types.is_null(type_):
        if text.null_count == len(text):
            yield lambda: pa.nulls(len(text))
    elif pa.types.is_time(type_):  # since Arrow parses timestamps but no times of day
        stamps = pc.binary_join_element_wise("1970-01-01", text, " ")
        yield lambda: stamps.cast(pa.timestamp(type_.unit)).cast(type_)
    elif pa.types.is_integer(type_):
        # Arrow takes 0x1F for 31, although 0x1.8 is no number.
        if not pc.any(pc.match_substring(text, "x", ignore_case=True)).as_py():
            yield lambda: text.cast(type_)
            if not exact:
                yield lambda: text.cast(pa.decimal128(38, 0)).cast(type_)
    else:
        yield lambda: text.cast(type_)
        if pa.types.is_timestamp(type_) and type_.unit == "us":  # perhaps with nanoseconds, of which days can't tell
            yield lambda: pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1").cast(type_)


def _shape_of(type_: pa.DataType) -> str:
    """A regular expression that every text matches that can be parsed as this type, and few others do."""
    if pa.types.is_null(type_):
        return "$."
    if pa.types.is_boolean(type_):
        return "(?i)^(0|1|true|false)$"
    if pa.types.is_temporal(type_):
        zoned = pa.types.is_timestamp(type_) and type_.tz is not None
        time = _TIME if pa.types.is_time(type_) else "" if pa.types.is_date(type_) else f"([T ]{_TIME})?"
        return f"^{'' if pa.types.is_time(type_) else _DAY}{time}{_ZONE if zoned else ''}$"
    if pa.types.is_integer(type_):
        digits = 20 if pa.types.is_unsigned_integer(type_) else 19
        return rf"(?i)^[+-]?(0*\d{{1,{digits}}}\.?0*|[\d.]+e[+-]?\d+)$"
    return r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)$"


def _divided(text: pa.Array, type_: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values that the text spells, and the positions of those that can't be parsed and have become null.

    The text is divided into pieces, and these again. By halves, 16,384 texts that can't be parsed took 5 s.
    """
    values = _parsed(text, type_)
    if values is not None:
        return values, []
    if len(text) == 1:
        return pa.nulls(1, type_), [0]
    size = math.isqrt(len(text))
    pieces, unparsable = [], []
    for start in range(0, len(text), size):
        piece, positions = _divided(text[start : start + size], type_)
        pieces.append(piece)
        unparsable += [start + position for position in positions]
    return pa.concat_arrays(pieces), unparsable
