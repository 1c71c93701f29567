"""The one pass over a source that learns the columns and the target, and sets aside the rows that are held out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from fastnn.pipeline.columns.arrow import to_arrow
from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.columns.statistics import BLOCK_ROWS, TableStatistics
from fastnn.pipeline.columns.targets import Target, TargetLearner
from fastnn.pipeline.io.overlap import read_ahead
from fastnn.pipeline.io.rebatch import rebatch
from fastnn.pipeline.io.source import at_its_place
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.parts import TrainingRows
from fastnn.pipeline.learning.typed import Typed
from fastnn.pipeline.learning.weights import Weighing, weights_of


@dataclass(frozen=True)
class Survey:
    """What one pass over a source finds: the rows to train on, what was learnt, the rows to measure the model on."""

    rows: TrainingRows
    n_train: int
    target: Target
    weighing: Weighing
    preprocessor: Preprocessor
    held_out: pa.Table


def survey(
    source: Typed,
    held_out: HeldOut,
    statistics: TableStatistics,
    target: TargetLearner,
    weights: str | None,
    advance: Callable[[int], object],
) -> Survey:
    """Read a source once: `statistics` learns the columns, `target` what is to be predicted; `weights` is the
    column of the rows' weights.

    `advance` is called with the number of rows read since the last call.

    Raises a DataError if a column or the target can't be used, or if no row is left to train on or to hold out.
    """
    by = [name for name in (held_out.column, weights) if name is not None]
    wanted = list(dict.fromkeys([*statistics.schema.names(), *target.names, *by]))
    kept, first, n_held_out, total = [], 0, 0, 0.0
    with at_its_place(source), closing(read_ahead(source.batches(wanted))) as read:
        # Blocks of the same rows from every source give the same sums.
        for block in rebatch(read, BLOCK_ROWS):
            chosen = held_out.among(block, first)
            weight = None if weights is None else weights_of(block, weights, first)
            target.update(block, ~chosen, weight)
            statistics.update(block, first, ~chosen, weight)
            total += 0.0 if weight is None else float(weight[~chosen].sum())
            n_held_out += int(chosen.sum())
            measured = held_out.measured(chosen, first)
            if measured.any():
                kept.append(pa.Table.from_batches([block.filter(to_arrow(measured))]))
            first += block.num_rows
            advance(block.num_rows)
    if weights is not None and not total:
        raise DataError(f"The weights {weights!r} of all rows to train on are 0.")
    with at_its_place(source):
        known = target.finish()
    if held_out.share and (not kept or n_held_out == first):
        way = "" if held_out.column is None else f" by {held_out.column!r}"
        raise DataError(
            f"Holding out {held_out.share:g} of {first} rows{way} leaves none for "
            f"{'training' if kept else 'validation'}. Train on all of them: --validation 0"
        )
    return Survey(
        # A source knows the number of each block's rows when all are read.
        rows=TrainingRows(source, tuple(rows or 0 for rows in source.block_rows), held_out),
        n_train=first - n_held_out,
        target=known,
        weighing=Weighing(weights, target.factors(known)),
        preprocessor=statistics.finish(),
        # A block with more than 2 GB of text has large strings, others haven't.
        held_out=pa.concat_tables(kept, promote_options="permissive") if kept else pa.table({}),
    )
