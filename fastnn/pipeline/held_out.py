"""Which rows are held out: a function of the seed and of a row's position, or of its id, and of nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.kernels.shuffle import mix, random_bits


@dataclass(frozen=True)
class HeldOut:
    """A share of the rows, drawn by hash: the same ones from any source, in any order of reading.

    Parameters
    ----------
    share : float
        From 0 to 1.
    seed : int
    column : str, optional
        A column of ids: rows of one id are held out together. By default the row's position counts.
    """

    share: float
    seed: int
    column: str | None = None

    def among(self, batch: pa.RecordBatch, first: int) -> NDArray[np.bool_]:
        """Which rows of a batch are held out, the position of whose first row is `first`."""
        if self.column is None:
            keys = np.arange(first, first + batch.num_rows, dtype=np.uint64)
        else:
            keys = _keys_of(batch.column(self.column))
        uniform = random_bits(mix(np.array([self.seed], np.uint64)), keys) >> np.uint64(11)
        chosen: NDArray[np.bool_] = uniform < np.uint64(round(self.share * 2**53))
        return chosen


def _keys_of(ids: pa.Array) -> NDArray[np.uint64]:
    """A number for each id, the same for equal ids, be they integers of one type or another, or strings of one."""
    if not pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_encode(null_encoding="encode")
    distinct = [_key_of(value) for value in ids.dictionary.to_pylist()]
    keys = np.array([*distinct, _key_of(None)], np.uint64)
    of_each: NDArray[np.uint64] = keys[ids.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)]
    return of_each


def _key_of(value: object) -> int:
    return int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=8).digest(), "little")
