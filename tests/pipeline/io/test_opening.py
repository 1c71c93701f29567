"""Opening files, sets of files, tables and streams as sources."""

import gzip
import os
import re

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from tables import read_table, typed

from fastnn.pipeline import DataError, DataWarning
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.io.source import BATCH_ROWS


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
    lines = ["x,t", *["1,2"] * 400_000, "0.5,late"]
    with pytest.warns(DataWarning, match="line 400002: column 't' holds 'late', so the column is text"):
        table = read_table(written(tmp_path / "d.csv", "\n".join(lines).encode()))
    assert [str(field.type) for field in table.schema] == ["double", "string"]
    assert table.num_rows == 400_001


def test_text_columns_keep_their_spelling(tmp_path):
    path = written(tmp_path / "d.csv", b"id,x\n007,1\n")
    assert read_table(path, as_text=["id", "absent"]).to_pydict() == {"id": ["007"], "x": [1]}


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
        (b"", "is empty"),
        (b"\n\n\n", "is empty"),
        (b"a,b\n1,2\n3\n", r"d, line 3: Expected 2 columns, got 1\.$"),
        (b"a,b\n1,2,3\n", "line 2: Expected 2 columns, got 3"),
        (b"\xff\xfe,b\n1,2\n", "is text in UTF-16: declare it: --encoding utf-16"),
        (b"\xe9,b\n1,2\n", "line 1: the text isn't utf-8. Say which encoding the file has"),
        (b"a,b\n1,2\n3,\xe9\n", "line 3: the text of column 'b' isn't utf-8. Say which encoding the file has"),
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
    with pytest.raises(DataError, match="isn't a regular file"):
        read_table(tmp_path / "fifo")


def rows_of(source, columns=None, blocks=None):
    return pa.Table.from_batches(source.batches(columns, blocks), source.schema if columns is None else None)


@pytest.fixture
def hive(tmp_path):
    """A folder of partitions, and its rows as pyarrow reads them."""
    rng = np.random.default_rng(0)
    n = 1000
    table = pa.table(
        {
            "x": rng.random(n, np.float32),
            "town": rng.choice(["a b", "c"], n),
            "year": rng.integers(2020, 2023, n),
            "i": range(n),
        }
    )
    ds.write_dataset(
        table,
        tmp_path / "hive",
        format="parquet",
        partitioning=["year", "town"],
        partitioning_flavor="hive",
        max_rows_per_group=64,
        max_rows_per_file=128,
    )
    (tmp_path / "hive" / "_SUCCESS").touch()
    return tmp_path / "hive"


def test_a_folder_of_partitions(hive):
    source = open_source(hive)
    theirs = ds.dataset(hive, partitioning="hive").to_table().sort_by("i")
    assert source.schema == theirs.schema
    assert rows_of(source).sort_by("i") == theirs
    assert source.n_rows == 1000 and sum(source.block_rows) == 1000 and source.n_blocks > len(source.parts) > 6
    assert [entry["path"] for entry in source.identity()] == [part.name for part in source.parts]
    assert [part.name for part in source.parts] == sorted(map(str, hive.rglob("*.parquet")))
    joined = pa.concat_tables(rows_of(part) for part in source.parts)
    assert joined == rows_of(source)
    # Patterns and lists of patterns find the same rows.
    years = [f"{hive}/year={year}/**/*.parquet" for year in (2020, 2021, 2022)]
    assert rows_of(open_source(f"{hive}/year=*")) == joined
    assert rows_of(open_source([f"{hive}/*/*/*.parquet"])) == joined
    # The folders of the years stand before the patterns' first wildcard: nobody learns from them unasked.
    assert rows_of(open_source(years)) == joined
    assert open_source(years).unlearnt == {"year"} and source.unlearnt == set()


