"""The one pass over a source that learns the columns and the classes, and sets aside the rows that are held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastnn.pipeline.columns.arrow import to_arrow
from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.labels import ClassLearner
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.columns.statistics import BLOCK_ROWS, TableStatistics
from fastnn.pipeline.io.overlap import read_ahead
from fastnn.pipeline.io.rebatch import rebatch
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.parts import TrainingRows


@dataclass(frozen=True)
class Survey:
    """What one pass over a source finds: the rows to train on, what was learnt, the rows to measure the model on."""

    rows: TrainingRows
    n_train: int
    classes: np.ndarray
    preprocessor: Preprocessor
    held_out: pa.Table


def survey(
    source: Source,
    held_out: HeldOut,
    statistics: TableStatistics,
    classes: ClassLearner,
    advance: Callable[[int], object],
) -> Survey:
    """Read a source once: `statistics` learns the columns, `classes` the target.

    `advance` is called with the number of rows read since the last call.

    Raises a DataError if a column or the target can't be used, or if no row is left to train on or to hold out.
    """
    by = [] if held_out.column is None else [held_out.column]
    block_rows = [rows or 0 for rows in source.block_rows]
    kept, first, n_held_out = [], 0, 0
    with closing(read_ahead(_batches(source, [*statistics.schema.names(), classes.name, *by], block_rows))) as read:
        # Blocks of the same rows from every source give the same sums.
        for block in rebatch(read, BLOCK_ROWS):
            classes.update(block.column(classes.name))
            chosen = held_out.among(block, first)
            statistics.update(block, first, ~chosen)
            n_held_out += int(chosen.sum())
            measured = held_out.measured(chosen, first)
            if measured.any():
                kept.append(pa.Table.from_batches([block.filter(to_arrow(measured))]))
            first += block.num_rows
            advance(block.num_rows)
    known = classes.finish()
    if held_out.share and (not kept or n_held_out == first):
        way = "" if held_out.column is None else f" by {held_out.column!r}"
        raise DataError(
            f"Holding out {held_out.share:g} of {first} rows{way} leaves none for "
            f"{'training' if kept else 'validation'}. Train on all of them: --validation 0"
        )
    return Survey(
        rows=TrainingRows(source, tuple(block_rows), held_out),
        n_train=first - n_held_out,
        classes=known,
        preprocessor=statistics.finish(),
        # A block with more than 2 GB of text has large strings, others haven't.
        held_out=pa.concat_tables(kept, promote_options="permissive") if kept else pa.table({}),
    )


def _batches(source: Source, columns: list[str], block_rows: list[int]) -> Iterator[pa.RecordBatch]:
    """A source's rows; `block_rows` becomes the number of rows of each block, where only reading the block tells."""
    if None not in source.block_rows:
        yield from source.batches(columns)
        return
    for block in range(source.n_blocks):
        block_rows[block] = 0
        for batch in source.batches(columns, [block]):
            block_rows[block] += batch.num_rows
            yield batch
