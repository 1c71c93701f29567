"""Training samples that don't fit into memory, made from a source part by part.

Each epoch reads the source's blocks in another order and fills one buffer after another. Each buffer is shuffled as a
whole. While the network learns from one buffer, a thread fills the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from fastnn.kernels.equations.shuffle import mix, random_bits
from fastnn.network.samples import Checked, Parts
from fastnn.pipeline.columns.arrow import to_arrow
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.overlap import read_ahead
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.weights import UNWEIGHTED, Weighing
from fastnn.pipeline.model import Model

# Neighbouring blocks of a file are read together until they have this many rows, since each reading opens the file.
# For a million rows in row groups of a thousand, reading each group by itself took 10 s instead of 0.1.
_LEAST_RUN = 32_768


@dataclass(frozen=True)
class TrainingRows:
    """The rows to train on: those of a source that aren't held out.

    Parameters
    ----------
    source : Source
        All rows.
    block_rows : tuple of int
        How many rows each of the source's blocks has.
    held_out : HeldOut
        Which rows are held out.
    """

    source: Source
    block_rows: tuple[int, ...]
    held_out: HeldOut

    def runs(self) -> Iterator[range]:
        """Groups of neighbouring blocks of a file, each with enough rows to be worth an opening of the file."""
        block = 0
        for part in self.source.parts:
            end = block + part.n_blocks
            first, rows = block, 0
            for block in range(first, end):
                rows += self.block_rows[block]
                if rows >= _LEAST_RUN or block == end - 1:
                    yield range(first, block + 1)
                    first, rows = block + 1, 0
            block = end

    def batches(self, columns: Sequence[str], runs: Iterable[range]) -> Iterator[pa.RecordBatch]:
        """The rows to train on among those of some groups of blocks, in this order."""
        starts = list(accumulate(self.block_rows, initial=0))
        by = self.held_out.column
        wanted = [*columns, *([by] if by is not None and by not in columns else [])]
        for run in runs:
            first = starts[run.start]
            for batch in self.source.batches(wanted, run):
                here, first = first, first + batch.num_rows
                if self.held_out.share:
                    yield batch.filter(to_arrow(~self.held_out.among(batch, here)))
                else:
                    yield batch


class StreamedSamples(Parts):
    """The samples of a model's training, in parts of at most `buffer_rows` rows.

    Parameters
    ----------
    model : Model
        The model in training, whose preprocessing makes the samples.
    rows : TrainingRows
        The rows that become samples.
    buffer_rows : int
        The most rows of a part.
    seed : int or None
        The seed of the order in which an epoch reads the blocks. With None each epoch reads them in the file's order.
    weighing : Weighing
        How much each row weighs.

    Attributes
    ----------
    advance : callable
        A function that is called with the number of rows of each part when the network has learnt from the part.
    """

    def __init__(
        self,
        model: Model,
        rows: TrainingRows,
        buffer_rows: int,
        seed: int | None,
        weighing: Weighing = UNWEIGHTED,
    ) -> None:
        self.model, self.rows, self.buffer_rows, self.seed = model, rows, buffer_rows, seed
        self.weighing = weighing
        self.advance: Callable[[int], object] = lambda rows: None
        self._runs = list(rows.runs())

    def parts(self, epoch: int) -> Generator[Checked, None, None]:
        """The samples of an epoch."""
        order = np.arange(len(self._runs))
        if self.seed is not None:
            key = mix(mix(np.array([self.seed], np.uint64)) + np.uint64(epoch))
            order = np.argsort(random_bits(key, order.astype(np.uint64)), kind="stable")
        self.rows.source.check_unchanged()
        with closing(read_ahead(self._filled([self._runs[i] for i in order.tolist()]), 1)) as parts:
            for part in parts:
                yield part
                self.advance(len(part.y))

    def all(self) -> Checked:
        """All samples, when the buffer has room for exactly these."""
        parts = list(self._filled(self._runs))
        if [len(part.y) for part in parts] != [self.buffer_rows]:
            raise DataError(f"{self.rows.source.name} was changed while it was read.")
        return parts[0]

    def fingerprint(self) -> str:
        """A SHA-256 of the rows that the samples are made from, and of how they are made."""
        facts = {
            "source": self.rows.source.fingerprint(),
            "target": self.model.learnt.described(),
            "held out": [self.rows.held_out.share, self.rows.held_out.column],
            "rows of a buffer": self.buffer_rows,
            "preprocessing": self.model.preprocessor.description(),
        }
        if self._weighted:  # which earlier versions' checkpoints didn't know
            facts["weights"] = self.weighing.described()
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for array in self.model.preprocessor.tensors().values():
            digest.update(array.tobytes())
        return digest.hexdigest()

    @property
    def _weighted(self) -> bool:
        return self.weighing.column is not None or self.weighing.of_classes is not None

    def _filled(self, runs: Iterable[range]) -> Iterator[Checked]:
        model, target = self.model, self.model.learnt
        columns = [*model.schema.names(), *target.names, *self.weighing.names]
        buffer = self._buffer()
        n = 0
        for batch in self.rows.batches(columns, runs):
            y = target.values(batch, model.network.dtype)
            weight = self.weighing.weights(batch, y)
            start = 0
            while start < batch.num_rows:
                count = min(batch.num_rows - start, self.buffer_rows - n)
                here = slice(n, n + count)
                model.preprocessor.transform(batch.slice(start, count), model.network.dtype, out=buffer.X[here])
                buffer.y[here] = y[start : start + count]
                if weight is not None:
                    buffer.sample_weight[here] = weight[start : start + count]
                n, start = n + count, start + count
                if n == self.buffer_rows:
                    yield buffer
                    buffer, n = self._buffer(), 0
        if n:
            yield Checked(buffer.X[:n], buffer.y[:n], buffer.sample_weight[:n])

    def _buffer(self) -> Checked:
        network = self.model.network
        X = np.empty((self.buffer_rows, network.n_features), network.dtype)
        if network.output == "softmax":
            y = np.empty(self.buffer_rows, np.int64)
        else:
            y = np.empty((self.buffer_rows, network.n_classes), network.dtype)
        return Checked(X, y, np.empty(self.buffer_rows if self._weighted else 0, network.dtype))
