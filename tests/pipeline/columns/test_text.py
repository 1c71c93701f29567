"""Numbers, booleans and dates that arrive as text."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from fastnn.pipeline.columns import text as text_module
from fastnn.pipeline.columns.options import ColumnOptions, Dialect
from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError
from fastnn.pipeline.columns.text import (
    Spelling,
    merged_type,
    odd_one,
    parse,
    parsed_schema,
    spellings_of,
    type_of,
    type_of_names,
)

SPELLINGS = {"x": Spelling(pa.float64()), "b": Spelling(pa.bool_()), "when": Spelling(pa.timestamp("us"))}
TEXT = Spelling(pa.string())
BATCH = pa.record_batch(
    {
        "t": ["1", "x", "", "NA"],
        "x": ["1", " 1.5e3 ", "NA", "-inf"],
        "b": ["true", "False", "", "1"],
        "when": ["2020-01-01", "2020-01-01 10:00", "", "9999-12-31T10:00:00.25"],
    }
)


def test_what_text_spells():
    parsed = parse(BATCH, SPELLINGS, None)
    assert parsed.schema.equals(parsed_schema(BATCH.schema, SPELLINGS))
    assert parsed["x"].to_pylist() == [1.0, 1500.0, None, -np.inf]
    assert parsed["b"].to_pylist() == [True, False, None, True]
    assert [when and when.isoformat() for when in parsed["when"].to_pylist()] == [
        "2020-01-01T00:00:00",
        "2020-01-01T10:00:00",
        None,
        "9999-12-31T10:00:00.250000",
    ]
    assert parsed["t"].to_pylist() == ["1", "x", "", "NA"]  # not a column to parse
    assert parse(parsed, SPELLINGS, None).equals(parsed)  # which has no text to parse


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("text", [pa.string(), pa.large_string()])
def test_missing_texts_blanks_and_decimal_commas(text, encoded):
    words = pa.array([" ?", "1,5", "n/a", "", "1.000,5", None, "-3 "], text)
    words = words.dictionary_encode() if encoded else words
    values, unparsable = Spelling(pa.float64(), ("?", "n/a "), decimal=",").values(words)
    assert values.to_pylist() == [None, 1.5, None, None, None, None, -3.0] and unparsable == [4]
    kept, unparsable = Spelling(pa.string(), ("?", "n/a"), strip=True).values(words)
    assert kept.to_pylist() == [None, "1,5", None, "", "1.000,5", None, "-3"] and unparsable == []
    assert TEXT.changes_nothing and not Spelling(pa.string(), strip=True).changes_nothing


@pytest.mark.parametrize("unparsable", [[3], [0, 63, 999], list(range(0, 1000, 7))])
def test_unparsable_values_spoil_only_their_rows(unparsable):
    values = [str(i / 8) for i in range(1000)]
    for position in unparsable:
        values[position] = f"?{position}"
    batch = pa.record_batch({"x": values})
    bad = np.zeros(1000, np.bool_)
    parsed = parse(batch, SPELLINGS, bad)
    assert np.flatnonzero(bad).tolist() == unparsable
    assert parsed["x"].is_null().to_pylist() == bad.tolist()
    assert [value for value in parsed["x"].to_pylist() if value is not None] == [
        i / 8 for i in range(1000) if i not in unparsable
    ]
    with pytest.raises(DataError, match=rf"Row {50 + unparsable[0] + 1}: column 'x' holds '\?{unparsable[0]}'"):
        parse(batch, SPELLINGS, None, 50)


def test_a_column_of_something_else_is_refused():
    words = pa.record_batch({"x": ["wide", "", "narrow"]})
    with pytest.raises(SchemaError, match=r"'x' is string \(such as 'wide'\), but was double"):
        parse(words, SPELLINGS, None)
    with pytest.raises(DataError, match="Row 2: column 'x' holds 'wide', which is no double"):
        parse(words, SPELLINGS, None, 1)  # after rows that could be parsed
    with pytest.raises(DataError, match="Row 1: column 'x' holds 'wide', which is no double"):
        parse(words[:1], SPELLINGS, None)  # one row may be a bad row
    for first_row in (0, 1):  # since a short file may consist of bad rows
        bad = np.zeros(3, np.bool_)
        parse(words, SPELLINGS, bad, first_row)
        assert bad.tolist() == [True, False, True]


@pytest.mark.parametrize("type_", [pa.int8(), pa.int64(), pa.uint64(), pa.dictionary(pa.int8(), pa.uint64())])
def test_categories_of_integers_keep_every_digit(type_):
    """float64 lacks some integers beyond 2**53; in a column with missing values pandas spells integers as 3.0."""
    largest = 2**64 - 1 if "uint64" in str(type_) else 2**63 - 1
    texts = ["3.0", str(largest), "", f"{largest - 2}.0", "NaN", "0x10", "3.5", "soon"]
    schema = Schema.infer(pa.schema([("x", type_)]), options={"x": ColumnOptions(kind="category")})
    bad = np.zeros(len(texts), np.bool_)
    parsed = parse(pa.record_batch({"x": texts}), spellings_of(schema), bad)
    assert parsed["x"].to_pylist()[:5] == [3, largest, None, largest - 2, None]
    assert bad.tolist() == [False] * 5 + [True] * 3


@pytest.mark.parametrize(
    ("type_", "text", "parsed"),
    [
        (pa.date32(), "9999-12-31", pa.timestamp("us")),
        (pa.timestamp("ns"), "2020-01-02 03:04:05.123456789", pa.timestamp("us")),
        (pa.timestamp("s", "UTC"), "2020-01-02T03:04:05Z", pa.timestamp("us", "UTC")),
        (pa.time32("s"), "03:04:05", pa.time64("us")),
        (pa.int8(), "3", pa.float64()),
        (pa.decimal128(5, 2), "3.25", pa.float64()),
        (pa.bool_(), "true", pa.bool_()),
    ],
)
def test_types_of_training(type_, text, parsed):
    """A value that isn't of the type makes a bad row, wherever it stands."""
    spellings = spellings_of(Schema.infer(pa.schema([("x", type_)])))
    bad = np.zeros(3, np.bool_)
    values = parse(pa.record_batch({"x": [text, "soon", text]}), spellings, bad)["x"]
    assert bad.tolist() == [False, True, False]
    assert values[0].is_valid and values.type == parsed


