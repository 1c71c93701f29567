"""Writing CSV, Parquet and Arrow files: all rows arrive, no file is half-written, and the rows determine the bytes."""

import os
import stat
import threading

import child
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io import rebatch, sinks
from fastnn.pipeline.io.sinks import _GROUP_ROWS, format_of, write_batches
from fastnn.pipeline.io.source import BATCH_ROWS

TABLE = pa.table({"id": ["007", 'a"b', None], "p": pa.array([0.1, 1e-7, 1.0], pa.float32()), "ok": [True, False, None]})
each_format = pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.arrow"])


def read(path):
    format_ = format_of(path)
    if format_ == "parquet":
        return pq.read_table(path)
    return pyarrow.csv.read_csv(path) if format_ == "csv" else pa.ipc.open_file(path.read_bytes()).read_all()


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "OUT.CSV", "out.arrow", "out.feather", "out.ipc"])
def test_rows_arrive(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    written = write_batches(path, TABLE.schema, TABLE.to_batches(max_chunksize=2))
    assert (written.rows, written.bytes) == (3, path.stat().st_size)
    again = read(path)
    assert again["ok"].to_pylist() == [True, False, None]
    assert again["p"].cast(pa.float32()).to_pylist() == TABLE["p"].to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@each_format
def test_no_rows_make_a_file_with_columns(tmp_path, name):
    assert write_batches(tmp_path / name, TABLE.schema, []).rows == 0
    assert read(tmp_path / name).column_names == ["id", "p", "ok"]


@each_format
@pytest.mark.parametrize("error", [DataError, KeyboardInterrupt])
def test_failure_in_the_middle_leaves_the_old_file_alone(tmp_path, name, error):
    (tmp_path / name).write_text("old")

    def batches():
        yield TABLE.to_batches()[0]
        raise error("no more")

    with pytest.raises(error, match="no more"):
        write_batches(tmp_path / name, TABLE.schema, batches())
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastnn-")]


@each_format
@given(cuts=st.lists(st.integers(0, 2 * _GROUP_ROWS), max_size=6))
@settings(deadline=None, max_examples=10)
def test_bytes_depend_on_the_rows_alone(tmp_path_factory, name, cuts):
    """They don't depend on how the rows are divided into batches, nor on the batches' dictionaries."""
    folder = tmp_path_factory.getbasetemp()
    n_rows = 2 * _GROUP_ROWS + 3
    i = np.arange(n_rows)
    text = pa.array(i, mask=i % 7 == 0).cast(pa.string())
    # The numbers that lie under the nulls differ between the tables.
    numbers = pa.array(np.where(i % 5 == 0, i * len(cuts), i), mask=i % 5 == 0)
    table = pa.table(
        {"i": numbers, "t": text, "c": pa.array(i // 50_000).cast(pa.string()), "l": text.cast(pa.large_string())}
    )
    plain = table.set_column(0, "i", pa.array(i, mask=i % 5 == 0))
    starts = sorted(min(cut, n_rows) for cut in [0, *cuts])
    parts = [table.slice(i, j - i) for i, j in zip(starts, [*starts[1:], n_rows], strict=True)]
    encoded = [part.set_column(2, "c", part["c"].combine_chunks().dictionary_encode()) for part in parts]
    batches = [batch for part in encoded for batch in part.to_batches()]
    write_batches(folder / name, encoded[0].schema, batches)
    write_batches(folder / f"plain-{name}", plain.schema, plain.to_batches())
    assert (folder / name).read_bytes() == (folder / f"plain-{name}").read_bytes()
    if name == "out.parquet":
        metadata = pq.read_metadata(folder / name)
        assert [metadata.row_group(i).num_rows for i in range(3)] == [_GROUP_ROWS, _GROUP_ROWS, 3]
        assert metadata.row_group(0).column(0).compression == "SNAPPY"
        assert read(folder / name) == table


@each_format
def test_text_that_is_too_much_for_one_column(tmp_path, monkeypatch, name):
    """With a lower limit for a column's bytes: all rows arrive in their types, and the rows determine the bytes."""
    for module in (rebatch, sinks):
        monkeypatch.setattr(module, "MOST_TEXT_BYTES", 40_000)
    monkeypatch.setattr(sinks, "_GROUP_ROWS", 1000)
    i = np.arange(2500)
    # The second thousand rows fit into one row group: without their offsets they take fewer bytes than the limit.
    words = [None if k % 7 == 0 else f"w{k:04}" * (9 if 1000 <= k < 2000 else 32) for k in i.tolist()]
    table = pa.table({"i": i, "t": words, "few": [f"w{k % 3}" for k in i]})
    # These dictionaries can't be combined, because their indices have 8 bits.
    few = pa.dictionary(pa.int8(), pa.string())
    encoded = [
        batch.set_column(1, "t", batch["t"].dictionary_encode().cast(few))
        for batch in table.to_batches(max_chunksize=7)
    ]
    for folder, batches in (("one", encoded), ("other", table.to_batches(max_chunksize=300))):
        (tmp_path / folder).mkdir()
        assert write_batches(tmp_path / folder / name, batches[0].schema, batches).rows == 2500
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    found = read(tmp_path / "one" / name)
    assert found == (table if name != "out.csv" else table.set_column(1, "t", [[word or "" for word in words]]))
    if name == "out.parquet":
        metadata = pq.read_metadata(tmp_path / "one" / name)
        groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        assert groups == [250] * 4 + [1000] + [250] * 2


def test_batches_are_made_by_the_caller_and_no_faster_than_they_are_written(tmp_path):
    table = pa.table({f"c{i}": np.random.default_rng(i).random(BATCH_ROWS) for i in range(8)})
    (one,) = table.to_batches()
    group_batches = _GROUP_ROWS // BATCH_ROWS
    before = pa.total_allocated_bytes()
    makers = set()

    def batches():
        for _ in range(12 * group_batches):
            makers.add(threading.current_thread())
            # Written rows are freed: at most one row group waits, is joined and is encoded.
            assert pa.total_allocated_bytes() - before < 5 * group_batches * one.nbytes
            yield pa.RecordBatch.from_arrays([pa.compute.add(column, 1) for column in one.columns], schema=one.schema)

    assert write_batches(tmp_path / "out.parquet", one.schema, batches()).rows == 12 * _GROUP_ROWS
    assert makers == {threading.current_thread()}


FULL = """
import errno, os, resource, sys, threading
import numpy as np
import pyarrow as pa
from fastnn.pipeline.io.sinks import write_batches
table = pa.table({"a": np.random.default_rng(0).random(1_000_000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    write_batches(sys.argv[1], table.schema, table.to_batches(max_chunksize=50_000))
except OSError as error:
    assert error.errno == errno.EFBIG and error.filename == sys.argv[1], error
    assert threading.active_count() == 1
    print(os.listdir(os.path.dirname(sys.argv[1])))
"""


@each_format
def test_a_full_disk(tmp_path, name):
    """A limit of file sizes takes the place of a full disk."""
    assert child.run(FULL, str(tmp_path / name)) == "[]\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root has all rights")
def test_no_rights(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(PermissionError, match="no right to write"):
            write_batches(tmp_path / "out.csv", TABLE.schema, TABLE.to_batches())
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"\.csv, \.parquet or \.arrow"):
        format_of("scores.txt")
    with pytest.raises(DataError, match="can't be written"):
        nested = pa.table({"l": [[1]]})
        write_batches(tmp_path / "out.csv", nested.schema, nested.to_batches())
    with pytest.raises(FileNotFoundError):
        write_batches(tmp_path / "absent" / "out.csv", TABLE.schema, [])
    assert list(tmp_path.iterdir()) == []
