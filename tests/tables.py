"""What a pass over a table in memory learns of its columns."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.options import column_options
from fastnn.pipeline.columns.schema import Schema
from fastnn.pipeline.columns.statistics import TableStatistics


def statistics_of(
    table: pa.Table, rows: int | None = None, options: Mapping[str, Any] | None = None
) -> TableStatistics:
    """The statistics of all of a table's rows, which are taken in batches of at most `rows`."""
    said = column_options(options or {})
    statistics, row = TableStatistics(Schema.infer(table.schema, options=said), said), 0
    for batch in table.combine_chunks().to_batches(rows):
        statistics.update(batch, row)
        row += batch.num_rows
    return statistics


def learnt(table: pa.Table, options: Mapping[str, Any] | None = None) -> Preprocessor:
    """The preprocessing that a table teaches."""
    return statistics_of(table, options=options).finish()
