"""Text with the types that a training infers, and with those of a model."""

import gzip
import re
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import read_table

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.options import ColumnOptions, Dialect, column_options
from fastnn.pipeline.columns.schema import DataError, Schema
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.learning.reading import AS_IT_IS, Reading
from fastnn.pipeline.learning.typed import Typed, WidenedError


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


@pytest.mark.parametrize(
    ("kind", "texts", "type_"),
    [
        ("date", ["2020-01-01T10:00:00Z", "2020-01-02T10:00:00.5+02:00", ""], pa.timestamp("us", "UTC")),
        ("date", ["12:00:00", "NA", "23:59:59.5"], pa.time64("us")),
        ("date", ["2020-01-01", "2020-01-02 10:00", "soon"], pa.timestamp("us")),
        ("number", ["true", "false", ""], pa.bool_()),
        ("number", ["1", "0", "2"], pa.float64()),
        ("number", ["many", "few", "none"], pa.float64()),
        ("boolean", ["1", "0", "maybe"], pa.bool_()),
        ("category", ["0.10", "0.1", "x"], pa.string()),
        ("category", ["2020-01-01", "", "2020-01-02"], pa.string()),
        ("category", ["1.0", "", "2.0"], pa.int64()),
        ("category", ["007", "7", "1e3"], pa.string()),
    ],
)
@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_declared_kind_takes_the_type_of_its_that_fits(tmp_path, kind, texts, type_, format_):
    if format_ == "csv":
        (tmp_path / "d").write_text("\n".join(["x,i", *(f"{text},1" for text in texts)]))
    else:
        pq.write_table(pa.table({"x": texts, "i": [1] * len(texts)}), tmp_path / "d")
        type_ = pa.string() if kind == "category" else type_  # whose text stays text
    said = column_options({"x": {"kind": kind}})
    source = opened(tmp_path / "d", Reading(options=said, on_bad_row="null"))
    assert source.schema.field("x").type == type_ and len(rows(source)["x"]) == 3
    column = Schema.infer(source.schema, options=said, text=source.declared).columns[0]
    assert column.kind == kind


@pytest.mark.parametrize(
    ("first", "second", "note"),
    [
        ("1\n2", "3\nlow", "b.csv, line 3: column 'x' holds 'low'"),
        ("low\nhigh", "1\n2", "a.csv, line 2: column 'x' holds 'low'"),
        ("1\n2", "2020-01-01\n2020-01-02", "b.csv, line 2: column 'x' holds '2020-01-01'"),
        ("true\nfalse", "2\n1", "b.csv, line 2: column 'x' holds '2'"),
        ("1\n2\n3\n?", "1\n2", r"a.csv, line 5: column 'x' holds '\?'"),
        ("low\nhigh", "low", None),
        ("low\nhigh", "NA", None),
        ("NA\nNA", "low", None),
        ("1\n2", "1.5\nNA", None),
    ],
)
def test_a_note_of_a_column_that_is_text_because_of_some_files(tmp_path, first, second, note):
    for name, lines in (("a.csv", first), ("b.csv", second), ("c.csv", first)):
        (tmp_path / name).write_text("x,i\n" + "\n".join(f"{line},1" for line in lines.split("\n")))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = opened(tmp_path)
    assert len(caught) == (note is not None)
    if note is not None:
        assert re.search(note, str(caught[0].message)) and source.schema.field("x").type == pa.string()


