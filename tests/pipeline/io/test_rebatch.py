"""Batches of another size have the same rows, however the rows were divided before."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from fastnn.pipeline.io import rebatch as module
from fastnn.pipeline.io.rebatch import coalesce, rebatch

SCHEMA = pa.schema([("i", pa.int64())])


@pytest.mark.parametrize("cuts", [[10], [1] * 10, [3, 0, 4, 3], [0, 0, 9, 1], []])
@pytest.mark.parametrize("rows", [1, 3, 4, 10, 100])
def test_the_result_does_not_depend_on_how_the_rows_were_divided(cuts, rows):
    n = sum(cuts)
    table = pa.table({"i": pa.array(range(n), pa.int64()), "t": pa.array([str(i) for i in range(n)], pa.string())})
    batches, start = [], 0
    for length in cuts:
        encoded = table.slice(start, length).set_column(1, "t", table["t"].slice(start, length).dictionary_encode())
        batches += encoded.to_batches() if length else [pa.RecordBatch.from_pylist([], encoded.schema)]
        start += length
    blocks = list(rebatch(batches, rows))
    assert [block.num_rows for block in blocks] == [rows] * (n // rows) + [n % rows] * (n % rows > 0)
    assert [i for block in blocks for i in block["i"].to_pylist()] == list(range(n))
    assert [t for block in blocks for t in block["t"].to_pylist()] == [str(i) for i in range(n)]


def test_no_row_is_lost_where_text_is_too_much_for_one_column(monkeypatch):
    """Where a column's text is too long for one array, Arrow itself would leave several chunks."""
    monkeypatch.setattr(module, "MOST_TEXT_BYTES", 5000)
    words = pa.array([None if i % 7 == 0 else str(i) * 10 for i in range(300)])
    table = pa.table(
        {
            "t": words,
            "b": words.cast(pa.binary()),
            "l": words.cast(pa.large_string()),
            "few": pa.array(["x", None, ""] * 100),
            "i": range(300),
        }
    )
    blocks = list(rebatch(table.to_batches(max_chunksize=7), 250))
    assert [block.num_rows for block in blocks] == [250, 50]
    wide = [pa.large_string(), pa.large_binary(), pa.large_string(), pa.string(), pa.int64()]
    assert [block.schema.types for block in blocks] == [wide, table.schema.types]
    assert [row for block in blocks for row in block.to_pylist()] == table.to_pylist()


@pytest.mark.parametrize("sizes", [[3] * 50, [40_000, 1, 2, 40_000, 5], [32_768, 1], [1], [], [20_000, 20_000, 5]])
def test_coalesce_joins_small_neighbours_of_one_schema(sizes):
    ends = np.cumsum([0, *sizes]).tolist()
    batches = [pa.record_batch({"i": range(*here)}) for here in pairwise(ends)]
    other = [pa.record_batch({"i": pa.array([7, 8], pa.int32())})]
    found = list(coalesce([*batches, *other, *batches[:1]]))
    assert pa.concat_tables([pa.Table.from_batches([batch]).cast(SCHEMA) for batch in found]) == pa.concat_tables(
        [pa.Table.from_batches([batch]).cast(SCHEMA) for batch in (*batches, *other, *batches[:1])]
    )
    assert len(found) <= sum(sizes) // 16_384 + 3 and {batch.schema.types[0] for batch in found} >= {pa.int32()}
    assert all(batch.num_rows <= max(32_768, *sizes, 0) for batch in found)


def test_coalesce_keeps_long_texts_apart():
    batches = [pa.record_batch({"t": ["x" * (40 << 20)]})] * 3
    assert [batch.num_rows for batch in coalesce(batches)] == [1, 1, 1]
