"""Numbers that arrive as text, as a CSV file spells them, read value by value: one that is no number costs one row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from fastnn.pipeline.columns.arrays import words_of
from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError, family_of
from fastnn.pipeline.io.formats import Csv
from fastnn.pipeline.io.sources import Source, open_source

# How CSV spells that there is no value.
_NO_VALUE = words_of(pyarrow.csv.ConvertOptions().null_values)
_TYPES: dict[str, Callable[[str], pa.DataType]] = {
    "number": lambda unit: pa.float64(),
    "boolean": lambda unit: pa.bool_(),
    "date": pa.timestamp,
    "instant": lambda unit: pa.timestamp(unit, "UTC"),
    "time": pa.time64,
}


def open_for(schema: Schema, data: Sequence[str], text: Collection[str] = ()) -> tuple[Source, dict[str, pa.DataType]]:
    """Open files for a model: of CSV the model's columns are text, to be parsed batch by batch.

    Parameters
    ----------
    schema : Schema
        The model's columns.
    data : sequence of str
        Files, folders and patterns.
    text : collection of str
        Further columns of CSV files that are to stay text.

    Returns
    -------
    source : Source
    spelt : dict of str to pyarrow.DataType
        What `parse` is to make of the text.

    Raises
    ------
    DataError
        If something can't be read.
    SchemaError
        If the columns aren't the model's.
    """
    text = {*text, *schema.text_names}
    source = open_source(list(data), text=text)
    if not any(isinstance(part, Csv) for part in source.parts):
        return source, {}
    spelt = _spelt_types(schema, source.schema)
    schema.check(parsed_schema(source.schema, spelt))
    return open_source(list(data), text=text | spelt.keys()), spelt


def _spelt_types(schema: Schema, found: pa.Schema) -> dict[str, pa.DataType]:
    """The types of all columns but those of strings, given the types that the file's values suggest."""
    types = {}
    for column in schema.columns:
        place = found.get_field_index(column.name)
        if column.family != "text" and place >= 0:
            type_ = found.field(place).type
            # How exact dates and times are only the file knows; where one is no date, it says that all are text.
            exact = column.family not in ("number", "boolean") and family_of(type_) == column.family
            unit = "ns" if "[ns" in column.type else "us"
            types[column.name] = type_ if exact else _TYPES[column.family](unit)
            if column.family == "number" and column.kind == "category":  # a name, each digit of which counts
                types[column.name] = pa.uint64() if "uint64" in column.type else pa.int64()
    return types


def parsed_schema(table: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema that a table has when it is parsed."""
    return pa.schema(
        field.with_type(types[field.name]) if field.name in types and _is_text(field.type) else field for field in table
    )


def parse(
    batch: pa.RecordBatch, types: Mapping[str, pa.DataType], bad: NDArray[np.bool_] | None, first_row: int = 0
) -> pa.RecordBatch:
    """A batch whose text columns have become what they spell.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    types : mapping of str to pyarrow.DataType
        The columns to parse, where they are text, and what they become.
    bad : ndarray of bool, shape (n,), or None
        Becomes True for rows with a value that can't be parsed; such a value becomes null.
    first_row : int
        The number of rows before this batch, for messages.

    Raises
    ------
    SchemaError
        If no value of a column can be parsed, these are the first rows, and there is no `bad`: the column is something
        else.
    DataError
        If a value can't be parsed and there is no `bad`; the message names column, value and row.
    """
    for place, field in enumerate(batch.schema):
        name, type_ = field.name, types.get(field.name)
        if type_ is None or not _is_text(field.type):
            continue
        text = pc.utf8_trim_whitespace(batch.column(place))
        text = pc.if_else(pc.is_in(text, value_set=_NO_VALUE.cast(text.type)), pa.scalar(None, text.type), text)
        values, strange = _cast(text, type_)
        if strange:
            if bad is None:
                if first_row == 0 and len(strange) == len(text) - text.null_count:
                    raise SchemaError(
                        f"The data doesn't match the model: column {name!r} is string, but was {type_} in training."
                    )
                value = batch.column(place)[strange[0]].as_py()
                raise DataError(
                    f"Row {first_row + strange[0] + 1}: column {name!r} holds {value!r}, which is no {type_}."
                )
            bad[strange] = True
        batch = batch.set_column(place, pa.field(name, type_), values)
    return batch


def _cast(text: pa.Array, type_: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values, and the positions of those that aren't of the type and have become null."""
    try:
        if pa.types.is_time(type_):  # Arrow parses timestamps, but no times of day
            return pc.binary_join_element_wise("1970-01-01", text, " ").cast(pa.timestamp(type_.unit)).cast(type_), []
        if pa.types.is_integer(type_):  # 3.0 is one too, as pandas writes it in a column with holes
            return text.cast(pa.decimal128(38, 0)).cast(type_), []
        return text.cast(type_), []
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, type_), [0]
    half = len(text) // 2
    first, strange = _cast(text[:half], type_)
    second, more = _cast(text[half:], type_)
    return pa.concat_arrays([first, second]), [*strange, *(half + position for position in more)]


def _is_text(type_: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))