@pytest.mark.parametrize(
    ("texts", "type_"),
    [
        (["007", "7", "8"], pa.string()),
        (["1" * 20, "1" * 19 + "2"], pa.string()),
        (["1", "0"], pa.int64()),
        (["true", "false"], pa.bool_()),
        (["2024-01", "2024-02"], pa.string()),
        (["2024-01-01", "2024-02-01"], pa.string()),
        (["1.5", "2"], pa.float64()),
    ],
)
def test_labels_stay_different(tmp_path, monkeypatch, texts, type_):
    """Also if the second one comes late."""
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._INFERRED_BYTES", 1)
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._BLOCK_BYTES", 1 << 10)
    for repeats in (1, 3000):
        values = [texts[-1]] * repeats + texts
        (tmp_path / "d.csv").write_text("\n".join(["y,x", *(f"{value},1" for value in values)]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            table = read_table(tmp_path / "d.csv", labels={"y": False})
        assert table.schema.field("y").type == type_
        assert len(set(table["y"].to_pylist())) == len(set(texts))
        if type_ == pa.string():
            assert table["y"].to_pylist() == values


def test_late_values_of_many_columns_need_one_more_pass(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._INFERRED_BYTES", 1)
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._BLOCK_BYTES", 1 << 10)
    n_columns = 30
    lines = [",".join(f"c{i}" for i in range(n_columns))]
    for row in range(600):  # each column's late value comes in a row of its own
        lines.append(",".join("1.5" if row == 100 + 10 * i else "1" for i in range(n_columns)))
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("\n".join(lines))
    source, passes = opened(tmp_path), 0
    while True:
        passes += 1
        try:
            table = pa.Table.from_batches(source.batches(), source.schema)
            break
        except WidenedError:
            assert passes == 1
    assert set(table.schema.types) == {pa.float64()} and table.num_rows == 1200


def test_rows_are_left_out_without_reading_row_groups_one_by_one(tmp_path, monkeypatch):
    table = pa.table({"x": [str(i) if i % 7 else "?" for i in range(1000)], "i": range(1000)})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=30)
    source = opened(tmp_path / "d.parquet", Reading(options=DECLARED.options, on_bad_row="skip", required=["x"]))
    opens, opened_file = [], pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda *given, **named: opens.append(1) or opened_file(*given, **named))
    kept = [i for i in range(1000) if i % 7]
    assert rows(source)["i"] == kept and len(opens) == 1
    assert source.block_rows == [sum(start <= i < start + 30 for i in kept) for start in range(0, 1000, 30)]
    # What is left out doesn't move the others: a row is found in its file.
    assert source.where(500) == f"{tmp_path}/d.parquet, row {kept[500] + 1}"
    batches = [batch["i"].to_pylist() for batch in source.batches(["i"], [3, 1])]
    assert [i for some in batches for i in some] == [i for i in (*range(90, 120), *range(30, 60)) if i % 7]


@pytest.mark.parametrize("empty", [pa.null(), pa.int32()])
def test_csv_beside_a_file_without_values(tmp_path, empty):
    """A column without any value has no type to give; one that has a type has it."""
    pq.write_table(pa.table({"a": pa.nulls(2, empty), "b": [1, 2]}), tmp_path / "0.parquet")
    (tmp_path / "1.csv").write_text("a,b\n3,5\n4,6\n")
    source = opened(tmp_path)
    assert source.schema.field("a").type == (pa.int64() if empty == pa.null() else empty)
    assert rows(source) == {"a": [None, None, 3, 4], "b": [1, 2, 5, 6]}


def test_ids_of_csv_beside_typed_files_stay_text(tmp_path):
    pq.write_table(pa.table({"id": [501, 7], "x": [1, 2]}), tmp_path / "0.parquet")
    (tmp_path / "1.csv").write_text("id,x\n00501,5\n1e3,6\n")
    source = opened(tmp_path, Reading(as_text=["id"]))
    assert rows(source) == {"id": ["501", "7", "00501", "1e3"], "x": [1, 2, 5, 6]}
    pq.write_table(pa.table({"id": [[501]], "x": [1]}), tmp_path / "0.parquet")
    with pytest.raises(DataError, match=r"Column 'id' is list<.*> in some files and text in CSV files"):
        opened(tmp_path, Reading(as_text=["id"]))


@pytest.mark.parametrize(
    ("files", "labels", "type_"),
    [
        (["true\nfalse", "0\n1"], {}, pa.string()),
        (["0\n1", "true\nfalse"], {}, pa.string()),
        (["1.5\n2.5", "007\n1"], {"x": False}, pa.float64()),
        (["007\n1", "1.5\n2.5"], {"x": False}, pa.float64()),
        (["1.5\n2.5", "1" * 20], {"x": False}, pa.float64()),
        (["1.5\n2.5", "+5\n1"], {"x": False}, pa.float64()),
        (["7\n8", "007\n8"], {"x": False}, pa.string()),
        (["7\n8", "1.0\n2.0"], {"x": True}, pa.int64()),
        (["7\n8", "1.0\n1"], {"x": True}, pa.string()),
    ],
)
def test_files_whose_values_are_of_different_types(tmp_path, files, labels, type_):
    for i, lines in enumerate(files):
        (tmp_path / f"{i}.csv").write_text("x,i\n" + "\n".join(f"{line},1" for line in lines.split("\n")))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = opened(tmp_path, Reading(labels=labels))
    assert source.schema.field("x").type == type_ and len(caught) == (type_ == pa.string())
    assert len(rows(source)["x"]) == sum(lines.count("\n") + 1 for lines in files)
    if "007" in files[-1] and caught:  # which is no missing value
        assert "'007'" in str(caught[0].message) and "--missing" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("kind", "files", "type_"),
    [
        ("date", ["\nNA", "2020-01-01T10:00:00Z"], pa.timestamp("us", "UTC")),
        ("date", ["\n", "12:00:00\n13:00:00"], pa.time64("us")),
        ("number", ["NA\n", "true\nfalse"], pa.bool_()),
        ("number", ["true\nfalse", "2.5\n3\n4"], pa.float64()),
    ],
)
def test_all_files_tell_what_a_declared_column_holds(tmp_path, kind, files, type_):
    for i, lines in enumerate(files):
        (tmp_path / f"{i}.csv").write_text("x,i\n" + "\n".join(f"{line},1" for line in lines.split("\n")))
    source = opened(tmp_path, Reading(options=column_options({"x": {"kind": kind}}), on_bad_row="null"))
    assert source.schema.field("x").type == type_ and len(rows(source)["x"]) == 2 + files[1].count("\n") + 1


