"""CSV files: their text is what stands between the delimiters, however the file is cut, compressed or encoded."""

import bz2
import csv
import gzip
import io

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import read_table, typed

from fastnn.pipeline.columns.options import PLAIN, Dialect
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io import csvfile
from fastnn.pipeline.io.csvfile import Csv
from fastnn.pipeline.io.opening import open_file
from fastnn.pipeline.io.places import Local


def opened(path, dialect=PLAIN) -> Csv:
    found = open_file(Local(str(path)), {}, dialect)
    assert isinstance(found, Csv)
    return found


def rows(source: Csv, names=None) -> dict:
    return pa.Table.from_batches(source.batches(names), None if names else source.schema).to_pydict()


AWKWARD = ["007", "501", "123e45", "+5", "-0", " a ", "", "NA", "null", "1" * 30, "ü", 'say "x"', "a,b", "two\nlines"]


def test_text_is_what_stands_there(tmp_path):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["id", "n"], *([word, 1] for word in AWKWARD)])
    (tmp_path / "d").write_text(text.getvalue(), newline="", encoding="utf-8")
    assert rows(opened(tmp_path / "d")) == {"id": AWKWARD, "n": ["1"] * len(AWKWARD)}


@pytest.mark.parametrize("n_rows", [10, 400_000])
def test_compressed_or_not(tmp_path, n_rows):
    table = pa.table({"i": range(n_rows), "t": [f"row {i}" for i in range(n_rows)]})
    pyarrow.csv.write_csv(table, tmp_path / "data")
    content = (tmp_path / "data").read_bytes()
    (tmp_path / "gzip").write_bytes(gzip.compress(content, 1))
    (tmp_path / "bz2").write_bytes(bz2.compress(content, 1))
    for name in ("zstd", "lz4"):
        with pa.CompressedOutputStream(str(tmp_path / name), name) as file:
            file.write(content)
    for name in ("data", "gzip", "bz2", "zstd", "lz4"):
        assert read_table(tmp_path / name) == table


def test_a_first_name_that_looks_like_a_magic_number(tmp_path):
    for name in ("BZh", "ARROW1", "ORB"):
        (tmp_path / "data").write_text(f"{name},b\n1,2\n")
        assert read_table(tmp_path / "data").to_pydict() == {name: [1], "b": [2]}


@pytest.mark.parametrize(
    ("dialect", "content", "table"),
    [
        (Dialect(delimiter=";", decimal=","), b"a;b\n1,5;x\n-2;y\n", {"a": [1.5, -2], "b": ["x", "y"]}),
        (Dialect(delimiter="\\t"), b"a\tb\n1\tx,y\n", {"a": [1], "b": ["x,y"]}),
        (Dialect(encoding="latin-1"), "a,b\n1,\xe9\n".encode("latin-1"), {"a": [1], "b": ["\xe9"]}),
        (Dialect(encoding="utf-16"), "a,b\n1,\xe9\n".encode("utf-16"), {"a": [1], "b": ["\xe9"]}),
        (Dialect(encoding="utf-16-le"), "a,b\n1,\u20ac\n".encode("utf-16-le"), {"a": [1], "b": ["\u20ac"]}),
        (Dialect(encoding="cp1252"), "\u20ac,b\n1,2\n".encode("cp1252"), {"\u20ac": [1], "b": [2]}),
        (Dialect(missing=("?", "n/a")), b"a,b\n1,x\n?,n/a\n2,?\n", {"a": [1, None, 2], "b": ["x", None, None]}),
        (Dialect(strip=True), b"a, b\n1, x\n2,y \n", {"a": [1, 2], " b": ["x", "y"]}),
        (PLAIN, b"\xef\xbb\xbfa,b\r\n1, x\r\n", {"a": [1], "b": [" x"]}),
    ],
)
def test_dialects(tmp_path, dialect, content, table):
    (tmp_path / "d").write_bytes(content)
    assert read_table(tmp_path / "d", dialect=dialect).to_pydict() == table


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("a\n1\n\n2\n", ["1", "", "2"]),
        ("a\n\n\n", ["", ""]),
        ("\n\na\n\n1", ["", "1"]),
        ('a\n""\n1\n', ["", "1"]),
        ("a,b\n\n1,2\n\n", ["1"]),
    ],
)
def test_a_blank_line_is_a_row_of_a_single_column(tmp_path, content, values):
    (tmp_path / "d").write_text(content)
    assert rows(opened(tmp_path / "d"), ["a"])["a"] == values


