"""A uniform sample of a table's rows, which medians, bins and the measure of drift come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import Array
from fastnn.kernels.equations.shuffle import random_bits

SAMPLE_ROWS = 65_536
# The numbers in a sample take at most 32 MB, but a sample has room for at least this many rows.
_SAMPLE_NUMBERS, _FEW_ROWS = 1 << 22, 4096
# The sample's own key, so that its hashes are independent of a seed's split and shuffle.
_SAMPLE_KEY = np.uint64(0x5A6D_706C_652D_726F)

Float64 = NDArray[np.float64]


class RowSample:
    """A uniform sample of rows: those whose positions in the whole data have the smallest hashes.

    The sample is the same however the rows are divided into batches and in whatever order these come, and samples of
    parts of the data can be merged. If the data has no more rows than the sample's size, the sample has all of them.

    Parameters
    ----------
    n_columns : int
        The number of values in a row.
    n_more : int
        The number of further values, which don't count where the sample's size is chosen.
    """

    def __init__(self, n_columns: int, n_more: int = 0) -> None:
        self.size = min(SAMPLE_ROWS, max(_FEW_ROWS, _SAMPLE_NUMBERS // max(1, n_columns)))
        n_columns += n_more
        self._hashes = [np.zeros(0, np.uint64)]
        self._values = [np.zeros((n_columns, 0))]
        self._highest: np.uint64 | None = None  # the highest hash in a full sample

    def select(
        self, n_rows: int, first_row: int, keep: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], Array]:
        """The rows of a batch that may belong to the sample, and their hashes."""
        hashes = random_bits(_SAMPLE_KEY, np.arange(first_row, first_row + n_rows, dtype=np.uint64))
        wanted = np.ones(n_rows, np.bool_) if keep is None else keep
        if self._highest is not None:
            wanted = wanted & (hashes < self._highest)
        rows = np.flatnonzero(wanted)
        if len(rows) > self.size:
            rows = rows[hashes[rows] <= np.partition(hashes[rows], self.size - 1)[self.size - 1]]
        return rows, hashes[rows]

    def add(self, hashes: Array, values: Float64) -> None:
        """Add selected rows, given their hashes and their values of shape (n_columns, n)."""
        if not len(hashes):
            return
        self._hashes.append(hashes)
        self._values.append(values)
        if sum(map(len, self._hashes)) > 2 * self.size:
            self._settle()

    def merge(self, other: RowSample) -> None:
        """Add another sample, which is one of other rows."""
        other._settle()
        self.add(other._hashes[0], other._values[0])

    def values(self) -> Float64:
        """The sampled values, shape (n_columns, n), in no particular order."""
        self._settle()
        return self._values[0]

    def _settle(self) -> None:
        hashes = np.concatenate(self._hashes)
        if len(hashes) >= self.size:
            self._highest = np.partition(hashes, self.size - 1)[self.size - 1]
            kept = np.flatnonzero(hashes <= self._highest)  # all hashes differ, since the hash is a permutation
        else:
            kept = np.arange(len(hashes))
        values = np.empty((len(self._values[0]), len(kept)))
        for column, row in enumerate(values):  # one by one, which takes less memory
            np.concatenate([part[column] for part in self._values]).take(kept, out=row)
        self._hashes, self._values = [hashes[kept]], [values]