@pytest.mark.parametrize(
    "reading", [Reading(labels={"x": False}), Reading(options=column_options({"x": {"kind": "category"}}))]
)
def test_names_of_csv_beside_typed_files(tmp_path, reading):
    pq.write_table(pa.table({"x": [7, 8], "i": [1, 2]}), tmp_path / "0.parquet")
    (tmp_path / "1.csv").write_text("x,i\n8,3\n9,4\n")
    assert rows(opened(tmp_path, reading))["x"] == [7, 8, 8, 9]
    (tmp_path / "2.csv").write_text("x,i\n007,5\n")
    assert rows(opened(tmp_path, reading))["x"] == ["7", "8", "8", "9", "007"]


def test_rows_with_infinite_numbers_are_left_out(tmp_path):
    lines = ["x,y,w", "1,2.5,1", "2,,1", "3,inf,1", "-inf,1,1", "5,1,-1", "6,1,inf", "7,1.5,0"]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    table = pa.table({"x": [1.0, np.inf, 3.0], "y": [2.0, 1.0, np.nan], "w": [1, 1, 1]})
    pq.write_table(table, tmp_path / "e.parquet")
    reading = Reading(required=["y", "w"], at_least_0=["w"], on_bad_row="skip")
    assert rows(opened(tmp_path / "d.csv", reading))["x"] == [1, 7]
    assert rows(opened(tmp_path / "e.parquet", reading))["x"] == [1]
    assert opened(tmp_path / "e.parquet", reading).where(0).endswith("e.parquet, row 1")
    assert [batch.num_rows for batch in opened(tmp_path / "d.csv", reading).batches(["w"])] == [2]
