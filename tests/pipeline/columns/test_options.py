"""The options of columns: each mistake has an error message that says what is wrong."""

import pytest

from fastnn.pipeline.columns.options import ColumnOptions, Dialect, column_options, hint, read_columns

SAID = {
    "price": {"impute": "median", "indicator": True, "standardise": False},
    "zip": {"kind": "category", "max_categories": 50},
    "colour of it": {"categories": ["red", "blue"]},
}
TOML = """
[price]
impute = "median"
indicator = true
standardise = false
[zip]
kind = "category"
max_categories = 50
["colour of it"]
categories = ["red", "blue"]
"""


def test_the_file_says_what_the_call_says(tmp_path):
    (tmp_path / "columns.toml").write_text(TOML)
    options, missing = read_columns(tmp_path / "columns.toml")
    assert options == column_options(SAID) and missing == ()
    assert options["price"] == ColumnOptions(impute="median", indicator=True, standardise=False)
    assert options["colour of it"].categories == ("red", "blue")
    assert column_options(options) == options


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"kind": "float"}, "kind must be one of number, category, date, boolean, ignore, got 'float'"),
        ({"kind": ["number"]}, "kind must be one of"),
        ({"impute": "most"}, "impute must be one of mean, median, got 'most'"),
        ({"impute": True}, "impute must be one of"),
        ({"indicator": 1}, "indicator must be true or false, got 1"),
        ({"standardise": "no"}, "standardise must be true or false, got 'no'"),
        ({"categories": "red"}, "categories must be a list of words, got 'red'"),
        ({"categories": []}, "categories must be a list"),
        ({"categories": ["a", 3]}, "categories must be a list"),
        ({"categories": ["a", ""]}, "categories must be a list"),
        ({"categories": ["a", "a"]}, "differ from one another"),
        ({"categories": ["a"], "max_categories": 3}, "exclude one another"),
        ({"kind": "ignore", "indicator": False}, "a column to ignore has no other options"),
        ({"max_categories": 0}, "max_categories must be a whole number of at least 1, got 0"),
        ({"max_categories": 2.0}, "max_categories must be a whole number"),
        ({"max_categories": True}, "max_categories must be a whole number"),
        ({"Kind": "number"}, r"no option 'Kind' \('kind' looks like it\)"),
        ({"standardize": True}, r"no option 'standardize' \('standardise' looks like it\)"),
        ("median", "expected options such as kind"),
    ],
)
def test_mistakes_name_the_column(said, message):
    with pytest.raises(ValueError, match=f"Column 'price': .*{message}"):
        column_options({"zip": {}, "price": said})


def test_what_is_no_mapping():
    with pytest.raises(ValueError, match="must map names to options"):
        column_options(["price"])


def test_files_that_are_none(tmp_path):
    path = tmp_path / "c.toml"
    for content in (b"[price\n", b"price = 3", b"\xff\xfe", b'[a]\nkind = "b"', b"[a]\n[a]\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"c\.toml: "):
            read_columns(path)
    with pytest.raises(OSError, match="absent"):
        read_columns(tmp_path / "absent")


def test_hint():
    assert hint("Price", ["cost", "price"]) == " ('price' looks like it)"
    assert hint("prise", ["cost", "price"]) == " ('price' looks like it)"
    assert hint("x", ["cost", "price"]) == hint("x", []) == ""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"delimiter": ";;"}, "delimiter must be one ASCII character"),
        ({"delimiter": '"'}, "delimiter must be one ASCII character"),
        ({"delimiter": "x"}, "delimiter can't be a letter or a digit"),
        ({"decimal": "1"}, "decimal can't be a letter or a digit"),
        ({"decimal": "-"}, "decimal must be one ASCII character and no sign"),
        ({"decimal": ","}, "delimiter and decimal must differ"),
    ],
)
def test_dialects_that_make_no_sense(said, message):
    with pytest.raises(ValueError, match=message):
        Dialect(**said)
