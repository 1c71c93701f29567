"""Tables in memory and on the disk, as the tests want them: what is learnt of one, and what a path holds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.options import column_options
from fastnn.pipeline.columns.schema import Schema
from fastnn.pipeline.columns.statistics import TableStatistics
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.learning.reading import AS_IT_IS
from fastnn.pipeline.learning.typed import Typed, WidenedError


def statistics_of(
    table: pa.Table, rows: int | None = None, options: Mapping[str, Any] | None = None, n_bins: int = 0
) -> TableStatistics:
    """The statistics of all of a table's rows, which are taken in batches of at most `rows`."""
    said = column_options(options or {})
    statistics, row = TableStatistics(Schema.infer(table.schema, options=said), said, n_bins), 0
    for batch in table.combine_chunks().to_batches(rows):
        statistics.update(batch, row)
        row += batch.num_rows
    return statistics


def learnt(table: pa.Table, options: Mapping[str, Any] | None = None, n_bins: int = 0) -> Preprocessor:
    """The preprocessing that a table teaches."""
    return statistics_of(table, options=options, n_bins=n_bins).finish()


def typed(source: Source, **reading: Any) -> Typed:
    """A source in which the text of CSV files has the types that it spells."""
    return Typed(source, source.schema.names, replace(AS_IT_IS, **reading))


def read_table(data: Any, **reading: Any) -> pa.Table:
    """All rows of what a path or a pattern stands for."""
    source = typed(open_source(data, reading.get("dialect", AS_IT_IS.dialect)), **reading)
    while True:
        try:
            return pa.Table.from_batches(source.batches(), source.schema)
        except WidenedError:
            continue
