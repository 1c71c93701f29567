"""What a model expects of a table: names, kinds and order of columns, and the check of a table against it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

Kind = Literal["number", "category"]


class DataError(ValueError):
    """Data that can't be used: unreadable, empty, or with values that have no meaning here."""


class SchemaError(ValueError):
    """Data whose columns or labels aren't those that the model was trained on."""


@dataclass(frozen=True)
class Column:
    """A column as it was in training: its name, how it is used, and its Arrow type in words."""

    name: str
    kind: Kind
    type: str


@dataclass(frozen=True)
class Schema:
    """The columns that a model reads, in the order of training."""

    columns: tuple[Column, ...]

    @classmethod
    def infer(cls, table: pa.Schema, ignore: Collection[str] = ()) -> Schema:
        """The schema of all columns of a table but the ignored ones.

        Parameters
        ----------
        table : pyarrow.Schema
            The table's own schema.
        ignore : collection of str
            Columns to leave out, such as the target. All of them must be there.

        Raises
        ------
        DataError
            If a column's type can't be used, a name occurs twice, or no column is left.
        """
        check_names(table, ignore)
        fields = [field for field in table if field.name not in ignore]
        unusable = [field for field in fields if kind_of(field.type) is None]
        if unusable:
            columns = ", ".join(f"{field.name!r} ({_in_words(field.type)})" for field in unusable)
            raise DataError(f"Can't learn from column {columns}. Leave it out: {ignore_options(unusable)}")
        if not fields:
            raise DataError("There is no column to learn from.")
        return cls(tuple(Column(field.name, _known_kind(field.type), str(field.type)) for field in fields))

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
            problems.append(f"no column {listed(missing)}")
        repeated = [column.name for column in self.columns if names[column.name] > 1]
        if repeated:
            problems.append(f"more than one column {listed(repeated)}")
        for column in self.columns:
            if names[column.name] == 1:
                found = table.field(column.name).type
                if not pa.types.is_null(found) and kind_of(found) != column.kind:
                    problems.append(f"column {column.name!r} is {found}, but was {column.type} in training")
        if problems:
            raise SchemaError(f"The data doesn't match the model: {'; '.join(problems)}.")

    def names(self, kind: Kind | None = None) -> list[str]:
        """The names of the columns, of all or of one kind."""
        return [column.name for column in self.columns if kind in (None, column.kind)]

    def description(self) -> list[dict[str, str]]:
        """The schema in JSON's terms."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_description(cls, description: Sequence[Mapping[str, Any]]) -> Schema:
        """The schema that `description` described; TypeError or ValueError if it is none."""
        columns = tuple(Column(**column) for column in description)
        for column in columns:
            if column.kind not in ("number", "category") or not isinstance(column.name, str):
                raise ValueError(f"{column} is no column")
        return cls(columns)


def kind_of(type_: pa.DataType) -> Kind | None:
    """How a column of this Arrow type is used, or None if it can't be."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return "number"
    if pa.types.is_decimal(type_):
        return "number"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "category"
    return None


def check_names(table: pa.Schema, wanted: Collection[str]) -> None:
    """Refuse a table with a name that occurs twice, or without a wanted column."""
    repeated = [name for name, count in Counter(table.names).items() if count > 1]
    if repeated:
        raise DataError(f"More than one column is called {listed(repeated)}.")
    missing = [name for name in wanted if name not in table.names]
    if missing:
        raise DataError(f"There is no column {listed(missing)}. The data has {listed(table.names)}.")


def listed(names: Sequence[str]) -> str:
    """Names for a message: quoted, and not endlessly many."""
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def ignore_options(fields: Sequence[pa.Field | Column]) -> str:
    """The command line options that leave these columns out."""
    return " ".join(f"--ignore {shlex.quote(field.name)}" for field in fields)


def _known_kind(type_: pa.DataType) -> Kind:
    kind = kind_of(type_)
    assert kind is not None
    return kind


def _in_words(type_: pa.DataType) -> str:
    if pa.types.is_null(type_):
        return "no values"
    if pa.types.is_binary(type_):
        return "binary, or text that is not UTF-8"
    return str(type_)
