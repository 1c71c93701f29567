"""Numbers, booleans and dates that arrive as text."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fastnn.pipeline.columns.options import ColumnOptions
from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError
from fastnn.pipeline.io.formats import Csv
from fastnn.pipeline.io.parsing import open_for, parse, parsed_schema

TYPES = {"x": pa.float64(), "b": pa.bool_(), "when": pa.timestamp("us")}
BATCH = pa.record_batch(
    {
        "t": ["1", "x", "", "NA"],
        "x": ["1", " 1.5e3 ", "NA", "-inf"],
        "b": ["true", "False", "", "1"],
        "when": ["2020-01-01", "2020-01-01 10:00", "", "2020-01-01T10:00:00.25"],
    }
)


def test_what_text_spells():
    parsed = parse(BATCH, TYPES, None)
    assert parsed.schema.equals(parsed_schema(BATCH.schema, TYPES))
    assert parsed["x"].to_pylist() == [1.0, 1500.0, None, -np.inf]
    assert parsed["b"].to_pylist() == [True, False, None, True]
    assert [when and when.isoformat() for when in parsed["when"].to_pylist()] == [
        "2020-01-01T00:00:00",
        "2020-01-01T10:00:00",
        None,
        "2020-01-01T10:00:00.250000",
    ]
    assert parsed["t"].to_pylist() == ["1", "x", "", "NA"]  # not a column to parse
    assert parse(parsed, TYPES, None).equals(parsed)  # which has no text to parse


def test_as_arrow_reads_the_same_file(tmp_path):
    """Arrow's own reader finds the same values; a column with a word in it would be strings for that reader."""
    (tmp_path / "d.csv").write_text("x,t\n1,a\n 2.5 ,b\n,c\nnan,d\n1e400,e\n#N/A,f\n")
    schema = Schema.infer(pa.schema([("x", pa.float64()), ("t", pa.string())]))
    expected = pa.csv.read_csv(tmp_path / "d.csv")
    source, spelt = open_for(schema, [str(tmp_path / "d.csv")])
    assert spelt == {"x": pa.float64()} and source.schema.field("x").type == pa.string()
    (batch,) = source.batches()
    assert parse(batch, spelt, None)["x"].equals(expected["x"].combine_chunks())


@pytest.mark.parametrize("unparsable", [[3], [0, 63, 999], list(range(0, 1000, 7))])
def test_unparsable_values_spoil_only_their_rows(unparsable):
    values = [str(i / 8) for i in range(1000)]
    for position in unparsable:
        values[position] = f"?{position}"
    batch = pa.record_batch({"x": values})
    bad = np.zeros(1000, np.bool_)
    parsed = parse(batch, TYPES, bad)
    assert np.flatnonzero(bad).tolist() == unparsable
    assert parsed["x"].is_null().to_pylist() == bad.tolist()
    assert [value for value in parsed["x"].to_pylist() if value is not None] == [
        i / 8 for i in range(1000) if i not in unparsable
    ]
    with pytest.raises(DataError, match=rf"Row {50 + unparsable[0] + 1}: column 'x' holds '\?{unparsable[0]}'"):
        parse(batch, TYPES, None, 50)


def test_a_column_of_something_else_is_refused():
    words = pa.record_batch({"x": ["wide", "", "narrow"]})
    with pytest.raises(SchemaError, match="'x' is string, but was double"):
        parse(words, TYPES, None)
    with pytest.raises(DataError, match="Row 2: column 'x' holds 'wide', which is no double"):
        parse(words, TYPES, None, 1)  # after rows that could be parsed
    for first_row in (0, 1):  # since a short file may consist of bad rows
        bad = np.zeros(3, np.bool_)
        parse(words, TYPES, bad, first_row)
        assert bad.tolist() == [True, False, True]