def test_which_columns_of_a_model_may_be_text():
    table = pa.schema([("n", pa.float64()), ("was_text", pa.float64()), ("t", pa.string())])
    plain = Schema.infer(table, text=["was_text"])
    assert list(spellings_of(plain)) == ["n", "was_text"]  # CSV files; text is read as it is
    assert list(spellings_of(plain, typed=True)) == ["was_text"]
    marked = Schema.infer(table, dialect=Dialect(missing=("?",)))
    assert list(spellings_of(marked)) == ["n", "was_text", "t"] and list(spellings_of(marked, typed=True)) == ["t"]


CELLS = [
    "",
    "1",
    "0.5",
    "true",
    "2020-01-31",
    "2020-01-31 12:00:00",
    "2020-01-31 12:00:00.5",
    "12:00:00",
    "x",
    "2020-01-31T12:00:00Z",
    "+5",
    " 7 ",
    "12345678901234567890",
    "1e400",
]
# Where Arrow's reader infers another type from the same values.
ARROWS = {pa.time32("s"): pa.time64("us"), pa.timestamp("ns"): pa.timestamp("us")}


@pytest.mark.parametrize("cells", [(a, b) for a in CELLS for b in CELLS])
def test_inferred_types_are_those_of_arrow(tmp_path, cells):
    """Merged types are, too; or they are strings, where Arrow would find a narrower or a broader type."""
    found = []
    for some in (*([cell] for cell in cells), cells):
        (tmp_path / "data").write_text("\n".join(["a,b", *(f"{cell},1" for cell in some), ""]))
        arrows = pa.csv.read_csv(tmp_path / "data").schema.field("a").type
        found.append(type_of(pa.array(some), TEXT))
        assert found[-1] == ARROWS.get(arrows, arrows)
    one, other, both = found
    merged = merged_type(one, other)
    assert merged == merged_type(other, one)
    # Arrow takes 1 and true for booleans, but 2 and true for strings.
    assert merged == both or (merged == pa.string() and pa.bool_() in (one, other))
    assert type_of(pa.array(["0x1F"]), TEXT) == pa.string()


@pytest.mark.parametrize(
    ("texts", "odd"),
    [
        (["1", "", "NA", "?", "2.5", "3"], "?"),
        (["1", "2", "-"], "-"),
        (["1", "$1.50", "2"], "$1.50"),
        (["1", "2", "1,234"], "1,234"),
        (["$1.50", "€2", "3 £"], "$1.50"),
        (["2020-01-01", "soon", "2020-01-02 12:00"], "soon"),
        (["1/2/2024", "3/4/2024"], "1/2/2024"),
        (["5 %", "7 %"], "5 %"),
        (["a", "b", "1"], None),
        (["1", "2"], None),
        (["", "NA"], None),
        ([], None),
    ],
)
def test_the_odd_one_among_numbers_and_dates(texts, odd):
    row = odd_one(pa.array(texts, pa.string()), TEXT)
    assert row is None if odd is None else texts[row] == odd
    assert (
        odd_one(pa.array(texts, pa.string()), Spelling(pa.string(), ("?", "-", "soon"))) is None or odd not in "?-soon"
    )


