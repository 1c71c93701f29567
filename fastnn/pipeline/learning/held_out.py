"""Which rows are held out: this depends on the seed and on a row's position or id, and on nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.kernels.equations.shuffle import mix, random_bits
from fastnn.pipeline.columns.arrow import to_numpy
from fastnn.pipeline.columns.schema import DataError


@dataclass(frozen=True)
class HeldOut:
    """A share of the rows, drawn by hash: the same rows are drawn from every source, in any order of reading.

    Parameters
    ----------
    share : float
        The share of the rows, or of the ids, that are held out, from 0 to 1.
    seed : int
        The seed of the draw.
    column : str, optional
        A column of ids: rows with the same id are held out together. By default rows are drawn by their position.
    share_measured : float
        The share of the held-out rows that the model is measured on, from 0 to 1. One id may have more rows than fit
        into memory.
    """

    share: float
    seed: int
    column: str | None = None
    share_measured: float = 1.0

    def among(self, batch: pa.RecordBatch, first: int) -> NDArray[np.bool_]:
        """Which rows of a batch are held out; `first` is the position of its first row in the source."""
        if self.column is None:
            keys = np.arange(first, first + batch.num_rows, dtype=np.uint64)
        else:
            keys = _keys_of(batch.column(self.column))
        return _drawn(self.share, self.seed, keys)

    def measured(self, held_out: NDArray[np.bool_], first: int) -> NDArray[np.bool_]:
        """Which of the held-out rows the model is measured on."""
        if self.share_measured >= 1:
            return held_out
        positions = np.arange(first, first + len(held_out), dtype=np.uint64)
        return held_out & _drawn(self.share_measured, self.seed, positions)


def _drawn(share: float, seed: int, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    uniform = random_bits(mix(np.array([seed], np.uint64)), keys) >> np.uint64(11)
    chosen: NDArray[np.bool_] = uniform < np.uint64(round(share * 2**53))
    return chosen


def _keys_of(ids: pa.Array) -> NDArray[np.uint64]:
    """A number for each id. Equal ids have equal numbers, whichever type of integers or of strings they have."""
    if not pa.types.is_dictionary(ids.type):
        try:
            ids = ids.dictionary_encode(null_encoding="encode")
        except pa.ArrowNotImplementedError:
            raise DataError(f"Rows can't be held out by a column of {ids.type}.") from None
    distinct = [_key_of(value) for value in ids.dictionary.to_pylist()]
    keys = np.array([*distinct, _key_of(None)], np.uint64)
    of_each: NDArray[np.uint64] = keys[to_numpy(ids.indices.cast(pa.int64()).fill_null(len(distinct)))]
    return of_each


def _key_of(value: object) -> int:
    return int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=8).digest(), "little")