@pytest.mark.parametrize("type_", [pa.int8(), pa.int64(), pa.uint64(), pa.dictionary(pa.int8(), pa.uint64())])
def test_categories_of_integers_keep_every_digit(tmp_path, type_):
    """float64 lacks some integers beyond 2**53; in a column with missing values pandas spells integers as 3.0."""
    largest = 2**64 - 1 if "uint64" in str(type_) else 2**63 - 1
    lines = ["x", "3.0", str(largest), "", f"{largest - 2}.0", "NaN", "0x10", "3.5", "soon"]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    schema = Schema.infer(pa.schema([("x", type_)]), options={"x": ColumnOptions(kind="category")})
    source, spelt = open_for(schema, [str(tmp_path / "d.csv")])
    (batch,) = source.batches()
    bad = np.zeros(batch.num_rows, np.bool_)
    parsed = parse(batch, spelt, bad)
    assert parsed["x"].to_pylist()[:3] == [3, largest, largest - 2]  # since an empty line isn't a row
    assert bad.tolist() == [False, False, False, False, True, True, True]


@pytest.mark.parametrize(
    ("type_", "text", "parsed"),
    [
        (pa.date32(), "2020-01-02", pa.date32()),
        (pa.timestamp("ns"), "2020-01-02 03:04:05.123456789", pa.timestamp("ns")),
        (pa.timestamp("s", "UTC"), "2020-01-02T03:04:05Z", pa.timestamp("s", "UTC")),
        (pa.time32("s"), "03:04:05", pa.time32("s")),
        (pa.int8(), "3", pa.float64()),
        (pa.decimal128(5, 2), "3.25", pa.float64()),
        (pa.bool_(), "true", pa.bool_()),
    ],
)
def test_types_of_training(tmp_path, type_, text, parsed):
    """Dates are as exact as in the file; a value that isn't a date makes a bad row, wherever it stands."""
    schema = Schema.infer(pa.schema([("x", type_)]))
    for name, lines in (("good", [text] * 3), ("bad", [text, "soon", text])):
        (tmp_path / name).write_text("\n".join(["x", *lines]))
        source, spelt = open_for(schema, [str(tmp_path / name)])
        (batch,) = source.batches()
        bad = np.zeros(3, np.bool_)
        values = parse(batch, spelt, bad)["x"]
        assert bad.tolist() == [line == "soon" for line in lines]
        assert values[0].is_valid and (name == "bad" or values.type == parsed)


def test_another_format_is_left_alone(tmp_path):
    schema = Schema.infer(pa.schema([("x", pa.float64())]))
    pa.parquet.write_table(pa.table({"x": ["1"]}), tmp_path / "d.parquet")
    source, spelt = open_for(schema, [str(tmp_path / "d.parquet")])
    assert spelt == {} and source.schema.field("x").type == pa.string()


def test_several_files_are_opened_once(tmp_path, monkeypatch):
    """Their types are inferred together; the model's columns come as text, all others with the inferred types."""
    for day, value in ((1, "1"), (2, "2.5")):
        (tmp_path / f"day={day}").mkdir()
        (tmp_path / f"day={day}" / "d.csv").write_text(f"x,more\n{value},{value}\n")
    opened = []
    monkeypatch.setattr(Csv, "__init__", lambda *arguments, init=Csv.__init__: opened.append(1) or init(*arguments))
    schema = Schema.infer(pa.schema([("x", pa.float64()), ("day", pa.int32())]))
    source, spelt = open_for(schema, [str(tmp_path)])
    types = [pa.string(), pa.float64(), pa.int32()]
    assert [part.schema.types for part in source.parts] == [types, types] and source.schema.types == types
    rows = pa.Table.from_batches([parse(batch, spelt, None) for batch in source.batches()]).to_pydict()
    assert rows == {"x": [1.0, 2.5], "more": [1.0, 2.5], "day": [1, 2]}
    assert len(opened) == 2


def test_a_file_of_other_columns_is_refused(tmp_path):
    schema = Schema.infer(pa.schema([("x", pa.float64())]))
    for content, message in (("x\n2020-01-01\n", "'x' is date32"), ("y\n1\n", "no column 'x'")):
        (tmp_path / "d.csv").write_text(content)
        with pytest.raises(SchemaError, match=message):
            open_for(schema, [str(tmp_path / "d.csv")])
