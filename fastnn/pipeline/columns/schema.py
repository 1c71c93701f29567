"""The columns that a model expects of a table (names, kinds and order), and the check of a table against them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from fastnn.pipeline.columns.options import PLAIN, ColumnOptions, Dialect, Kind, hint, texts

# Types that can replace one another: integers, floats and decimals; all string types; dates, and timestamps without a
# time zone; timestamps with a time zone; times of day.
Family = Literal["number", "boolean", "text", "date", "instant", "time"]
# The kinds as which the columns of each family can be used; the first one is the default.
_KINDS: dict[Family, tuple[Kind, ...]] = {
    "number": ("number", "category"),
    "boolean": ("boolean", "number", "category"),
    "text": ("category",),
    "date": ("date",),
    "instant": ("date",),
    "time": ("date",),
}

_MOST_QUOTED = 80  # characters
# What the message of a `RowError` says to do.
LEAVE_OUT = "To leave such rows out: --on-bad-row skip."


class DataError(ValueError):
    """Data that can't be used, because it is unreadable, empty, or has values without a meaning here."""


class RowError(DataError):
    """A row that can't be used. Where it stands in a file is for the source to say (`Source.where`).

    Parameters
    ----------
    row : int
        The row's number among all rows, counted from 0.
    problem : str
        What is wrong with it.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(row, problem)
        self.row, self.problem = row, problem

    def __str__(self) -> str:
        return f"Row {self.row + 1}: {self.problem}"


class SchemaError(ValueError):
    """Data whose columns or labels don't match those that the model was trained on."""


@dataclass(frozen=True)
class Column:
    """A column as it was in training.

    Attributes
    ----------
    name : str
        The column's name.
    kind : {"number", "category", "date", "boolean"}
        How the column is used.
    type : str
        Its Arrow type in words.
    family : str
        The family of types that may stand for one another in this column.
    missing : tuple of str
        The texts that stand for a missing value, if the values arrive as text.
    text : bool
        Whether numbers, dates or booleans may arrive as text in any format, because they did so in training.
    """

    name: str
    kind: Kind
    type: str
    family: Family
    missing: tuple[str, ...] = ()
    text: bool = False


@dataclass(frozen=True)
class Schema:
    """The columns that a model reads, in the order of training, and how text is written where values arrive as text."""

    columns: tuple[Column, ...]
    dialect: Dialect = PLAIN

    @classmethod
    def infer(
        cls,
        table: pa.Schema,
        ignore: Collection[str] = (),
        options: Mapping[str, ColumnOptions] | None = None,
        dialect: Dialect = PLAIN,
        text: Collection[str] = (),
    ) -> Schema:
        """The schema of all columns of a table except the ignored ones.

        Parameters
        ----------
        table : pyarrow.Schema
            The table's own schema.
        ignore : collection of str
            The columns to leave out, such as the target. The table must have them.
        options : mapping of str to ColumnOptions, optional
            The options of single columns. The table must have these columns.
        dialect : Dialect
            How the table's text is written.
        text : collection of str
            The columns of numbers, dates and booleans that arrived as text although the table's format has types.

        Raises
        ------
        DataError
            If a column's type can't be used at all or as the options demand, a name occurs twice, or no column is left.
        """
        options = dict(options or {})
        check_names(table, [*ignore, *options])
        contradicted = sorted(name for name in options if name in ignore and options[name].kind != "ignore")
        if contradicted:
            raise DataError(f"There are options for column {listed(contradicted)}, which isn't learnt from.")
        ignored = {*ignore, *(name for name, said in options.items() if said.kind == "ignore")}
        fields = [field for field in table if field.name not in ignored]
        unusable = [field for field in fields if family_of(field.type) is None]
        if unusable:
            columns = ", ".join(f"{field.name!r} ({_in_words(field.type)})" for field in unusable)
            raise DataError(f"Can't learn from column {columns}. Leave it out: {ignore_options(unusable)}")
        if not fields:
            raise DataError("There is no column to learn from.")
        found = [_column(field, options.get(field.name, ColumnOptions()), dialect) for field in fields]
        return cls(tuple(replace(column, text=column.name in text) for column in found), dialect)

    def check(self, table: pa.Schema) -> None:
        """Refuse a table that lacks a column or has it with a type of another family.

        Additional columns and another order are accepted, and so are other types of the same family (integer for float,
        dictionary-encoded strings for plain ones). A column without any value is accepted for every family.

        Raises
        ------
        SchemaError
            If columns don't match. The message names all of them.
        """
        names = Counter(table.names)
        problems = []
        missing = [column.name for column in self.columns if column.name not in names]
        if missing:
            others = [name for name in names if name not in self.names()]
            problems.append(f"no column {_listed([repr(name) + hint(name, others) for name in missing])}")
        repeated = [column.name for column in self.columns if names[column.name] > 1]
        if repeated:
            problems.append(f"more than one column {listed(repeated)}")
        for column in self.columns:
            if names[column.name] == 1:
                found = table.field(column.name).type
                if not pa.types.is_null(found) and family_of(found) not in (column.family, column.text and "text"):
                    problems.append(f"column {column.name!r} is {found}, but was {column.type} in training")
        if problems:
            raise SchemaError(f"The data doesn't match the model: {'; '.join(problems)}.")

    def names(self, kind: Kind | None = None) -> list[str]:
        """The names of all columns, or of those of one kind."""
        return [column.name for column in self.columns if kind in (None, column.kind)]

    def description(self) -> list[dict[str, Any]]:
        """The columns as JSON can express them, without the attributes that have their defaults."""
        return [
            {name: value for name, value in asdict(column).items() if value not in ((), False)}
            for column in self.columns
        ]

    @classmethod
    def from_description(cls, description: Sequence[Mapping[str, Any]], dialect: Mapping[str, Any]) -> Schema:
        """The schema of these columns and this dialect; TypeError or ValueError if they don't describe one."""
        if any("family" not in column for column in description):
            raise ValueError("the schema is that of another version of fastnn: train again")
        columns = [Column(**column) for column in description]
        for column in columns:
            words = (column.name, column.type, column.family)
            kinds = _KINDS.get(column.family, ())
            known = column.kind in kinds and column.text in (False, True)
            if not known or not all(isinstance(word, str) for word in words):
                raise ValueError(f"{column} isn't a column")
        return cls(
            tuple(replace(column, missing=texts("missing", column.missing)) for column in columns),
            Dialect.from_description(dialect),
        )


