"""Writing CSV, Parquet and Arrow files: the rows arrive, nothing appears half-written, and the bytes are the rows'."""

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

from fastnn.pipeline.schema import DataError
from fastnn.pipeline.sinks import format_of, write_batches
from fastnn.pipeline.source import BATCH_ROWS

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
@given(cuts=st.lists(st.integers(0, 2 * BATCH_ROWS), max_size=6))
@settings(deadline=None, max_examples=10)
def test_bytes_depend_on_the_rows_alone(tmp_path_factory, name, cuts):
    """Not on how they were cut, nor on which values the dictionary of a batch happens to have."""
    folder = tmp_path_factory.getbasetemp()
    n_rows = 2 * BATCH_ROWS + 3
    i = np.arange(n_rows)
    text = pa.array(i, mask=i % 7 == 0).cast(pa.string())
    # The numbers that lie under the nulls are others in each table.
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
        assert [metadata.row_group(i).num_rows for i in range(3)] == [BATCH_ROWS, BATCH_ROWS, 3]
        assert metadata.row_group(0).column(0).compression == "SNAPPY"
        assert read(folder / name) == table


def test_batches_are_made_by_the_caller_and_no_faster_than_they_are_written(tmp_path):
    table = pa.table({f"c{i}": np.random.default_rng(i).random(BATCH_ROWS) for i in range(8)})
    (one,) = table.to_batches()
    before = pa.total_allocated_bytes()
    makers = set()

    def batches():
        for _ in range(12):
            makers.add(threading.current_thread())
            # What is written isn't kept: some batches wait, some pages are encoded.
            assert pa.total_allocated_bytes() - before < 8 * one.nbytes
            yield pa.RecordBatch.from_arrays([pa.compute.add(column, 1) for column in one.columns], schema=one.schema)

    assert write_batches(tmp_path / "out.parquet", one.schema, batches()).rows == 12 * BATCH_ROWS
    assert makers == {threading.current_thread()}


FULL = """
import errno, os, resource, sys, threading
import numpy as np
import pyarrow as pa
from fastnn.pipeline.sinks import write_batches
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
    """As far as a limit of file sizes is like one."""
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
