"""The files that a model reads: opened, checked against its columns, and with how their text is to be parsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import pyarrow as pa

from fastnn.pipeline.columns.options import Dialect
from fastnn.pipeline.columns.schema import Schema, SchemaError
from fastnn.pipeline.columns.text import Spelling, Spellings, best_type, is_spelt, parsed_schema, spellings_of
from fastnn.pipeline.io.formats import File
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.io.typed import keep_text


def open_for(
    schema: Schema,
    data: Sequence[str],
    dialect: Dialect | None = None,
    *,
    keep: Collection[str] = (),
    further: Mapping[str, Sequence[pa.DataType]] | None = None,
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
    further : mapping of str to sequence of pyarrow.DataType, optional
        Further columns, such as the target, and what their text may stand for: the first rows tell which.

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
    source = open_source(list(data), schema.dialect, type_folders=False)
    odd = [source.odd[name] for name in schema.names() if name in source.odd]
    if odd:
        raise SchemaError(f"The data doesn't match the model: {odd[0]}")
    schema.check(parsed_schema(source.schema, {name: spellings[name] for name in spellings if name in source.untyped}))
    _check_folders(source, schema, spellings)
    for name, types in (further or {}).items():
        spelling = Spelling(types[0], schema.dialect.missing, schema.dialect.strip, schema.dialect.decimal)
        spellings[name] = spelling._replace(type=_first_type(source, name, types, spelling))
    keep_text(source, [name for name in keep if name in source.schema.names])
    return source, spellings


def _first_type(source: Source, name: str, types: Sequence[pa.DataType], spelling: Spelling) -> pa.DataType:
    """The type that the text of a column's first rows has."""
    source.check_columns([name])
    if len(types) == 1 or not is_spelt(source.schema.field(name).type):
        return types[0]
    with closing(source.batches([name])) as batches:
        first = next(batches, None)
    return types[0] if first is None else best_type(types, first.column(name), spelling)


def _check_folders(source: Source, schema: Schema, spellings: Spellings) -> None:
    """Raise a SchemaError if a folder's name has a value that isn't one of the model's column."""
    texts: dict[str, set[str | None]] = {}
    for part in source.parts:
        for name, value in part.partition.items() if isinstance(part, File) else ():
            texts.setdefault(name, set()).add(value.as_py())
    for column in schema.columns:
        if column.name in texts and column.name in spellings:
            ordered = pa.array(sorted(texts[column.name], key=str), pa.string())
            unparsable = spellings[column.name].values(ordered)[1]
            if unparsable:
                raise SchemaError(
                    f"The data doesn't match the model: a folder is called {column.name}={ordered[unparsable[0]]}, but "
                    f"column {column.name!r} was {column.type} in training."
                )
