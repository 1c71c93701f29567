"""What a model expects of a table: names, kinds and order of columns, and the check of a table against it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from fastnn.pipeline.columns.options import ColumnOptions, Kind, hint

# Types that can stand for one another: all of whole numbers, floats and decimals; all of strings; dates and timestamps
# without a zone; timestamps with one; times of day.
Family = Literal["number", "boolean", "text", "date", "instant", "time"]
# How columns of each can be used, the usual way first.
_KINDS: dict[Family, tuple[Kind, ...]] = {
    "number": ("number", "category"),
    "boolean": ("boolean", "number", "category"),
    "text": ("category",),
    "date": ("date",),
    "instant": ("date",),
    "time": ("date",),
}


class DataError(ValueError):
    """Data that can't be used: unreadable, empty, or with values that have no meaning here."""


class SchemaError(ValueError):
    """Data whose columns or labels aren't those that the model was trained on."""


@dataclass(frozen=True)
class Column:
    """A column as it was in training: its name, how it is used, and its Arrow type in words and by its family."""

    name: str
    kind: Kind
    type: str
    family: Family


@dataclass(frozen=True)
class Schema:
    """The columns that a model reads, in the order of training."""

    columns: tuple[Column, ...]

    @classmethod
    def infer(
        cls, table: pa.Schema, ignore: Collection[str] = (), options: Mapping[str, ColumnOptions] | None = None
    ) -> Schema:
        """The schema of all columns of a table but the ignored ones.

        Parameters
        ----------
        table : pyarrow.Schema
            The table's own schema.
        ignore : collection of str
            Columns to leave out, such as the target. All of them must be there.
        options : mapping of str to ColumnOptions, optional
            What is said of single columns. All of them must be there.

        Raises
        ------
        DataError
            If a column's type can't be used, or not as the options say, a name occurs twice, or no column is left.
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
        return cls(tuple(_column(field, options.get(field.name, ColumnOptions())) for field in fields))

    def check(self, table: pa.Schema) -> None:
        """Refuse a table that lacks a column or has it in another kind of type.

        Other columns and another order are fine, and so are other types of the same kind (integer for float,
        dictionary-encoded for plain strings). A column without any value fits every kind.

        Raises
        ------
        SchemaError
            With every column that doesn't fit.
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
                if not pa.types.is_null(found) and family_of(found) != column.family:
                    problems.append(f"column {column.name!r} is {found}, but was {column.type} in training")
        if problems:
            raise SchemaError(f"The data doesn't match the model: {'; '.join(problems)}.")

    def names(self, kind: Kind | None = None) -> list[str]:
        """The names of the columns, of all or of one kind."""
        return [column.name for column in self.columns if kind in (None, column.kind)]

    @property
    def text_names(self) -> list[str]:
        """The names of the columns of strings, which a CSV reader mustn't take for anything else."""
        return [column.name for column in self.columns if column.family == "text"]

    def description(self) -> list[dict[str, str]]:
        """The schema in JSON's terms."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_description(cls, description: Sequence[Mapping[str, Any]]) -> Schema:
        """The schema that `description` described; TypeError or ValueError if it is none."""
        if any("family" not in column for column in description):
            raise ValueError("the schema is that of another version of fastnn: train again")
        columns = tuple(Column(**column) for column in description)
        for column in columns:
            words = (column.name, column.type, column.family)
            if not all(isinstance(word, str) for word in words) or column.kind not in _KINDS.get(column.family, ()):
                raise ValueError(f"{column} is no column")
        return cls(columns)


def family_of(type_: pa.DataType) -> Family | None:
    """The types that this one can stand for, or None if it can't be used."""
    types = pa.types
    if types.is_dictionary(type_):
        type_ = type_.value_type
    if types.is_boolean(type_):
        return "boolean"
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "text"
    if types.is_timestamp(type_):
        return "date" if type_.tz is None else "instant"
    if types.is_date(type_):
        return "date"
    return "time" if types.is_time(type_) else None


def _column(field: pa.Field, options: ColumnOptions) -> Column:
    family = family_of(field.type)
    assert family is not None
    kind = options.kind or _KINDS[family][0]
    assert kind != "ignore"
    value_type = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    named = family != "number" or pa.types.is_integer(value_type)  # 0.1 + 0.2 is no name for anything
    if kind not in _KINDS[family] or (kind == "category" and not named):
        raise DataError(f"Column {field.name!r} is {field.type}, which can't be a {kind}.")
    try:
        options.check_kind(kind)
    except ValueError as error:
        raise DataError(f"Column {field.name!r}: {error}") from None
    return Column(field.name, kind, str(field.type), family)


def check_names(table: pa.Schema, wanted: Collection[str]) -> None:
    """Refuse a table with a name that occurs twice, or without a wanted column."""
    check_wanted(table, [*table.names, *wanted])


def check_wanted(table: pa.Schema, wanted: Collection[str]) -> None:
    """Refuse a table that lacks a wanted column or has two of its name."""
    counts = Counter(table.names)
    repeated = [name for name, count in counts.items() if count > 1 and name in wanted]
    if repeated:
        raise DataError(f"More than one column is called {listed(repeated)}.")
    missing = [name for name in wanted if name not in counts]
    if missing:
        words = _listed([repr(name) + hint(name, table.names) for name in missing])
        raise DataError(f"There is no column {words}. The data has {listed(table.names)}.")


def listed(names: Sequence[str]) -> str:
    """Names for a message: quoted, and not endlessly many."""
    return _listed([repr(name) for name in names])


def ignore_options(fields: Sequence[pa.Field | Column]) -> str:
    """The command line options that leave these columns out."""
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