@pytest.mark.parametrize("content", ["a,b", "a,b\n", "\n\na,b", "a,b\r\n\r\n"])
def test_a_header_alone(tmp_path, content):
    (tmp_path / "d").write_text(content, newline="")
    source = opened(tmp_path / "d")
    assert rows(source) == {"a": [], "b": []} and source.head(["a"]).num_rows == 0


def test_long_texts_need_larger_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csvfile, "_BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(csvfile, "MOST_BLOCK_BYTES", 1 << 18)
    texts = ["x" * (100_000 if i == 700 else 20_000 if i in (0, 900) else 5) for i in range(1000)]
    (tmp_path / "d").write_text("\n".join(["n,t", *(f"{i},{text}" for i, text in enumerate(texts))]))
    source = opened(tmp_path / "d")
    assert rows(source) == {"n": list(map(str, range(1000))), "t": texts}
    assert rows(opened(tmp_path / "d"), ["n"]) == {"n": list(map(str, range(1000)))}
    with (tmp_path / "d").open("a") as file:
        file.write('\n1,"' + "x\n" * 300_000)
    with pytest.raises(DataError, match=r"a row has more than 0 MB\. Is a quotation mark"):
        rows(opened(tmp_path / "d"), ["n"])


def test_the_lines_of_rows(tmp_path):
    (tmp_path / "d").write_text('a,b\n\n1,2\n"two\nlines",4\n5,6\n')
    assert [opened(tmp_path / "d").line_of(row) for row in range(3)] == [3, 4, 6]
    (tmp_path / "e").write_text("a\n\n1\n")
    assert [opened(tmp_path / "e").line_of(row) for row in range(2)] == [2, 3]


def test_text_that_is_not_read_may_be_of_another_encoding(tmp_path):
    (tmp_path / "d").write_bytes(b"a,b,c\n1,\xff,3\n")
    source = opened(tmp_path / "d")
    assert rows(source, ["a", "c"]) == {"a": ["1"], "c": ["3"]}
    with pytest.raises(DataError, match="the text of column 'b' isn't utf-8"):
        rows(source, ["b", "c"])


# A CSV file's cells may hold anything: they have the types that Arrow finds in the whole file.
CELLS = st.one_of(
    st.sampled_from(
        ["", "NA", "nan", "1", "-2", "0.5", "1e3", "true", "False", "007", "x", "2020-01-31", "2020-01-31 12:00:00"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=5),
)


@pytest.mark.filterwarnings("ignore::fastnn.pipeline.DataWarning")
@given(cells=st.lists(st.tuples(CELLS, CELLS), max_size=20))
@settings(deadline=None, max_examples=100)
def test_values_are_those_of_pyarrow(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    lines = [
        ",".join('"' + cell.replace('"', '""') + '"' if set(cell) & set(' ,"\n') else cell for cell in row)
        for row in cells
    ]
    path.write_text("\n".join(["a,b", *lines, ""]), encoding="utf-8", newline="")
    whole = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    source = typed(open_file(Local(str(path)), {}))
    assert pa.Table.from_batches(source.batches(), source.schema) == whole


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "line 3: a quotation mark is missing in the row that begins there"),
        ('a,b\n1,2\n3,"4 ""or"" 5\n5,"6"\n7,8', "line 3: a quotation mark is missing"),
        ('a,b\n0,"1"\n1,"2\n3,"4"\n5,"6"\n', "line 3: a quotation mark is missing"),
        ('a,b\n"1",0\n"2,1\n"4",3\n"6",5\n', "line 3: a quotation mark is missing"),
        ('b,a,c\n7,"1",0\n7,"2,1\n7,"4",3\n7,"6",5\n', "line 3: a quotation mark is missing"),
        ('a\n1\n"2\n3\n', "line 3: a quotation mark is missing"),
        ('a,b\n1,2\n"3,4\n5,6\n7,8\n', r"line 3: Expected 2 columns, got 1\. Is a quotation mark missing\?"),
        ("a,b\n1,2\n3,4,5\n", r"line 3: Expected 2 columns, got 3\.$"),
    ],
)
def test_a_missing_quotation_mark_swallows_nothing(tmp_path, newline, content, message):
    (tmp_path / "d").write_text(content.replace("\n", newline), newline="")
    for names in (None, ["a"]):
        with pytest.raises(DataError, match=rf"d, {message}"):
            rows(opened(tmp_path / "d"), names)