def family_of(type_: pa.DataType) -> Family | None:
    """The family of types that this type can replace, or None if it can't be used."""
    types = pa.types
    type_ = value_type(type_)
    if types.is_boolean(type_):
        return "boolean"
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if is_text(type_):
        return "text"
    if types.is_timestamp(type_):
        return "date" if type_.tz is None else "instant"
    if types.is_date(type_):
        return "date"
    return "time" if types.is_time(type_) else None


def value_type(type_: pa.DataType) -> pa.DataType:
    """The type of a column's values, whether they are dictionary-encoded or not."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def is_text(type_: pa.DataType) -> bool:
    """Whether a type is one of plain (not dictionary-encoded) strings."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _column(field: pa.Field, options: ColumnOptions, dialect: Dialect) -> Column:
    family = family_of(field.type)
    assert family is not None
    named = family != "number" or pa.types.is_integer(
        value_type(field.type)
    )  # floats such as 0.1 + 0.2 can't name categories
    # Whoever makes a dictionary of integers, as pandas does of its categories, means names and not numbers.
    encoded = pa.types.is_dictionary(field.type) and named and "category" in _KINDS[family]
    kind = options.kind or ("category" if encoded else _KINDS[family][0])
    assert kind != "ignore"
    if kind not in _KINDS[family] or (kind == "category" and not named):
        raise DataError(f"Column {field.name!r} has the type {field.type}, which can't be used as a {kind}.")
    try:
        options.check_kind(kind)
    except ValueError as error:
        raise DataError(f"Column {field.name!r}: {error}") from None
    missing = tuple(dict.fromkeys((*dialect.missing, *(options.missing or ()))))
    return Column(field.name, kind, str(field.type), family, missing)


def check_names(table: pa.Schema, wanted: Collection[str]) -> None:
    """Refuse a table in which a name occurs twice, or that lacks a wanted column."""
    check_wanted(table, [*table.names, *wanted])


def check_wanted(table: pa.Schema, wanted: Collection[str]) -> None:
    """Refuse a table that lacks a wanted column, or has two columns of its name."""
    counts = Counter(table.names)
    repeated = [name for name, count in counts.items() if count > 1 and name in wanted]
    if repeated:
        raise DataError(f"More than one column is called {listed(repeated)}.")
    missing = [name for name in wanted if name not in counts]
    if missing:
        words = _listed([repr(name) + hint(name, table.names) for name in missing])
        raise DataError(f"There is no column {words}. The data has {listed(table.names)}.")


def names_of(argument: str, names: Any) -> list[str]:
    """The value of an argument that is a list of columns' names, each once; a string stands for a list of one.

    Raises
    ------
    TypeError
        If it is something else. The message names the argument.
    """
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, Iterable) or isinstance(listed, bytes):
        raise TypeError(f"{argument} must be a list of columns' names, got {names!r}.")
    listed = list(listed)
    if not all(isinstance(name, str) for name in listed):
        raise TypeError(f"{argument} must be a list of columns' names, which are strings, got {listed!r}.")
    return list(dict.fromkeys(listed))


def listed(names: Sequence[Any]) -> str:
    """Names or labels for a message: quoted, and ten at most."""
    return _listed([quoted(name) for name in names])


def quoted(value: Any) -> str:
    """A value for a message, in quotation marks if it is text; a long text is cut off."""
    return f"{value[:_MOST_QUOTED]!r}…" if isinstance(value, str) and len(value) > _MOST_QUOTED else repr(value)


def ignore_options(fields: Sequence[pa.Field | Column]) -> str:
    """The command line's options that leave these columns out."""
    return " ".join(f"--ignore {shlex.quote(field.name)}" for field in fields)


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(words[:10])
    return shown if len(words) <= 10 else f"{shown} and {len(words) - 10} more"


def _in_words(type_: pa.DataType) -> str:
    if pa.types.is_null(type_):
        return "no values"
    if pa.types.is_binary(type_):
        return "binary, or text that is not UTF-8"
    return str(type_)
