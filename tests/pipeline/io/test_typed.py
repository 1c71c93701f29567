"""Text with the types that a training infers, and with those of a model."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import read_table

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.options import ColumnOptions, Dialect, column_options
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.io.typed import AS_IT_IS, Reading, Typed


def opened(path, reading=AS_IT_IS, names=None) -> Typed:
    source = open_source(path, reading.dialect)
    return Typed(source, names or source.schema.names, reading)


def rows(source):
    return pa.Table.from_batches(source.batches(), source.schema).to_pydict()


def test_types_of_several_files_are_those_of_all_values(tmp_path):
    for number, line in enumerate(["1,,2020-01-01,7", "0.5,x,2020-01-01 12:00:00,u", ",,,"]):
        (tmp_path / f"{number}.csv").write_text(f"a,b,c,d\n{line}\n")
    with pytest.warns(DataWarning, match="1.csv, line 2: column 'd' holds 'u', so the column is text"):
        source = opened(tmp_path)
    assert source.schema.types == [pa.float64(), pa.string(), pa.timestamp("s"), pa.string()]
    assert rows(source)["a"] == [1.0, 0.5, None] and rows(source)["d"] == ["7", "u", ""]


@pytest.mark.parametrize("type_", [pa.int32(), pa.float32(), pa.string(), pa.large_string(), pa.decimal128(9, 2)])
def test_csv_beside_parquet_has_the_types_of_parquet(tmp_path, type_):
    pq.write_table(pa.table({"a": pa.array(["1", "2"]).cast(type_), "b": [True, False]}), tmp_path / "0.parquet")
    (tmp_path / "1.csv").write_text("b,a\ntrue,3\n")
    source = opened(tmp_path)
    assert source.schema == pa.schema([("a", type_), ("b", pa.bool_())])
    assert [str(value) for value in rows(source)["a"]] == [
        str(v) for v in pa.array(["1", "2", "3"]).cast(type_).to_pylist()
    ]
    (tmp_path / "2.csv").write_text("b,a\ntrue,3\nfalse,many\n")
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        assert rows(opened(tmp_path))["a"][-1] == "many"
    else:
        with pytest.raises(DataError, match=r"2.csv, line 3: column 'a' holds 'many', which is no "):
            rows(opened(tmp_path))


@pytest.mark.parametrize(
    ("late", "type_", "says"),
    [
        ("1.5", pa.float64(), None),
        ("12345678901234567890", pa.float64(), None),
        ("", pa.int64(), None),
        ("?", pa.string(), r"column 'x' holds '\?', so the column is text"),
        ("2020-01-01", pa.string(), "column 'x' holds '2020-01-01', so the column is text"),
    ],
)
def test_a_late_value_widens_its_column(tmp_path, late, type_, says, monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._INFERRED_BYTES", 1)
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._BLOCK_BYTES", 1 << 10)
    content = "\n".join(["x,empty", *["1,"] * 5000, f"{late},7", "3,"])
    for name, written in (("d.csv", content.encode()), ("d.csv.gz", gzip.compress(content.encode()))):
        (tmp_path / name).write_bytes(written)
        if says is None:
            table = read_table(tmp_path / name)
        else:
            with pytest.warns(DataWarning, match=rf"{name}, line 5002: {says}"):
                table = read_table(tmp_path / name)
        assert table.schema == pa.schema([("x", type_), ("empty", pa.int64())])
        assert table["x"][-2:].cast(pa.string()).to_pylist() == (
            pa.array([late or None, "3"]).cast(type_).cast(pa.string()).to_pylist()
        )
        assert table["empty"].null_count == 5001


DECLARED = Reading(options=column_options({"x": {"kind": "number"}}))


@pytest.mark.parametrize("odd", ["?", "unknown ", "-", "None", "$1.50", "1,234", "1/2/2024"])
@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_one_odd_value_in_a_column_of_numbers(tmp_path, odd, format_):
    values = ["1", "2.5", odd, "", "4"]
    path = tmp_path / f"d.{format_}"
    if format_ == "csv":
        path.write_text("\n".join(["x,y", *(f'"{value}",{i}' for i, value in enumerate(values))]))
        with pytest.warns(DataWarning, match=r"d.csv, line 4: column 'x' holds .*--missing .*kind = \"number\""):
            assert opened(path).schema.types == [pa.string(), pa.int64()]
    else:
        pq.write_table(pa.table({"x": values, "y": range(5)}), path)
        assert opened(path).schema.types == [pa.string(), pa.int64()]
    known = opened(path, Reading(Dialect(missing=(odd,)), options=DECLARED.options))
    assert rows(known)["x"] == [1, 2.5, None, None, 4]
    place = "line 4" if format_ == "csv" else "row 3"
    with pytest.raises(DataError, match=rf"d.{format_}, {place}: column 'x' holds .*--missing .*--on-bad-row skip"):
        rows(opened(path, DECLARED))
    kept = opened(path, Reading(options=DECLARED.options, on_bad_row="null"))
    assert rows(kept)["x"] == [1, 2.5, None, None, 4] and kept.n_rows == 5
    left = opened(path, Reading(options=DECLARED.options, on_bad_row="skip", required=["x"]))
    assert rows(left) == {"x": [1, 2.5, 4], "y": [0, 1, 4]}
    assert (left.n_rows, left.n_skipped, left.first_skipped) == (3, 2, f"{path}, {place}")
    assert [batch.num_rows for batch in left.batches(["y"])] == [3]  # the same rows, whatever is read


def test_declared_kinds(tmp_path):
    (tmp_path / "d.csv").write_text("n,d,b,c,i\n1,2020-01-01,true,7,1\n2,2020-01-02 12:00,0,8,2\n")
    said = {"n": "number", "d": "date", "b": "boolean", "c": "category"}
    source = opened(tmp_path, Reading(options={name: ColumnOptions(kind=kind) for name, kind in said.items()}))
    assert source.schema.types == [pa.float64(), pa.timestamp("us"), pa.bool_(), pa.int64(), pa.int64()]
    assert source.declared == {"n", "d", "b"}


def test_missing_texts_of_one_column(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n-1,-1\n2,3\n")
    source = opened(tmp_path, Reading(options={"a": ColumnOptions(missing=("-1",))}))
    assert rows(source) == {"a": [None, 2], "b": [-1, 3]}


def test_ids_stay_text(tmp_path):
    ids = ["007", "7", "+7", "7.0", "1e3", "12345678901234567890"]
    (tmp_path / "d.csv").write_text("\n".join(["id,x", *(f"{each},1" for each in ids)]))
    source = opened(tmp_path, Reading(as_text=["id"]))
    assert rows(source)["id"] == ids and source.schema.types == [pa.string(), pa.int64()]


def test_how_a_checkpoint_recognises_the_data(tmp_path):
    """The types of the columns are part of the preprocessing, and needn't be here."""
    (tmp_path / "d.csv").write_text("a\n1\n")
    plain = opened(tmp_path)
    assert plain.fingerprint() == open_source(tmp_path).fingerprint()
    others = [Reading(Dialect(missing=("?",))), Reading(on_bad_row="skip"), Reading(Dialect(delimiter=";"))]
    found = {opened(tmp_path, reading).fingerprint() for reading in others}
    assert len(found) == 3 and plain.fingerprint() not in found


def test_readings_that_make_no_sense():
    with pytest.raises(ValueError, match="on_bad_row must be fail, null or skip, got 'skp'"):
        Reading(on_bad_row="skp")
    with pytest.raises(TypeError, match=r"dialect must be a fastnn\.pipeline\.Dialect"):
        Reading({"missing": ["?"]})