def test_blocks_of_several_files(hive):
    source = open_source(hive)
    blocks = np.random.default_rng(0).permutation(source.n_blocks).tolist()
    one_by_one = [rows_of(source, blocks=[block]) for block in blocks]
    assert [table.num_rows for table in one_by_one] == [source.block_rows[block] for block in blocks]
    assert rows_of(source, blocks=blocks) == pa.concat_tables(one_by_one)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="open files can't be listed")
def test_few_files_are_open_at_a_time(hive):
    def n_open():
        return sum(1 for name in os.listdir("/proc/self/fd") if _target(name).startswith(str(hive)))

    batches = open_source(hive).batches(["x"])
    assert n_open() == 0
    for _ in batches:
        assert n_open() <= 1
    assert n_open() == 0
    batches = open_source(hive).batches(["x"])
    next(batches)
    batches.close()
    assert n_open() == 0


def _target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


def test_files_with_the_same_columns_in_another_order(tmp_path):
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    pq.write_table(table, tmp_path / "1.parquet")
    pq.write_table(table.select(["b", "a"]), tmp_path / "2.parquet")
    with pa.ipc.new_file(tmp_path / "3", table.schema) as writer:
        writer.write_table(table)
    source = open_source(tmp_path)
    assert rows_of(source) == pa.concat_tables([table] * 3)
    assert all(part.schema == table.schema for part in source.parts)


