"""The same rows in batches of another size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

# Strings and binary values have 32-bit offsets, so that one array holds 2 GB of them; the large types have 64-bit ones.
MOST_TEXT_BYTES = 2**31 - 1
LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def rebatch(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows` rows; only the last batch may be shorter.

    The result doesn't depend on how the input was divided into batches. In a batch with more than 2 GB of text, a
    string column becomes large_string and a binary column large_binary.
    """
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        start = 0
        while n_waiting + batch.num_rows - start >= rows:
            stop = start + rows - n_waiting
            yield _joined([*waiting, batch.slice(start, stop - start)])
            waiting, n_waiting, start = [], 0, stop
        if start < batch.num_rows:
            waiting.append(batch.slice(start))
            n_waiting += batch.num_rows - start
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches)
    for number, field in enumerate(table.schema):
        large = LARGE.get(field.type)
        if large is not None and table.column(number).nbytes > MOST_TEXT_BYTES:
            table = table.set_column(number, field.with_type(large), table.column(number).cast(large))
    # One chunk for each column: Arrow would make several of a column that doesn't fit into one.
    (joined,) = table.combine_chunks().to_batches()
    return joined
