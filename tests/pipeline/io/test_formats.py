"""Sources of one file, in every format: their rows are those that pyarrow and NumPy read."""

import datetime
import gzip
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tables import typed

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.opening import open_file
from fastnn.pipeline.io.places import Local
from fastnn.pipeline.io.source import BATCH_ROWS, Source

N_ROWS = 7
TABLE = pa.table(
    {
        "n": pa.array([1, None, 3, 4, 5, 6, 7]),
        "x": pa.array([1.5, None, 3, 4, 5, 6, 7]),
        "t": ["u", "v", "", "NA", "two\nlines", "a,b", 'say "x"'],
        "b": pa.array([True, False, None, True, True, True, True]),
    }
)
NUMBERS = np.arange(N_ROWS * 3, dtype=np.float32).reshape(N_ROWS, 3)


def opened(path, partition=None) -> Source:
    """A file whose text has the types that it spells."""
    return typed(open_file(Local(str(path)), partition or {}))


def table_of(source, columns=None, blocks=None) -> pa.Table:
    batches = list(source.batches(columns, blocks))
    assert all(0 < batch.num_rows <= BATCH_ROWS for batch in batches)
    names = source.schema.names if columns is None else [name for name in source.schema.names if name in columns]
    return pa.Table.from_batches(batches, pa.schema([source.schema.field(name) for name in names]))


def write_parquet(path, table, rows):
    pq.write_table(table, path, row_group_size=rows)


def write_arrow(path, table, rows, kind=pa.ipc.new_file):
    with pa.OSFile(str(path), "wb") as file, kind(file, table.schema) as writer:
        writer.write_table(table, rows)


def write_stream(path, table, rows):
    write_arrow(path, table, rows, pa.ipc.new_stream)


def write_csv(path, table, rows):
    pyarrow.csv.write_csv(table, path)


def write_gzip(path, table, rows):
    with gzip.open(path, "wb") as file:
        pyarrow.csv.write_csv(table, file)


WRITERS = {
    "parquet": write_parquet,
    "arrow": write_arrow,
    "stream": write_stream,
    "csv": write_csv,
    "gzip": write_gzip,
}
each_format = pytest.mark.parametrize("format_", WRITERS)


@each_format
def test_rows_and_blocks(tmp_path, format_):
    """The file's name doesn't tell its format."""
    WRITERS[format_](tmp_path / "data", TABLE, 3)
    source = opened(tmp_path / "data")
    assert source.schema == TABLE.schema
    assert source.name == str(tmp_path / "data") and len(source.parts) == 1 and not source.once
    in_blocks = format_ in ("parquet", "arrow")
    assert list(source.block_rows) == ([3, 3, 1] if in_blocks else [None])
    assert source.n_blocks == len(source.block_rows) and source.n_rows == (7 if in_blocks else None)
    assert table_of(source) == TABLE == table_of(source)  # a file can be read repeatedly
    assert source.n_rows == 7 and table_of(source, {"t", "n"}) == TABLE.select(["n", "t"])
    if in_blocks:
        assert table_of(source, ["n"], [2, 0])["n"].to_pylist() == [7, 1, None, 3]
    assert table_of(source, blocks=[]).num_rows == 0
    status = os.stat(tmp_path / "data")
    identity = {"path": str(tmp_path / "data"), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    assert source.identity() == [identity]
    with pytest.raises(DataError, match="no column 'absent'"):
        source.batches(["n", "absent"])


@each_format
def test_no_rows(tmp_path, format_):
    WRITERS[format_](tmp_path / "data", TABLE.slice(0, 0), 3)
    source = opened(tmp_path / "data")
    assert source.schema.names == TABLE.column_names and list(source.batches()) == []
    assert source.n_rows in (0, None)


def test_parquet_without_row_groups(tmp_path):
    pq.ParquetWriter(tmp_path / "data", TABLE.schema).close()
    source = opened(tmp_path / "data")
    assert (source.n_blocks, source.n_rows, list(source.batches())) == (0, 0, [])
    assert source.schema == TABLE.schema


@pytest.mark.parametrize("format_", ["parquet", "arrow", "stream"])
def test_large_blocks_come_in_small_batches(tmp_path, format_):
    table = pa.table({"i": pa.array(range(300_000), pa.int32())})
    WRITERS[format_](tmp_path / "data", table, 300_000)
    source = opened(tmp_path / "data")
    assert source.n_blocks == 1
    n_whole, rest = divmod(300_000, BATCH_ROWS)
    assert [batch.num_rows for batch in source.batches()] == [BATCH_ROWS] * n_whole + [rest]
    assert table_of(source) == table


def test_one_huge_row_group_is_not_read_at_once(tmp_path):
    rng = np.random.default_rng(0)
    n_batches = 80
    columns = {f"c{i}": rng.standard_normal(n_batches * BATCH_ROWS, np.float32) for i in range(4)}
    pq.write_table(pa.table(columns), tmp_path / "data", row_group_size=n_batches * BATCH_ROWS)
    before = pa.total_allocated_bytes()
    batches = opened(tmp_path / "data").batches()
    for _ in range(n_batches // 2):
        next(batches)
        assert pa.total_allocated_bytes() - before < 4 * 4 * n_batches * BATCH_ROWS / 2
    batches.close()


@pytest.mark.parametrize("format_", ["parquet", "arrow", "stream"])
def test_columns_that_are_not_read_may_be_anything(tmp_path, format_):
    odd = pa.table(
        {
            "x": [1.0, 2.0],
            "struct": [{"x": 1, "y": [None]}, None],
            "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int8())),
            "views": pa.array([["a"], []], pa.list_(pa.string_view())),
            "uuid": pa.array([b"0" * 16] * 2, pa.uuid()),
            "x.y": [3, 4],
            "nothing": pa.nulls(2),
            "duration": pa.array([1, 2], pa.duration("ns")),
        }
    )
    twice = odd.append_column("twice", [[1, 2]]).append_column("twice", [[3, 4]])
    WRITERS[format_](tmp_path / "data", twice, 3)
    source = opened(tmp_path / "data")
    assert table_of(source, ["x"]) == odd.select(["x"])
    assert table_of(source, ["x.y", "nothing"]) == odd.select(["x.y", "nothing"])
    for columns in (None, ["twice"]):
        with pytest.raises(DataError, match="More than one column is called 'twice'"):
            source.batches(columns)


@pytest.mark.parametrize("format_", ["parquet", "arrow", "stream"])
def test_string_views_are_large_strings(tmp_path, format_):
    strings = pa.array(["a", None, "more than twelve bytes"])
    encoded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), strings.cast(pa.string_view()))
    table = pa.table({"v": strings.cast(pa.string_view()), "d": encoded} if format_ != "parquet" else {"v": strings})
    WRITERS[format_](tmp_path / "data", table, 2)
    found = table_of(opened(tmp_path / "data"))
    assert found["v"].to_pylist() == strings.to_pylist()
    if format_ != "parquet":
        assert found.schema.types == [pa.large_string(), pa.dictionary(pa.int8(), pa.large_string())]
        assert found["d"].to_pylist() == ["a", None, "a"]