@pytest.mark.parametrize(
    ("texts", "type_", "surely"),
    [
        (["1", "", "2"], pa.int64(), pa.int64()),
        (["007", "7"], pa.string(), pa.string()),
        (["+7", "7"], pa.string(), pa.string()),
        (["-0"], pa.string(), pa.string()),
        (["12345678901234567890", "7"], pa.string(), pa.string()),
        (["1.0", "NA", "2.0"], pa.float64(), pa.int64()),
        (["1.0", "NA", "1"], pa.float64(), pa.string()),
        (["1.0", "2.50"], pa.float64(), pa.string()),
        (["1.5", "12345678901234567890"], pa.float64(), pa.string()),
        (["True", "False", ""], pa.bool_(), pa.bool_()),
        (["TRUE", "true"], pa.string(), pa.string()),
        (["true", "0"], pa.string(), pa.string()),
        (["2024-01-01", "2024-01-02"], pa.string(), pa.string()),
        (["12:00:00"], pa.string(), pa.string()),
        (["a", "1"], pa.string(), pa.string()),
        (["", "NA"], pa.null(), pa.null()),
    ],
)
def test_names_are_numbers_only_if_their_text_comes_back(texts, type_, surely):
    """`type_` is that of a target, which may be a regression after all; `surely` that of a category."""
    found = [type_of_names(pa.array(texts), TEXT, surely=sure) for sure in (False, True)]
    assert found == [type_, surely]
    if surely == pa.int64():
        _, unparsable = Spelling(surely, exact=True).values(pa.array([*texts, "08", "1e3", "9" * 19]))
        assert unparsable == [len(texts), len(texts) + 1, len(texts) + 2]


@pytest.mark.parametrize(
    ("type_", "texts", "most"),
    [
        (pa.timestamp("us"), ["2020-13-05", "2020-01-01T00:00:00Z", "2020-02-31"], 2),
        (pa.timestamp("us", "UTC"), ["2020-01-01 00:00:00", "2020-02-30T00:00:00Z"], 2),
        (pa.time64("us"), ["25:00:00", "12:60", "noon"], 2),
        (pa.int64(), ["1.5", "9" * 20, "many"], 2),
        (pa.float64(), ["many", "1.2.3", "--1"], 2),
        (pa.date32(), ["2020-02-31", "2020-01-01 12:00"], 2),
        (pa.date32(), ["2021-02-29"], 2000),  # which has the shape of a day
    ],
)
def test_many_texts_that_cannot_be_parsed_take_few_attempts(monkeypatch, type_, texts, most):
    """Each attempt takes up to 0.1 ms. By halves, there were two for each of the texts."""
    good = {pa.int64(): "7", pa.float64(): "1.5", pa.date32(): "2020-02-29", pa.time64("us"): "12:00"}
    good |= {pa.timestamp("us"): "2020-02-29", pa.timestamp("us", "UTC"): "2020-02-29T10:00+02:00"}
    mixed = pa.array([good[type_] if i % 5 == 0 else texts[i % len(texts)] for i in range(1000)])
    attempts, parsed = [], text_module._parsed
    monkeypatch.setattr(text_module, "_parsed", lambda *given, **named: attempts.append(1) or parsed(*given, **named))
    values, unparsable = Spelling(type_).values(mixed)
    assert len(attempts) <= most
    assert unparsable == [i for i in range(1000) if i % 5] and values.null_count == len(unparsable)


@pytest.mark.parametrize(
    ("type_", "texts"),
    [
        (pa.date32(), ["2020-01-31", "2020-02-29", "2020-04-30", "1999-12-01", "2020-10-10", "2020-11-30"]),
        (pa.timestamp("us"), ["2020-01-31", "2020-06-30T23", "2020-09-30 23:59", "2020-12-31 00:00:00.1234567"]),
        (pa.timestamp("us", "UTC"), ["2020-01-31T10:00Z", "2020-01-31 10:00:00.5+02", "2020-01-31 10:00-0330"]),
        (pa.time64("us"), ["00:00", "23:59:59", "12:00:00.123456"]),
        (pa.int64(), ["-9223372036854775808", "007", "3.0", "3.", "1e3", "0" * 30 + "7"]),
        (pa.uint64(), ["18446744073709551615", "5.00"]),
        (pa.float64(), ["-1.5e-300", ".5", "5.", "inf", "-Infinity", "+3", "1E5"]),
    ],
)
def test_texts_that_can_be_parsed_are_parsed_among_others(type_, texts):
    """The patterns that find hopeless texts leave these alone."""
    alone = Spelling(type_).values(pa.array(texts))
    assert alone[1] == [] and alone[0].null_count == 0
    among, unparsable = Spelling(type_).values(pa.array([*texts, "hopeless"]))
    assert unparsable == [len(texts)] and among[:-1] == alone[0]
