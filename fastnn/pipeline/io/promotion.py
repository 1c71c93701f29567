"""The schema that several files have in common, when the types of a column differ within one family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from fastnn.pipeline.columns.schema import family_of, value_type
from fastnn.pipeline.io.source import Source, plain_type


class Common(NamedTuple):
    """What several sources have in common.

    Attributes
    ----------
    schema : pyarrow.Schema
        The columns that all have.
    odd : dict of str to str
        The other columns, each with the reason why it isn't in the schema.
    untyped : frozenset of str
        The columns that are text because no source says their type.
    """

    schema: pa.Schema
    odd: dict[str, str]
    untyped: frozenset[str]


def promoted(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that can hold the values of both types; None if they are of different families.

    Values are cast without a loss, or not at all: an integer above 2**53 beside a float64 is an error of its file.
    """
    one, other = plain_type(one), plain_type(other)
    if one == other or pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    if family_of(one) is None or family_of(one) != family_of(other):
        return None
    are_dictionaries = pa.types.is_dictionary(one), pa.types.is_dictionary(other)
    if any(are_dictionaries) and not (all(are_dictionaries) and one.ordered == other.ordered):
        return promoted(value_type(one), value_type(other))
    if pa.types.is_timestamp(one) or pa.types.is_timestamp(other):
        return _timestamp(one, other)
    if pa.types.is_decimal(one) or pa.types.is_decimal(other):
        return _decimal(one, other)
    fields = [pa.schema([("x", type_)]) for type_ in (one, other)]
    return pa.unify_schemas(fields, promote_options="permissive").field(0).type


def _decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The decimal that holds all values of both types; float64 if there is none."""
    if pa.types.is_floating(one) or pa.types.is_floating(other):
        return pa.float64()
    # The most digits of integers of 8 to 64 bits.
    digits = {8: 3, 16: 5, 32: 10, 64: 20}
    exact = [
        (type_.precision, type_.scale) if pa.types.is_decimal(type_) else (digits[type_.bit_width], 0)
        for type_ in (one, other)
    ]
    scale = max(each[1] for each in exact)
    precision = max(each[0] - each[1] for each in exact) + scale
    if precision > 76:
        return pa.float64()
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _timestamp(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The timestamps that hold both types: in microseconds if one has nanoseconds, which end in 2262."""
    units = {type_.unit if pa.types.is_timestamp(type_) else "s" for type_ in (one, other)}
    unit = "us" if "ns" in units else max(units, key=["s", "ms", "us"].index)
    if family_of(one) == "date":
        return pa.timestamp("ms" if unit == "s" and pa.date64() in (one, other) else unit)
    return pa.timestamp(unit, one.tz if one.tz == other.tz else "UTC")


def common_schema(sources: Sequence[Source]) -> Common:
    """The columns that all sources have, in the first one's order.

    A source that is known to have no rows has no say. A column that is text in a CSV file has no type of its own, and
    takes that of the other files.
    """
    voters = _different([source for source in sources if source.n_rows != 0] or list(sources))
    columns: dict[str, list[tuple[pa.DataType, Source]]] = {}
    for source in voters:
        for field in source.schema:
            columns.setdefault(field.name, []).append((field.type, source))
    types: dict[str, pa.DataType] = {}
    odd: dict[str, str] = {}
    untyped = set()
    for name, found in columns.items():
        owners = [id(source) for _, source in found]
        lacking = next((source.name for source in voters if id(source) not in {*owners}), None)
        if len({*owners}) < len(owners):
            twice = next(source.name for _, source in found if owners.count(id(source)) > 1)
            odd[name] = f"More than one column is called {name!r} in {twice}."
        elif lacking is not None:
            odd[name] = f"{found[0][1].name} has a column {name!r} that {lacking} doesn't have."
        else:
            typed = [each for each in found if name not in each[1].untyped and not pa.types.is_null(each[0])]
            merged = _merged(typed or found)
            if isinstance(merged, str):
                odd[name] = f"Column {name!r} is {merged}."
                continue
            types[name] = merged
            if not typed and not pa.types.is_null(merged):
                untyped.add(name)
    return Common(pa.schema(types.items()), odd, frozenset(untyped))


def _different(sources: Sequence[Source]) -> list[Source]:
    """One source for each of the schemas."""
    found: list[Source] = []
    for source in sources:
        # Comparing with a few of them is enough: what matters is that a thousand files with one schema count once.
        if not any(source.untyped == each.untyped and source.schema.equals(each.schema) for each in found[-8:]):
            found.append(source)
    return found


def _merged(found: Sequence[tuple[pa.DataType, Source]]) -> pa.DataType | str:
    """The type that all of a column's types can become, or in words two types that have none."""
    (type_, first), *others = found
    for other, source in others:
        merged = promoted(type_, other)
        if merged is None:
            return f"{other} in {source.name}, but {type_} in {first.name}"
        type_ = merged
    return type_
