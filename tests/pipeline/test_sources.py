"""Reading CSV and Parquet."""

import gzip
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastnn.pipeline.schema import DataError
from fastnn.pipeline.sources import in_blocks, read_table


def written(path, content: bytes):
    path.write_bytes(content)
    return path


def test_csv_types_are_inferred(tmp_path):
    path = written(
        tmp_path / "d.csv", b'n,x,t,b,q\n1,1.5,u,true,"two\nlines"\n,NA,,false,"a,b"\n3,nan,NA,,"say ""x"""\n'
    )
    table = read_table(path)
    assert [str(field.type) for field in table.schema] == ["int64", "double", "string", "bool", "string"]
    assert table.to_pydict() == {
        "n": [1, None, 3],
        "x": [1.5, None, None],
        "t": ["u", "", "NA"],
        "b": [True, False, None],
        "q": ["two\nlines", "a,b", 'say "x"'],
    }


def test_a_type_that_changes_late_in_the_file(tmp_path):
    lines = ["x,t", *["1,2"] * 400_000, "0.5,late"]  # well past Arrow's first block of a megabyte
    table = read_table(written(tmp_path / "d.csv", "\n".join(lines).encode()))
    assert [str(field.type) for field in table.schema] == ["double", "string"]
    assert table.num_rows == 400_001


def test_text_columns_keep_their_spelling(tmp_path):
    path = written(tmp_path / "d.csv", b"id,x\n007,1\n")
    assert read_table(path, text=["id", "absent"]).to_pydict() == {"id": ["007"], "x": [1]}


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa,b\r\n1,2\r\n", b"a,b\n1,2", b"a,b\n1,2\n\n"])
def test_dialects(tmp_path, content):
    assert read_table(written(tmp_path / "d.csv", content)).to_pydict() == {"a": [1], "b": [2]}


def test_compressed_csv(tmp_path):
    assert read_table(written(tmp_path / "d.csv.gz", gzip.compress(b"a\n1\n"))).to_pydict() == {"a": [1]}


def test_parquet_whatever_its_name(tmp_path):
    table = pa.table({"a": [1, 2, 3], "t": pa.array(["x", "y", "x"]).dictionary_encode(), "l": [[1], [], None]})
    pq.write_table(table, tmp_path / "d.data", row_group_size=1)
    assert read_table(tmp_path / "d.data").to_pydict() == table.to_pydict()
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    assert read_table(tmp_path / "empty.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Empty CSV"),
        (b"\n\n\n", "Empty CSV"),
        (b"a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        (b"a,b\n1,2,3\n", "Expected 2 columns, got 3"),
        (b"\xff\xfe,b\n1,2\n", "isn't UTF-8"),
        (b"PAR1 and no more", "can't be read"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "can't be read"),
    ],
)
def test_unreadable(tmp_path, content, message):
    path = written(tmp_path / "d", content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_parquet_truncated_anywhere(tmp_path):
    pq.write_table(pa.table({"a": list(range(100))}), tmp_path / "d.parquet")
    content = (tmp_path / "d.parquet").read_bytes()
    for length in range(4, len(content), 7):
        with pytest.raises(DataError):
            read_table(written(tmp_path / "cut.parquet", content[:length]))


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="no files in this folder"):
        read_table(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DataError, match="no ordinary file"):
        read_table(tmp_path / "fifo")


@pytest.mark.parametrize("cuts", [[10], [1] * 10, [3, 0, 4, 3], [0, 0, 9, 1], []])
@pytest.mark.parametrize("rows", [1, 3, 4, 10, 100])
def test_blocks_leave_no_trace_of_the_cuts(cuts, rows):
    n = sum(cuts)
    table = pa.table({"i": pa.array(range(n), pa.int64()), "t": pa.array([str(i) for i in range(n)], pa.string())})
    batches, start = [], 0
    for length in cuts:
        encoded = table.slice(start, length).set_column(1, "t", table["t"].slice(start, length).dictionary_encode())
        batches += encoded.to_batches() if length else [pa.RecordBatch.from_pylist([], encoded.schema)]
        start += length
    blocks = list(in_blocks(batches, rows))
    assert [block.num_rows for block in blocks] == [rows] * (n // rows) + [n % rows] * (n % rows > 0)
    assert [i for block in blocks for i in block["i"].to_pylist()] == list(range(n))
    assert [t for block in blocks for t in block["t"].to_pylist()] == [str(i) for i in range(n)]