def test_only_the_wanted_columns_of_parquet_are_read(tmp_path):
    """The test overwrites the bytes of all other columns."""
    pq.write_table(pa.table({"a": range(1000), "b": range(1000)}), tmp_path / "data", compression="none")
    chunk = pq.read_metadata(tmp_path / "data").row_group(0).column(1)
    with open(tmp_path / "data", "r+b") as file:
        file.seek(chunk.dictionary_page_offset)
        file.write(b"\xff" * chunk.total_compressed_size)
    source = opened(tmp_path / "data")
    assert table_of(source, ["a"])["a"].to_pylist() == list(range(1000))
    with pytest.raises(DataError, match=r"data can't be read: [^\n]*$"):
        list(source.batches(["b"]))


def test_checksums_of_pages(tmp_path):
    """A bit that flips in a value would be a wrong value otherwise."""
    table = pa.table({"a": np.arange(1000.0)})
    pq.write_table(table, tmp_path / "d", compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray((tmp_path / "d").read_bytes())
    content[content.index(np.float64(500.0).tobytes())] ^= 1
    (tmp_path / "d").write_bytes(content)
    with pytest.raises(DataError, match=r"d can't be read: .*(CRC|corrupt)"):
        table_of(opened(tmp_path / "d"))


def test_timestamps_of_old_writers(tmp_path):
    late = pa.array([datetime.datetime(9999, 12, 31, 1, 2, 3, 4), datetime.datetime(1, 1, 1)], pa.timestamp("us"))
    pq.write_table(pa.table({"d": late}), tmp_path / "d", use_deprecated_int96_timestamps=True)
    assert table_of(opened(tmp_path / "d"))["d"].combine_chunks() == late


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "f2", "i1", ">u2", "?", "U3", "M8[s]"])
def test_npy(tmp_path, order, dtype):
    array = np.asarray(NUMBERS.astype("i8" if dtype.startswith("M8") else dtype).astype(dtype), order=order)
    with open(tmp_path / "data", "wb") as file:
        np.save(file, array)
    source = opened(tmp_path / "data")
    found = table_of(source)
    assert found.column_names == ["f0", "f1", "f2"] and source.n_rows == N_ROWS
    native = array.astype(array.dtype.newbyteorder("="))
    assert found == pa.table({f"f{i}": pa.array(native[:, i]) for i in range(3)})
    assert table_of(source, ["f2"])["f2"] == found["f2"]


def test_npy_of_records_in_slices(tmp_path):
    records = np.zeros(2 * BATCH_ROWS + 5, [("id", "i8"), ("x", ">f4")])
    records["id"] = np.arange(len(records))
    np.save(tmp_path / "data.npy", records)
    source = opened(tmp_path / "data.npy")
    assert list(source.block_rows) == [BATCH_ROWS, BATCH_ROWS, 5]
    assert source.schema == pa.schema([("id", pa.int64()), ("x", pa.float32())])
    assert table_of(source, ["id"], [2, 1])["id"].to_pylist() == [
        *range(2 * BATCH_ROWS, 2 * BATCH_ROWS + 5),
        *range(BATCH_ROWS, 2 * BATCH_ROWS),
    ]
    np.save(tmp_path / "empty.npy", records[:0])
    assert opened(tmp_path / "empty.npy").n_rows == 0 and list(opened(tmp_path / "empty.npy").batches()) == []


