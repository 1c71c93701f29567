"""The files that a model reads, with the types of the model."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastnn.pipeline.columns.options import ColumnOptions
from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError
from fastnn.pipeline.columns.text import Spelling, parse
from fastnn.pipeline.jobs.inputs import open_for

NUMBERS = Schema.infer(pa.schema([("x", pa.float64()), ("t", pa.string())]))


def test_open_for_a_model(tmp_path):
    (tmp_path / "d.csv").write_text("x,t,id,n\n1,a,007,5\n 2.5 ,b,8,x\n,c,9,\nnan,d,x,\n")
    source, spellings = open_for(NUMBERS, [str(tmp_path / "d.csv")], further={"n": [pa.int64()]})
    assert spellings == {"x": Spelling(pa.float64()), "n": Spelling(pa.int64(), exact=True)}
    (batch,) = source.batches()
    bad = np.zeros(4, np.bool_)
    parsed = parse(batch, spellings, bad)
    assert parsed["x"].to_pylist() == [1, 2.5, None, None] and parsed["id"].to_pylist() == ["007", "8", "9", "x"]
    assert bad.tolist() == [False, True, False, False]
    for content, message in (("y,t\n1,a\n", "no column 'x'"), ("x,x,t\n1,1,a\n", "More than one column is called 'x'")):
        (tmp_path / "d.csv").write_text(content)
        with pytest.raises(SchemaError, match=message):
            open_for(NUMBERS, [str(tmp_path / "d.csv")])


def test_text_in_a_format_with_types_is_not_parsed_for_a_model(tmp_path):
    pq.write_table(pa.table({"x": ["1"], "t": ["a"]}), tmp_path / "d.parquet")
    (tmp_path / "d.csv").write_text("x,t\n1,a\n")
    for data in (["d.parquet"], ["d.csv", "d.parquet"]):
        with pytest.raises(SchemaError, match="'x' is string, but was double"):
            open_for(NUMBERS, [str(tmp_path / each) for each in data])
    declared = Schema.infer(pa.schema([("x", pa.float64()), ("t", pa.string())]), text=["x"])
    source, spellings = open_for(declared, [str(tmp_path)])
    assert [parse(batch, spellings, None)["x"].to_pylist() for batch in source.batches()] == [[1.0], [1.0]]


def test_kept_columns_are_text_everywhere_if_some_files_are_csv(tmp_path):
    pq.write_table(pa.table({"x": [1.0], "t": ["a"], "id": [7]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("id,t,x\n007,b,2\n")
    source, _ = open_for(NUMBERS, [str(tmp_path)], keep=["id"])
    assert [batch["id"].to_pylist() for batch in source.batches({"id", "x"})] == [["7"], ["007"]]
    assert source.schema.field("id").type == pa.string()


def test_folders_have_the_models_types(tmp_path):
    schema = Schema.infer(pa.schema([("x", pa.float64()), ("store", pa.string()), ("day", pa.int32())]))
    (tmp_path / "store=22/day=1").mkdir(parents=True)
    for name, write in (("d.csv", lambda path: path.write_text("x\n1\n")), ("d.parquet", parquet_of_x)):
        write(tmp_path / "store=22/day=1" / name)
    for path in ("", "store=22", "store=22/day=1", "store=22/day=1/d.csv", "store=22/day=1/*.parquet", "*/*/*"):
        source, spellings = open_for(schema, [str(tmp_path / path)])
        for batch in source.batches():
            parsed = parse(batch, spellings, None).select(["x", "store", "day"])
            assert parsed.to_pydict() == {"x": [1.0], "store": ["22"], "day": [1]}
    (tmp_path / "store=22/day=one").mkdir()
    parquet_of_x(tmp_path / "store=22/day=one/d.parquet")
    with pytest.raises(SchemaError, match="a folder is called day=one, but column 'day' was int32"):
        open_for(schema, [str(tmp_path)])


def parquet_of_x(path):
    pq.write_table(pa.table({"x": [1.0]}), path)


def test_odd_columns_that_a_model_does_not_read(tmp_path):
    pq.write_table(pa.table({"x": [1.0], "t": ["a"], "y": [1], "note": ["n"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"t": ["b"], "x": [2], "y": ["one"]}), tmp_path / "2.parquet")
    source, _ = open_for(NUMBERS, [str(tmp_path)])
    assert pa.Table.from_batches(source.batches(["x", "t"])).to_pydict() == {"x": [1.0, 2.0], "t": ["a", "b"]}
    for name, message in (("note", "1.parquet has a column 'note' that"), ("y", "Column 'y' is string in")):
        with pytest.raises(DataError, match=message):
            source.check_columns([name])
    pq.write_table(pa.table({"t": ["b"], "y": [1]}), tmp_path / "3.parquet")
    with pytest.raises(SchemaError, match=r"1\.parquet has a column 'x' that .*3\.parquet doesn't"):
        open_for(NUMBERS, [str(tmp_path)])


@pytest.mark.parametrize("write", [parquet_of_x, lambda path: path.write_text("x\n1\n")])
def test_folders_names_are_learnt_as_numbers_and_kept_as_text(tmp_path, write):
    schema = Schema.infer(pa.schema([("x", pa.float64()), ("month", pa.int32())]))
    for month in ("01", "2", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"month={month}").mkdir()
        write(tmp_path / f"month={month}/d")
    source, spellings = open_for(schema, [str(tmp_path)], keep=["month"])
    batches = list(source.batches(["x", "month"]))
    assert [batch["month"].to_pylist() for batch in batches] == [["01"], ["2"], [None]]
    assert [parse(batch, spellings, None)["month"].to_pylist() for batch in batches] == [[1], [2], [None]]


def test_names_are_as_exact_as_in_training(tmp_path):
    """A class or a category 7 isn't spelt 007, but pandas writes 7.0 beside missing values."""
    schema = Schema.infer(pa.schema([("code", pa.int64())]), options={"code": ColumnOptions(kind="category")})
    (tmp_path / "d.csv").write_text("code,y\n7,1\n007,01\n+7,1.0\n7.0,2\n,3\n")
    source, spellings = open_for(schema, [str(tmp_path / "d.csv")], further={"y": [pa.int64()]})
    (batch,) = source.batches()
    for name, values, unfit in (("code", [7, None, None, 7, None], [1, 2]), ("y", [1, None, 1, 2, 3], [1])):
        bad = np.zeros(5, np.bool_)
        assert parse(batch.select([name]), spellings, bad)[name].to_pylist() == values
        assert np.flatnonzero(bad).tolist() == unfit


def test_what_true_values_of_a_regression_are(tmp_path):
    """All files tell whether they are numbers or booleans."""
    for i, lines in enumerate(["", "true\nfalse", "NA"]):
        (tmp_path / f"{i}.csv").write_text("x,t,y\n" + "".join(f"1,a,{line}\n" for line in lines.split("\n") if line))
    _, spellings = open_for(NUMBERS, [str(tmp_path)], further={"y": [pa.float64(), pa.bool_()]})
    assert spellings["y"].type == pa.bool_()
