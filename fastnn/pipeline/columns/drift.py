"""The drift of new data: how far each column's distribution has moved from that in training.

Drift is measured by the population stability index ``sum((q - p) * ln(q / p))``, in which p and q are the shares of
training's rows and of new rows in each bin. It is the divergence of Kullback and Leibler (1951) in both directions, and
has been used for scorecards since Lewis (An Introduction to Credit Scoring, 1992). As usual, the bins are deciles;
missing values have a bin of their own. The common reading: below 0.1 nothing has moved, between 0.1 and 0.25 the
distribution has moved a little, and above 0.25 it has moved far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastnn.kernels.arrays import Array
from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.learnt import LearntColumn
from fastnn.pipeline.columns.sample import RowSample
from fastnn.pipeline.columns.values import take

# The smallest share that is used for a bin, because an empty bin would make the index infinite.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class ColumnDrift:
    """How far the distribution of column `name` has moved: `psi`, its population stability index, is at least 0."""

    name: str
    psi: float


class Drift:
    """Measures the drift of all columns on a uniform sample of the new rows.

    With a sample of 65,536 rows, chance alone makes an index of about 2e-4; with a thousand rows, of about 0.01.

    Parameters
    ----------
    preprocessor : Preprocessor
        The model's preprocessing, which has the shares of training's rows.
    """

    def __init__(self, preprocessor: Preprocessor) -> None:
        self._columns = preprocessor.columns
        self._sample = RowSample(len(self._columns))

    def update(self, batch: pa.RecordBatch, first_row: int) -> None:
        """Add rows.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Rows that the schema has checked.
        first_row : int
            The position of the batch's first row in the whole data. Positions decide which rows are sampled.
        """
        rows, hashes = self._sample.select(batch.num_rows, first_row)
        if len(rows):
            values = [column.values(take(batch.column(column.name), rows)) for column in self._columns]
            self._sample.add(hashes, np.array(values, np.float64))

    def report(self) -> list[ColumnDrift]:
        """The drift of each column, in the schema's order; 0 if there were no rows."""
        return [
            ColumnDrift(column.name, _index(column, values) if len(values) else 0.0)
            for column, values in zip(self._columns, self._sample.values(), strict=True)
        ]


def _index(column: LearntColumn, values: Array) -> float:
    p = np.maximum(column.shares, _LEAST_SHARE)
    q = np.maximum(np.bincount(column.bins(values), minlength=len(p)) / len(values), _LEAST_SHARE)
    return float(np.sum((q - p) * np.log(q / p)))
