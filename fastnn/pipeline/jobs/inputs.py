"""The files that a model reads: opened, checked against its columns, and with how their text is to be parsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from fastnn.pipeline.columns.options import Dialect
from fastnn.pipeline.columns.schema import Schema, SchemaError
from fastnn.pipeline.columns.text import Spelling, Spellings, parsed_schema, spellings_of
from fastnn.pipeline.io.formats import File
from fastnn.pipeline.io.opening import best_types, keep_text, open_source
from fastnn.pipeline.io.source import Source


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
        Columns that are copied. If some files are CSV files, those that the model doesn't read are text in all files.
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
    dialect = schema.dialect
    of_names = {name: pa.float64() not in types for name, types in (further or {}).items()}

    def spelling(name: str) -> Spelling:
        return Spelling(pa.string(), dialect.missing, dialect.strip, dialect.decimal, of_names[name])

    source.check_columns(of_names)
    for name, type_ in best_types(source, further or {}, spelling).items():
        spellings[name] = spelling(name)._replace(type=type_)
    # A column that is read, too, keeps its types: its text would be something else to the model.
    keep_text(source, [name for name in keep if name not in schema.names()])
    return source, spellings


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