@pytest.mark.parametrize("dtype", ["<M8[D]", "<M8[s]", ">M8[ms]", "<M8[us]", ">M8[ns]"])
@pytest.mark.parametrize("records", [False, True])
def test_npy_of_dates_with_holes(tmp_path, dtype, records):
    days = ["2020-01-01", "NaT", "2021-01-01"]
    array = np.array([(day,) for day in days], [("f0", dtype)]) if records else np.array(days, dtype)[:, None]
    np.save(tmp_path / "data.npy", array)
    found = table_of(opened(tmp_path / "data.npy"))["f0"]
    unit = dtype[4:-1]
    assert found.type == (pa.date32() if unit == "D" else pa.timestamp(unit))
    assert found.cast(pa.timestamp("s")).cast(pa.string()).to_pylist() == [
        "2020-01-01 00:00:00",
        None,
        "2021-01-01 00:00:00",
    ]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "two dimensions"),
        (np.zeros((2, 2, 2)), "two dimensions"),
        (np.array(3.0), "two dimensions"),
        (np.zeros((2, 2), complex), "can't be read"),
        (np.array([[None]]), "can't be read"),
        (np.zeros(2, [("x", "f4"), ("pair", "f4", 2)]), r"field 'pair' is an array of shape \(2,\); make each"),
        (np.zeros(0, [("table", "f4", (2, 3)), ("x", "f4")]), r"'table' is an array of shape \(2, 3\)"),
    ],
)
def test_npy_of_something_else(tmp_path, array, message):
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / "data.npy")
    assert "data.npy" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("format_", [*WRITERS, "npy"])
def test_a_partition_makes_columns(tmp_path, format_):
    """The partition's column replaces a column of the same name in the file."""
    path = tmp_path / "data"
    if format_ == "npy":
        with open(path, "wb") as file:
            np.save(file, NUMBERS)
        rest = pa.table({"f0": NUMBERS[:, 0], "f1": NUMBERS[:, 1], "f2": NUMBERS[:, 2]})
    else:
        WRITERS[format_](path, TABLE, 3)
        rest = TABLE.drop_columns("b")
    partition = {"b": pa.scalar("it", pa.string()), "hole": pa.scalar(None, pa.int32())}
    source = opened(path, partition)
    found = table_of(source)
    assert found == rest.append_column("b", [["it"] * N_ROWS]).append_column("hole", pa.nulls(N_ROWS, pa.int32()))
    assert table_of(source, ["hole"]) == found.select(["hole"])
    assert table_of(source, [found.column_names[1], "b"]) == found.select([1, -2])


@each_format
def test_a_file_that_vanishes_or_changes(tmp_path, format_):
    path = tmp_path / "data"
    WRITERS[format_](path, TABLE, 3)
    source = opened(path)
    WRITERS[format_](path, TABLE.select(["n", "x", "t"]), 3)
    with pytest.raises(DataError, match=r"data (was changed while it was read\.|can't be read: .*('b'|: 3).*)$"):
        list(source.batches())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4])
    with pytest.raises(DataError, match=r"data (can't be read|was changed)"):
        list(source.batches())
    path.unlink()
    with pytest.raises(DataError, match=r"data can't be read: .*No such file"):
        list(source.batches())


@pytest.mark.parametrize("format_", ["parquet", "arrow", "npy"])
def test_truncated_anywhere(tmp_path, format_):
    path = tmp_path / "data"
    if format_ == "npy":
        with open(path, "wb") as file:
            np.save(file, NUMBERS)
    else:
        WRITERS[format_](path, TABLE, 3)
    content = path.read_bytes()
    for length in range(8, len(content), 5):
        path.write_bytes(content[:length])
        with pytest.raises(DataError) as caught:
            list(opened(path).batches())
        assert "\n" not in str(caught.value)


def test_a_stream_without_its_end(tmp_path):
    """All complete batches are read; an incomplete one is an error."""
    write_stream(tmp_path / "data", TABLE, 3)
    content = (tmp_path / "data").read_bytes()
    (tmp_path / "data").write_bytes(content[:-8])  # without the mark of the end
    assert table_of(opened(tmp_path / "data")) == TABLE
    (tmp_path / "data").write_bytes(content[:-100])
    batches = opened(tmp_path / "data").batches()
    assert next(batches).num_rows == 3
    with pytest.raises(DataError, match=r"data can't be read: .*"):
        list(batches)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, message in [("absent", "no such file"), ("fifo", "isn't a regular file"), (".", "isn't a regular file")]:
        with pytest.raises(DataError, match=message):
            opened(tmp_path / name)
