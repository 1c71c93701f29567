"""Numbers, dates and booleans that arrive as text from a CSV file.

A model's columns are parsed batch by batch, so that a value that can't be parsed spoils one row and not the whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from fastnn.pipeline.columns.arrow import strings_to_arrow
from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError, family_of, is_text
from fastnn.pipeline.io.formats import Csv
from fastnn.pipeline.io.opening import Files, open_source
from fastnn.pipeline.io.source import Source

# The ways in which CSV spells a missing value.
_NO_VALUE = strings_to_arrow(pyarrow.csv.ConvertOptions().null_values)
_TYPES: dict[str, Callable[[str], pa.DataType]] = {
    "number": lambda unit: pa.float64(),
    "boolean": lambda unit: pa.bool_(),
    "date": pa.timestamp,
    "instant": lambda unit: pa.timestamp(unit, "UTC"),
    "time": pa.time64,
}


def open_for(schema: Schema, data: Sequence[str], text: Collection[str] = ()) -> tuple[Source, dict[str, pa.DataType]]:
    """Open files for a model. The model's columns of CSV files come as text, which `parse` parses batch by batch.

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
        The rows.
    spelt : dict of str to pyarrow.DataType
        For each column that comes as text, the type into which `parse` is to convert it.

    Raises
    ------
    DataError
        If a file can't be read.
    SchemaError
        If the columns don't match the model's.
    """
    source = open_source(list(data), text={*text, *schema.text_names})
    files = [part for part in source.parts if isinstance(part, Csv)]
    if not files:
        return source, {}
    spelt = _spelt_types(schema, source.schema)
    schema.check(parsed_schema(source.schema, spelt))
    for file in files:
        file.read_as_text(spelt)
    if isinstance(source, Files):
        source.unify()
    return source, spelt


def _spelt_types(schema: Schema, found: pa.Schema) -> dict[str, pa.DataType]:
    """The types of all columns except those of strings, given the types that Arrow inferred from the file's values."""
    types = {}
    for column in schema.columns:
        number = found.get_field_index(column.name)
        if column.family != "text" and number >= 0:
            type_ = found.field(number).type
            # Only the file tells how exact its dates and times are. If a value isn't a date, the inferred type is text.
            exact = column.family not in ("number", "boolean") and family_of(type_) == column.family
            unit = "ns" if "[ns" in column.type else "us"
            types[column.name] = type_ if exact else _TYPES[column.family](unit)
            if column.family == "number" and column.kind == "category":  # an identifier, of which every digit counts
                types[column.name] = pa.uint64() if "uint64" in column.type else pa.int64()
    return types


def parsed_schema(table: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema that a table has after parsing."""
    return pa.schema(
        field.with_type(types[field.name]) if field.name in types and is_text(field.type) else field for field in table
    )


def parse(
    batch: pa.RecordBatch, types: Mapping[str, pa.DataType], bad: NDArray[np.bool_] | None, first_row: int = 0
) -> pa.RecordBatch:
    """Convert a batch's text columns into the values that the text spells.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The rows.
    types : mapping of str to pyarrow.DataType
        The types of the columns to parse. Columns that aren't text stay as they are.
    bad : ndarray of bool, shape (n,), or None
        Set to True for rows with a value that can't be parsed. The value becomes null.
    first_row : int
        The number of rows before this batch, for messages.

    Raises
    ------
    SchemaError
        If no value of a column can be parsed, the batch is the first one, and `bad` is None: the column must hold
        something else than in training.
    DataError
        If a value can't be parsed and `bad` is None. The message names column, value and row.
    """
    for number, field in enumerate(batch.schema):
        name, type_ = field.name, types.get(field.name)
        if type_ is None or not is_text(field.type):
            continue
        text = pc.utf8_trim_whitespace(batch.column(number))
        text = pc.if_else(pc.is_in(text, value_set=_NO_VALUE.cast(text.type)), pa.scalar(None, text.type), text)
        values, unparsable = _cast(text, type_)
        if unparsable:
            if bad is None:
                if first_row == 0 and len(unparsable) == len(text) - text.null_count:
                    raise SchemaError(
                        f"The data doesn't match the model: column {name!r} is string, but was {type_} in training."
                    )
                value = batch.column(number)[unparsable[0]].as_py()
                raise DataError(
                    f"Row {first_row + unparsable[0] + 1}: column {name!r} holds {value!r}, which is no {type_}."
                )
            bad[unparsable] = True
        batch = batch.set_column(number, pa.field(name, type_), values)
    return batch


def _cast(text: pa.Array, type_: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values that the text spells, and the positions of those that can't be parsed and have become null."""
    try:
        if pa.types.is_time(type_):  # since Arrow parses timestamps but no times of day
            return pc.binary_join_element_wise("1970-01-01", text, " ").cast(pa.timestamp(type_.unit)).cast(type_), []
        if pa.types.is_integer(type_):  # including 3.0, which pandas writes in a column with missing values
            return text.cast(pa.decimal128(38, 0)).cast(type_), []
        return text.cast(type_), []
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, type_), [0]
    half = len(text) // 2
    first, unparsable = _cast(text[:half], type_)
    second, more = _cast(text[half:], type_)
    return pa.concat_arrays([first, second]), [*unparsable, *(half + position for position in more)]