@pytest.mark.parametrize("end", ['3,"4\n5"', '3,"4\n5"\n', '7,"8', '7," 5"" pipe"', "7,5'", '7,"a\n""b\n"""'])
def test_quotation_marks_that_are_closed_or_harmless(tmp_path, end):
    (tmp_path / "d").write_text(f'a,b\n1,5" pipe\n{end}')
    assert rows(opened(tmp_path / "d"), ["a"])["a"] == ["1", end[0]]


@pytest.mark.parametrize(
    ("encoding", "content", "message"),
    [
        ("utf-8", b"a,b\n1,x\n2,y\n3,\xff\n", "d, line 4: the text of column 'b' isn't utf-8"),
        ("utf-8", b'a,b\n1,"x\n\n"\n2,y\n3,\xff\n', "d, line 6: the text of column 'b' isn't utf-8"),
        ("utf-8", b"a,b\n1,x\n\xff,y\n3,z\n", "d, line 3: the text of column 'a' isn't utf-8"),
        ("cp1252", b"a,b\n1,x\n2,\x81\n", "d, line 3: the text isn't cp1252"),
        ("ascii", b"a,b\n1,x\n2,\xe9\n", "d, line 3: the text isn't ascii"),
        ("utf-16-le", "a,b\n1,x\n".encode("utf-16-le") + b"\x00\xd8,\x00", "d: the text isn't utf-16-le"),
    ],
)
def test_where_text_is_of_another_encoding(tmp_path, encoding, content, message):
    (tmp_path / "d").write_bytes(content)
    limit = csv.field_size_limit()
    with pytest.raises(DataError, match=message):
        rows(opened(tmp_path / "d", Dialect(encoding=encoding)))
    assert csv.field_size_limit() == limit  # which is the whole process's


@pytest.mark.parametrize("delimiter", [",", " ", ";", "\t"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('id|note|x\n1|a|1\n5|"b|5\n6|"c"|6\n7|d|7\n', "line 3: a quotation mark is missing"),
        ('id|note|x\n1|a|1\n5|b|"5\n6|c|"6"!\n7|d|7\n', "line 3: a quotation mark is missing"),
        ('id|x|"note\n1|1|a\n2|2|b\n', "line 1: a quotation mark is missing"),
        ('id|x|"note\n1|1|"a"\n2|2|b\n', "line 1: a quotation mark is missing"),
    ],
)
def test_missing_quotation_marks_in_columns_that_are_not_read(tmp_path, delimiter, content, message):
    text = content.replace("|", delimiter)
    for name, written in (("d", text.encode()), ("e", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(written)
        with pytest.raises(DataError, match=rf"{name}, {message}"):
            rows(opened(tmp_path / name, Dialect(delimiter=delimiter)), ["id"])


@pytest.mark.parametrize("end", ["end", '"end"', '3 0 "he ""said\nhi"""', '"a\nb" 0 c'])
def test_intact_files_raise_no_false_alarm(tmp_path, end):
    (tmp_path / "d").write_text(f"x y note\n1 0 a\n{end if ' ' in end else f'2 0 {end}'}\n4 1 c")
    assert len(rows(opened(tmp_path / "d", Dialect(delimiter=" ")), ["y"])["y"]) >= 3


def test_a_byte_order_mark_moves_no_line(tmp_path):
    (tmp_path / "d").write_text('\ufeff"a,b",c,y\n1,2,0\n2,3,1\n3,4\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"d, line 4: Expected 3 columns, got 2\.$"):
        opened(tmp_path / "d")
    (tmp_path / "d").write_text('\ufeff"a\nb",c\n1,2\n2,3\n', encoding="utf-8")
    source = opened(tmp_path / "d")
    assert source.schema.names == ["a\nb", "c"] and source.line_of(1) == 4


def test_one_name_that_may_be_several(tmp_path):
    (tmp_path / "d").write_text("x;y\n1;2\n")
    with pytest.raises(DataError, match=r"has no column 'y', but 'x;y'\. Does another .* --delimiter ';'\?"):
        opened(tmp_path / "d").check_columns(["y"])
