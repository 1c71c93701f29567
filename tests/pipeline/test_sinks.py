"""Writing CSV and Parquet: the rows arrive, and nothing appears half-written."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fastnn.pipeline.schema import DataError
from fastnn.pipeline.sinks import format_of, write_batches

TABLE = pa.table({"id": ["007", 'a"b', None], "p": pa.array([0.1, 1e-7, 1.0], pa.float32()), "ok": [True, False, None]})


def read(path):
    return pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "OUT.CSV"])
def test_rows_arrive(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    assert write_batches(path, TABLE.schema, TABLE.to_batches(max_chunksize=2)).rows == 3
    again = read(path)
    assert again["ok"].to_pylist() == [True, False, None]
    assert again["p"].cast(pa.float32()).to_pylist() == TABLE["p"].to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_no_rows_make_a_file_with_columns(tmp_path, name):
    assert write_batches(tmp_path / name, TABLE.schema, []).rows == 0
    assert read(tmp_path / name).column_names == ["id", "p", "ok"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("error", [DataError, KeyboardInterrupt])
def test_failure_in_the_middle_leaves_the_old_file_alone(tmp_path, name, error):
    (tmp_path / name).write_text("old")

    def batches():
        yield TABLE.to_batches()[0]
        raise error("no more")

    with pytest.raises(error):
        write_batches(tmp_path / name, TABLE.schema, batches())
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_same_rows_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write_batches(tmp_path / name, TABLE.schema, TABLE.to_batches())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"\.csv, \.parquet or \.arrow"):
        format_of("scores.txt")
    with pytest.raises(DataError, match="can't be written"):
        nested = pa.table({"l": [[1]]})
        write_batches(tmp_path / "out.csv", nested.schema, nested.to_batches())
    with pytest.raises(FileNotFoundError):
        write_batches(tmp_path / "absent" / "out.csv", TABLE.schema, [])
    assert list(tmp_path.iterdir()) == []