@pytest.mark.parametrize(
    ("other", "name", "message"),
    [
        ({"a": [1]}, "b", "1.parquet has a column 'b' that .*2.parquet doesn't have"),
        ({"a": [1], "b": ["x"], "c": [1]}, "c", "2.parquet has a column 'c' that .*1.parquet doesn't have"),
        ({"a": ["x"], "b": ["x"]}, "a", "Column 'a' is string in .*2.parquet, but int64 in .*1.parquet"),
        ({"a": [[1]], "b": ["x"]}, "a", "Column 'a' is list.* in .*2.parquet, but int64 in .*1.parquet"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_column_that_files_do_not_share_is_refused_when_it_is_read(tmp_path, other, name, message, swapped):
    tables = [pa.table({"a": [1, 2], "b": ["x", "y"], "z": [True, False]}), pa.table({**other, "z": [True]})]
    for number, table in enumerate(tables, start=1):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    files = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    source = open_source(files[::-1] if swapped else files)
    shared = [each for each in ("a", "b", "z") if each != name]
    assert rows_of(source, shared).num_rows == 3 and sorted(source.schema.names) == shared
    for wanted in ([name], None):
        with pytest.raises(DataError) as caught:
            source.batches(wanted)
        assert swapped or re.search(message, str(caught.value))


def test_partitions_of_some_files_only(tmp_path):
    for folder in ("k=1", "deep"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"a": [1]}), tmp_path / folder / "x.parquet")
    source = open_source(tmp_path)
    assert rows_of(source, ["a"]).num_rows == 2
    with pytest.raises(DataError, match=r"k=1/x.parquet has a column 'k' that .*deep/x.parquet doesn't"):
        source.batches()


def test_files_without_rows_have_no_say(tmp_path):
    full = pa.table({"a": [1, 2], "b": ["x", "y"]})
    pq.write_table(full, tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": pa.array([], pa.float64())}), tmp_path / "0.parquet")
    pd.DataFrame().to_parquet(tmp_path / "2.parquet")
    (tmp_path / "3.csv").touch()
    (tmp_path / "4.csv").write_text("a,b\n")
    (tmp_path / "5.csv").write_text("b,a")
    assert rows_of(open_source(tmp_path)).to_pydict() == full.to_pydict()
    with pytest.raises(DataError, match=r"3\.csv is empty"):
        open_source([tmp_path / "3.csv"])


def test_csv_files_have_the_types_of_all_their_values(tmp_path):
    for i, row in enumerate(["1,,2020-01-01,7", "0.5,x,2020-01-01 12:00:00,u", ",,,"]):
        (tmp_path / f"{i}.csv").write_text(f"a,b,c,d\n{row}\n")
    with pytest.warns(DataWarning, match=r"1.csv, line 2: column 'd' holds 'u', so the column is text"):
        source = typed(open_source(tmp_path))
    together = tmp_path / "all"
    together.write_text("a,b,c,d\n1,,2020-01-01,7\n0.5,x,2020-01-01 12:00:00,u\n,,,\n")
    assert rows_of(source) == read_table(together)


def test_a_file_among_several_that_vanishes(hive):
    source = open_source(hive)
    victim = source.parts[3].name
    os.unlink(victim)
    with pytest.raises(DataError, match="No such file") as caught:
        list(source.batches())
    assert victim in str(caught.value)


FRAME = {"n": [1, 2, 3], "x": [0.5, None, 2.0], "t": ["u", None, "w"]}


@pytest.mark.parametrize(
    "data",
    [
        pa.table(FRAME),
        pa.RecordBatch.from_pydict(FRAME),
        pl.DataFrame(FRAME),
        pd.DataFrame(FRAME).astype({"t": "str"}),
    ],
    ids=["table", "batch", "polars", "pandas"],
)
def test_tables(data):
    source = open_source(data)
    assert (source.n_rows, list(source.block_rows), source.once) == (3, [3], False)
    assert rows_of(source).to_pydict() == rows_of(source).to_pydict() == FRAME
    (identity,) = source.identity()
    assert identity["rows"] == 3 and [name for name, _ in identity["columns"]] == list(FRAME)


def test_large_tables_are_cut_whatever_their_chunks():
    table = pa.chunked_array([range(1000), range(500_000), [], range(7)])
    source = open_source(pa.table({"i": table}))
    assert sum(source.block_rows) == 501_007 and source.n_blocks == -(-501_007 // BATCH_ROWS)
    assert max(batch.num_rows for batch in source.batches()) <= BATCH_ROWS
    assert rows_of(source)["i"].to_pylist() == table.to_pylist()
    n_before = source.n_blocks - 1
    last, first = rows_of(source, blocks=[n_before, 0])["i"].to_numpy()[[0, -1]]
    assert (last, first) == (n_before * BATCH_ROWS - 1000, BATCH_ROWS - 1001)


def test_polars_categories_can_be_used():
    frame = pl.DataFrame({"c": ["a", None, "a"]}).select(pl.col("c").cast(pl.Categorical))
    (batch,) = open_source(frame).batches()
    assert batch["c"].cast(pa.large_string()).to_pylist() == ["a", None, "a"]


def test_streams_are_read_once():
    connection = duckdb.connect()
    relation = connection.sql("select range i, range / 2 x, 'row ' || range t from range(300000)")
    batches = [pa.RecordBatch.from_pydict({"i": [i]}) for i in range(3)]
    for data, n in ((relation, 300_000), (pa.RecordBatchReader.from_batches(batches[0].schema, batches), 3)):
        source = open_source(data)
        assert source.once and source.n_rows is None and list(source.block_rows) == [None]
        assert source.identity()[0]["rows"] is None
        assert rows_of(source, ["i"])["i"].to_pylist() == list(range(n))
        with pytest.raises(DataError, match="once only"):
            list(source.batches())


def test_errors_in_a_stream():
    def batches(error):
        yield pa.RecordBatch.from_pydict({"i": [1]})
        raise error

    for error, raised in ((pa.ArrowInvalid("bad\nrow"), DataError), (ValueError("ours"), ValueError)):
        reader = pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), batches(error))
        found = open_source(reader).batches()
        next(found)
        with pytest.raises(raised, match=r"^The stream can't be read: (Invalid: )?bad$|^ours$"):
            next(found)


def test_what_is_no_source():
    for data in (np.zeros((2, 2)), 3, None):
        with pytest.raises(TypeError, match="paths or a table"):
            open_source(data)
    with pytest.raises(DataError, match="empty list"):
        open_source([])
    with pytest.raises(DataError, match="The table can't be read"):
        open_source(pa.chunked_array([[1]]))
