"""Tables as their users have them: whatever the files look like, the scores are those of the same rows in Parquet."""

import datetime
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from fastnn.cli import main

N = 240
CHANCE = np.random.default_rng(0)
X = CHANCE.standard_normal(N).round(3)
STORES = CHANCE.choice(["A1", "22", "7"], N)
SINCE = [datetime.datetime(1900, 1, 1) + datetime.timedelta(days=i * 100) for i in range(N - 1)]
SINCE.append(datetime.datetime(9999, 12, 31))  # how many systems write "still valid"
PLAIN = pa.table(
    {
        "id": [f"{i:05d}" for i in range(N)],
        "x": [None if i % 50 == 7 else x for i, x in enumerate(X.tolist())],
        "k": pa.array(np.arange(N) % 9),
        "store": STORES.tolist(),
        "since": pa.array(SINCE, pa.timestamp("us")),
        "y": np.where(X + (STORES == "22") > 0.3, "yes", "no").tolist(),
    }
)
TRAIN = ["--target", "y", "--ignore", "id", "--hidden", 8, "--epochs", 4, "--learning-rate", 0.01, "--seed", 3]


def call(*arguments):
    return main([str(each) for each in arguments])


def fail(capsys, *arguments):
    """The exit code and the one line on stderr of a command that fails."""
    capsys.readouterr()
    code = call(*arguments)
    found = capsys.readouterr()
    lines = [line for line in found.err.splitlines() if line.startswith("fastnn: ")]
    assert "Traceback" not in found.err and lines and code not in (0, 1), found.err
    return code, lines[-1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A folder with the plain file, a model of it, and its scores."""
    folder = tmp_path_factory.mktemp("plain")
    pq.write_table(PLAIN, folder / "d.parquet")
    assert call("train", folder / "d.parquet", *TRAIN, "--model", folder / "m") == 0
    assert call("predict", folder / "m", folder / "d.parquet", "--out", folder / "s.parquet", "--keep", "id") == 0
    return folder


def changed(name, values, table=PLAIN):
    return table.set_column(table.column_names.index(name), name, values)


def parts(folder, *tables, write=pq.write_table, ending="parquet"):
    """Write the rows of several tables into files, a third of the rows each."""
    for number, table in enumerate(tables):
        write(table.slice(number * N // len(tables), N // len(tables)), folder / f"{number}.{ending}")


def csv_text(table=PLAIN, **options):
    return table.to_pandas().to_csv(index=False, **options)


def as_text(table):
    return pa.table({name: table[name].cast(pa.string()) for name in table.column_names})


def hive(folder, table=PLAIN, write=pq.write_table, ending="parquet"):
    """A folder for each store, in the files' order of rows."""
    for start in range(0, N, 40):
        rows = table.slice(start, 40)
        for store in sorted(set(rows["store"].to_pylist())):
            path = folder / f"{start:03d}/store={store}"
            path.mkdir(parents=True)
            write(rows.filter(pa.compute.equal(rows["store"], store)).drop_columns("store"), path / f"p.{ending}")


def write_csv(table, path):
    path.write_text(csv_text(table))


def utf16(table, path):
    path.write_text(csv_text(table), encoding="utf-16")


def frame(table):
    """A pandas frame that was filtered, which has an index."""
    return pd.concat([table.to_pandas(), table.to_pandas().head(3)]).iloc[:N]


VARIANTS = {
    # 1. Dates
    "int96": lambda d: pq.write_table(PLAIN, d / "d.parquet", use_deprecated_int96_timestamps=True),
    "milliseconds": lambda d: pq.write_table(changed("since", PLAIN["since"].cast("timestamp[ms]")), d / "d.parquet"),
    "dates": lambda d: pq.write_table(changed("since", PLAIN["since"].cast("date32")), d / "d.parquet"),
    "csv": lambda d: write_csv(PLAIN, d / "d.csv"),
    "csv.gz": lambda d: (d / "d").write_bytes(gzip.compress(csv_text().encode())),
    "arrow": lambda d: pyarrow.feather.write_feather(PLAIN, d / "d.feather"),
    # 4. pandas' index
    "pandas": lambda d: frame(PLAIN).to_parquet(d / "d.parquet"),
    "pandas, named index": lambda d: (
        PLAIN.to_pandas().set_index("id", drop=False).rename_axis("row").to_parquet(d / "d")
    ),
    "an empty part": lambda d: (PLAIN.to_pandas().to_parquet(d / "1"), PLAIN.to_pandas().iloc[:0].to_parquet(d / "0")),
    "an empty file": lambda d: (pq.write_table(PLAIN, d / "1"), pd.DataFrame().to_parquet(d / "0"), (d / "2").touch()),
    # 5. Odd columns
    "a column in some files": lambda d: parts(d, PLAIN, PLAIN.append_column("note", [["n"] * N]), PLAIN),
    "a nested column": lambda d: parts(d, PLAIN.append_column("l", [[[1]] * N]), PLAIN.append_column("l", [["n"] * N])),
    "a target of another type": lambda d: parts(d, PLAIN, changed("y", [list(range(N))]), PLAIN.drop_columns("y")),
    "odd columns in csv": lambda d: parts(
        d, PLAIN, PLAIN.append_column("note", [["n"] * N]).drop_columns("y"), write=write_csv, ending="csv"
    ),
    # 6. Types of one family
    "widths": lambda d: parts(
        d,
        changed("k", PLAIN["k"].cast("int8")),
        changed("k", PLAIN["k"].cast("double")),
        changed("k", PLAIN["k"].cast("uint64")),
    ),
    "text": lambda d: parts(
        d,
        changed("store", PLAIN["store"].dictionary_encode()),
        changed("store", PLAIN["store"].cast("large_string")),
        PLAIN,
    ),
    "units": lambda d: parts(
        d, changed("since", PLAIN["since"].cast("timestamp[s]")), changed("since", PLAIN["since"].cast("date64")), PLAIN
    ),
    "other dictionaries": lambda d: parts(
        d,
        *(changed("store", PLAIN["store"].slice(0, N).cast(pa.dictionary(t, pa.string()))) for t in ("int8", "int32")),
    ),
    "csv beside parquet": lambda d: (parts(d, PLAIN.slice(0, N // 2)), write_csv(PLAIN.slice(N // 2), d / "1.csv")),
    # 7. Partitions
    "hive": hive,
    "hive of csv": lambda d: hive(d, write=write_csv, ending="csv"),
    # 8. and other CSV files
    "a long text": lambda d: write_csv(PLAIN.append_column("text", [["x" * (6 << 20), *["y"] * (N - 1)]]), d / "d.csv"),
    "quoted": lambda d: pyarrow.csv.write_csv(as_text(PLAIN), d / "d.csv"),
    "bom": lambda d: (d / "d.csv").write_text(csv_text(), encoding="utf-8-sig"),
    "crlf": lambda d: (d / "d.csv").write_text(csv_text(), newline="\r\n"),
    "zstd": lambda d: write_compressed(d / "d.csv", "zstd"),
}


def write_compressed(path, name):
    with pa.CompressedOutputStream(str(path), name) as file:
        file.write(csv_text().encode())


def scores(path):
    return pq.read_table(path).sort_by("id").to_pydict()


@pytest.mark.parametrize("name", VARIANTS)
def test_scores_are_those_of_the_plain_file(plain, tmp_path, capsys, name):
    data = tmp_path / "data"
    data.mkdir()
    VARIANTS[name](data)
    expected = scores(plain / "s.parquet")
    if name == "pandas":
        assert "__index_level_0__" in pq.read_schema(data / "d.parquet").names
    predict = ["predict", plain / "m", data, "--keep", "id", "--out"]
    assert call(*predict, tmp_path / "s.parquet") == 0, capsys.readouterr().err
    found = scores(tmp_path / "s.parquet")
    assert found == expected if "dates" not in name else found["id"] == expected["id"]
    # A folder of outputs, and what is left to do after it.
    assert call(*predict, f"{tmp_path}/out/") == 0
    again = scores(tmp_path / "out") if os.listdir(tmp_path / "out") else {}
    assert again["prediction"] == expected["prediction"]
    capsys.readouterr()
    assert call(*predict, f"{tmp_path}/out/", "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == len(list((tmp_path / "out").rglob("*.parquet")))


CAN_TEACH = [
    name for name in VARIANTS if "some files" not in name and "nested" not in name and "another type" not in name
]


@pytest.mark.parametrize("name", [name for name in CAN_TEACH if name != "odd columns in csv"])
def test_training_and_evaluating(plain, tmp_path, capsys, name):
    data = tmp_path / "data"
    data.mkdir()
    VARIANTS[name](data)
    options = TRAIN if name != "a long text" else [*TRAIN, "--ignore", "text"]
    assert call("train", data, *options, "--model", tmp_path / "m", "--resume") == 0, capsys.readouterr().err
    capsys.readouterr()
    for model in (tmp_path / "m", plain / "m"):
        assert call("evaluate", model, data, "--target", "y", "--json") == 0, capsys.readouterr().err
        found = json.loads(capsys.readouterr().out)
        assert call("evaluate", model, plain / "d.parquet", "--target", "y", "--json") == 0
        expected = json.loads(capsys.readouterr().out)
        assert found["rows"] == N and found["accuracy"] == expected["accuracy"] > 0.6
        assert found["log_loss"] == pytest.approx(expected["log_loss"], rel=1e-6)


IDS = [
    *("007", "501", "00501", "0", "00", "-0", "+5", "-5", "+05", "1.0", "1.", ".5", "1e3", "123e45", "1E-3", "0x1F"),
    *("12345678901234567890", "12345678901234567891", "9" * 30, "0.1", "1_000", "1,000", "$1", "5 %"),
    *(" 7", "7 ", " ", "a b", "ü", "日本", "\u00a07", "'", '"', 'say "x"', "a,b", "two\nlines", "\ttab"),
    *("NA", "null", "nan", "NaN", "None", "inf", "true", "False", "2020-01-01", "12:00:00", "#N/A"),
]


def write_parquet(table, path):
    pq.write_table(table, path)


def write_arrow(table, path):
    pyarrow.feather.write_feather(table, path)


def write_csv_by_arrow(table, path):
    pyarrow.csv.write_csv(table, path)


def write_latin(table, path):
    path.write_bytes(gzip.compress(csv_text(table).encode()))


READERS = {
    "csv": lambda path: pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"id": pa.string()}),
    ),
    "parquet": pq.read_table,
    "arrow": pyarrow.feather.read_table,
}


@pytest.mark.parametrize("out", READERS)
@pytest.mark.parametrize("write", [write_parquet, write_arrow, write_csv, write_csv_by_arrow, write_latin])
def test_ids_come_out_as_they_went_in(plain, tmp_path, write, out):
    n = len(IDS)
    table = changed("id", [IDS], PLAIN.slice(0, n))
    write(table, tmp_path / "d")
    target = tmp_path / f"s.{out}"
    assert call("predict", plain / "m", tmp_path / "d", "--out", target, "--keep", "id") == 0
    found = READERS[out](target)
    assert found["id"].to_pylist() == IDS
    assert found["prediction"].to_pylist() == pq.read_table(plain / "s.parquet")["prediction"].to_pylist()[:n]


@pytest.mark.parametrize("type_", ["int64", "uint64", "decimal128(25, 0)", "double", "dictionary"])
@pytest.mark.parametrize("out", READERS)
def test_ids_of_types(plain, tmp_path, type_, out):
    ids = [0, 5, 2**53 + 1, 2**63 - 1, 7] if type_ != "double" else [0.5, 1e300, 5.0, -0.25, 3.0]
    types = {"decimal128(25, 0)": pa.decimal128(25, 0), "dictionary": pa.int64()}
    values = pa.array(ids).cast(types.get(type_, type_))
    values = values.dictionary_encode() if type_ == "dictionary" else values
    pq.write_table(changed("id", values, PLAIN.slice(0, 5)), tmp_path / "d")
    target = tmp_path / f"s.{out}"
    assert call("predict", plain / "m", tmp_path / "d", "--out", target, "--keep", "id") == 0
    text = READERS[out](target)["id"].cast(pa.string()).to_pylist()
    assert [float(each) if type_ == "double" else int(each) for each in text] == ids


def test_ids_to_hold_out_by_are_text(tmp_path, capsys):
    """As numbers, 00501 and 501 would be one id, and so would the two long ones."""
    ids = ["00501", "501", "12345678901234567890", "12345678901234567891"] * (N // 4)
    table = changed("id", [ids])
    found = []
    for name, write in (("d.csv", write_csv), ("d.parquet", write_parquet)):
        write(table, tmp_path / name)
        options = [option for option in TRAIN if option not in ("--ignore", "id")]
        for share in (0.25, 0.5, 0.75):
            command = ["train", tmp_path / name, *options, "--hold-out-by", "id", "--validation", share, "--json"]
            if call(*command, "--model", tmp_path / "m") == 0:
                found.append(json.loads(capsys.readouterr().out)["validation_rows"])
            else:
                found.append(capsys.readouterr().err.splitlines()[-1])
    assert found[:3] == found[3:]


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        ([], b"x;y\n1,5;a\n2,5;b\n", "--delimiter ';'"),
        ([], b"x;y\n1;a\n2;b\n", "has no column 'y', but 'x;y'"),
        (["--delimiter", ";;"], b"x,y\n", "delimiter must be one ASCII character"),
        (["--decimal", ","], b"x,y\n", "must differ"),
        (["--encoding", "klingon"], b"x,y\n", "encoding must be one that Python knows"),
        ([], "x,y\n1,é\n2,b\n".encode("latin-1"), "--encoding latin-1"),
        ([], "x,y\n1,a\n".encode("utf-16"), "--encoding utf-16"),
        ([], b"PK\x03\x04 and more", "a zip archive or an Excel file"),
        ([], b"PARE\x15\x00 and more", "an encrypted Parquet file"),
        ([], b"x,y\n1,a\n2,\x1b[31mred\n1,a,b\n", "Expected 2 columns, got 3"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, capsys, options, content, message):
    (tmp_path / "d").write_bytes(content)
    code, line = fail(capsys, "train", tmp_path / "d", "--target", "y", "--model", tmp_path / "m", *options)
    assert code in (2, 5) and message in line and line.isprintable()
    assert not (tmp_path / "m").exists()


def test_what_is_quoted_from_data_cannot_command_the_terminal(plain, tmp_path, capsys):
    lines = csv_text(PLAIN.slice(0, 5)).splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[1], "\x1b[31m9\x07")
    (tmp_path / "d.csv").write_text("\n".join(lines))
    code, line = fail(capsys, "predict", plain / "m", tmp_path / "d.csv", "--out", tmp_path / "s.csv")
    assert code == 5 and line.isprintable() and r"x1b[31m9" in line and "d.csv, line 4: column 'x'" in line


def test_latin_1_with_semicolons_and_decimal_commas(plain, tmp_path, capsys):
    labels = ["où" if label == "yes" else label for label in PLAIN["y"].to_pylist()]
    text = csv_text(changed("y", [labels]), sep=";", decimal=",")
    (tmp_path / "d.csv").write_bytes(text.encode("latin-1"))
    options = ["--delimiter", ";", "--decimal", ",", "--encoding", "latin-1"]
    assert call("train", tmp_path / "d.csv", *TRAIN, *options, "--model", tmp_path / "m") == 0
    assert call("predict", tmp_path / "m", tmp_path / "d.csv", "--out", tmp_path / "a.parquet", "--keep", "id") == 0
    # The model remembers the options, and new files may differ.
    assert call("predict", tmp_path / "m", plain / "d.parquet", "--out", tmp_path / "b.parquet", "--keep", "id") == 0
    write_csv(PLAIN, tmp_path / "e.csv")
    other = ["--delimiter", ",", "--decimal", ".", "--encoding", "utf-8"]
    assert (
        call("predict", tmp_path / "m", tmp_path / "e.csv", "--out", tmp_path / "c.parquet", "--keep", "id", *other)
        == 0
    )
    expected = scores(tmp_path / "a.parquet")
    assert scores(tmp_path / "b.parquet") == expected == scores(tmp_path / "c.parquet")
    assert set(expected["prediction"]) == {"où", "no"}
    capsys.readouterr()


def test_missing_texts_and_bad_rows_in_training(tmp_path, capsys):
    lines = csv_text().splitlines()
    for row, value in ((20, "?"), (90, "n/k"), (91, "?")):
        values = lines[row].split(",")
        lines[row] = ",".join([values[0], value, *values[2:]])
    lines[130] = lines[130].rpartition(",")[0] + ",?"
    (tmp_path / "d.csv").write_text("\n".join(lines))
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfmissing = ["?"]\n[x]\nkind = "number"\nmissing = ["n/k"]\n')
    train = ["train", tmp_path / "d.csv", *TRAIN, "--model", tmp_path / "m", "--validation", 0, "--json"]
    assert call(*train) == 0
    found = capsys.readouterr()
    assert "d.csv, line 21: column 'x' holds '?', so the column is text and it is learnt as a category" in found.err
    code, line = fail(capsys, *train, "--columns", tmp_path / "c.toml")
    assert code == 5 and "The target 'y' is missing in 1 row of 240" in line
    assert call(*train, "--columns", tmp_path / "c.toml", "--on-bad-row", "skip") == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["rows"] == N - 1 and "note: 1 row was left out, the first one at" in found.err
    assert "d.csv, line 131." in found.err
    # The model knows what stands for a missing value.
    lines[130] = lines[130].removesuffix("?") + "yes"
    (tmp_path / "d.csv").write_text("\n".join(lines))
    assert call("predict", tmp_path / "m", tmp_path / "d.csv", "--out", tmp_path / "s.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["bad_rows"] == 0


@pytest.mark.parametrize(
    ("column", "late", "kind"), [("y", "1.5", "regression"), ("y", "maybe", "classification"), ("x", "?", "category")]
)
def test_late_values_in_the_target_and_in_features(tmp_path, capsys, monkeypatch, column, late, kind):
    """Types are inferred from the first rows; what comes later widens them, and the training begins to read anew."""
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._INFERRED_BYTES", 1)
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._BLOCK_BYTES", 1 << 10)
    rows = [{"x": i % 7, "y": i % 2} for i in range(2000)]
    rows[1800][column] = late
    pd.DataFrame(rows).to_csv(tmp_path / "d.csv", index=False)
    train = ["train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "--model", tmp_path / "m", "--json"]
    assert call(*train) == 0, capsys.readouterr().err
    found = capsys.readouterr()
    summary = json.loads(found.out)
    assert summary["task"] == ("regression" if kind == "regression" else "classification")
    assert (f"line 1802: column {column!r} holds {late!r}" in found.err) == (kind != "regression")
    if kind == "classification":
        assert summary["classes"] == ["0", "1", "maybe"]


def test_names_of_files_that_are_not_utf8(plain, tmp_path, capsys):
    data, out = (os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/\xff.parquet", b"/\xfe.csv"))
    os.link(plain / "d.parquet", data)
    assert call("predict", plain / "m", data, "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["out"] == out
    assert call("predict", plain / "m", data, "--out", out) == 0
    code, line = fail(capsys, "predict", plain / "m", data, "--out", out, "--keep", "absent")
    assert code == 5 and "absent" in line


def test_labels_that_may_be_missing(tmp_path, capsys):
    labels = ["NA" if i == 7 else label for i, label in enumerate(PLAIN["y"].to_pylist())]
    for name, write in (("d.csv", write_csv), ("d.parquet", write_parquet)):
        write(changed("y", [labels]), tmp_path / name)
        train = ["train", tmp_path / name, *TRAIN, "--model", tmp_path / "m", "--json"]
        assert call(*train) == 0
        found = capsys.readouterr()
        assert "note: The target 'y' has the value 'NA'" in found.err and "NA" in json.loads(found.out)["classes"]
        code, line = fail(capsys, *train, "--missing", "NA")
        assert code == 5 and "The target 'y' is missing in 1 row" in line
        assert call(*train, "--missing", "NA", "--on-bad-row", "skip") == 0
        assert json.loads(capsys.readouterr().out)["classes"] == ["no", "yes"]


def columns_of(capsys, model):
    capsys.readouterr()
    assert call("info", model, "--json") == 0
    return {name: each.split()[0] for name, each in json.loads(capsys.readouterr().out)["columns"].items()}


def test_an_empty_file_beside_csv_files_changes_no_type(tmp_path, capsys):
    (tmp_path / "d").mkdir()
    write_csv(PLAIN, tmp_path / "d/1.csv")
    kinds = {"x": "number", "k": "number", "store": "category", "since": "date"}
    (tmp_path / "d/0.csv").touch()
    for _ in range(2):
        assert call("train", tmp_path / "d", *TRAIN, "--model", tmp_path / "m") == 0
        assert columns_of(capsys, tmp_path / "m") == kinds
        write_parquet(PLAIN[:0], tmp_path / "d/0.parquet")


def test_a_column_that_is_empty_for_long(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._INFERRED_BYTES", 1)
    monkeypatch.setattr("fastnn.pipeline.io.csvfile._BLOCK_BYTES", 1 << 10)
    for late, kind in (("1.5", "number"), ("word", "category"), ("2020-01-01", "date"), ("true", "boolean")):
        rows = [f"{i % 7},{late if i > 1800 else ''},{'pq'[i % 2]}" for i in range(2000)]
        (tmp_path / "d.csv").write_text("\n".join(["x,e,y", *rows]))
        train = ["train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "--model", tmp_path / "m"]
        assert call(*train) == 0, capsys.readouterr().err
        assert columns_of(capsys, tmp_path / "m") == {"x": "number", "e": kind}
    (tmp_path / "d.csv").write_text("\n".join(["x,e,y", *(f"{i},,{'pq'[i % 2]}" for i in range(50))]))
    code, line = fail(capsys, *train)
    assert code == 5 and "'e' has no values to learn from. Leave it out: --ignore e" in line


def test_an_index_in_some_files_only(tmp_path, capsys):
    (tmp_path / "d").mkdir()
    frame_of_all = PLAIN.to_pandas()
    frame_of_all.to_parquet(tmp_path / "d/1.parquet")
    frame_of_all[frame_of_all["k"] > 2].to_parquet(tmp_path / "d/2.parquet")
    assert call("train", tmp_path / "d", *TRAIN, "--model", tmp_path / "m") == 0, capsys.readouterr().err
    assert "__index_level_0__" not in columns_of(capsys, tmp_path / "m")


@pytest.mark.parametrize("name", ["ORCID", "PARENT", "FEA1", "PAR2", "abcdefghDUCK"])
def test_a_header_that_begins_like_a_format(tmp_path, capsys, name):
    rows = [f"{i},{'pq'[i % 2]}" for i in range(50)]
    (tmp_path / "d.csv").write_text("\n".join([f"{name},y", *rows]))
    assert call("train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "--model", tmp_path / "m") == 0
    assert columns_of(capsys, tmp_path / "m") == {name: "number"}


def test_ids_in_the_names_of_folders(tmp_path, capsys):
    for store in ("007", "7", "07"):
        (tmp_path / f"d/store={store}").mkdir(parents=True)
        write_parquet(PLAIN.drop_columns("store"), tmp_path / f"d/store={store}/p.parquet")
    assert call("train", tmp_path / "d", *TRAIN, "--model", tmp_path / "m") == 0
    assert columns_of(capsys, tmp_path / "m")["store"] == "category"


@pytest.mark.parametrize("encoding", ["rot13", "hex", "base64", "punycode", "undefined"])
def test_encodings_that_are_none_of_text(tmp_path, capsys, encoding):
    write_csv(PLAIN, tmp_path / "d.csv")
    code, line = fail(capsys, "train", tmp_path / "d.csv", *TRAIN, "--model", tmp_path / "m", "--encoding", encoding)
    assert code == 2 and "encoding must be one that Python knows" in line


@pytest.mark.parametrize("task", [[], ["--task", "classification"]])
@pytest.mark.parametrize("labels", [["007", "7"], ["1" * 20, "1" * 19 + "2"], ["1e3", "1000"], ["2024-01", "2024-02"]])
def test_labels_come_out_as_they_went_in(tmp_path, capsys, labels, task):
    """Numbers whose text doesn't come back are labels of text, from training to predicting and evaluating."""
    values = [labels[int(x > 0)] for x in X]
    for name, write in (("d.csv", write_csv), ("d.parquet", write_parquet)):
        write(changed("y", [values]), tmp_path / name)
    if labels == ["1e3", "1000"] and not task:  # they are numbers, unless one says that they are classes
        code, line = fail(capsys, "train", tmp_path / "d.csv", *TRAIN, "--model", tmp_path / "m")
        assert code == 5 and "--task classification" in line
        return
    assert call("train", tmp_path / "d.csv", *TRAIN, *task, "--model", tmp_path / "m") == 0
    out = ["--keep", "y", "--out", tmp_path / "s.csv"]
    for name in ("d.csv", "d.parquet"):
        assert call("predict", tmp_path / "m", tmp_path / name, *out) == 0
        frame = pd.read_csv(tmp_path / "s.csv", dtype=str)
        assert frame["y"].tolist() == values and set(frame["prediction"]) == set(labels)
        assert (frame["prediction"] == frame["y"]).mean() > 0.7
        capsys.readouterr()
        assert call("evaluate", tmp_path / "m", tmp_path / name, "--target", "y", "--json") == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == (frame["prediction"] == frame["y"]).mean()


def test_evaluating_rows_that_have_no_truth(plain, tmp_path, capsys):
    lines = csv_text().splitlines()
    lines[9] = lines[9].replace(lines[9].split(",")[1], "?")
    lines[20] = lines[20].rpartition(",")[0] + ","
    (tmp_path / "d.csv").write_text("\n".join(lines))
    evaluate = ["evaluate", plain / "m", tmp_path / "d.csv", "--target", "y", "--json"]
    code, line = fail(capsys, *evaluate)
    assert code == 5 and "d.csv, line 21: The target 'y' is missing" in line and "--on-bad-row skip" in line
    lines[20] += "yes"
    (tmp_path / "e.csv").write_text("\n".join(lines))
    code, line = fail(capsys, *evaluate[:2], tmp_path / "e.csv", *evaluate[3:])
    assert code == 5 and "e.csv, line 10: column 'x' holds '?', which is no double" in line
    assert call(*evaluate, "--on-bad-row", "skip") == 0
    found = capsys.readouterr()
    summary = json.loads(found.out)
    assert (summary["rows"], summary["skipped_rows"]) == (N - 2, 2) and "2 of 240 rows were left out" in found.err


def test_a_bad_row_among_many_files_is_found(plain, tmp_path, capsys):
    (tmp_path / "d").mkdir()
    parts(tmp_path / "d", PLAIN, PLAIN)
    write_csv(PLAIN, tmp_path / "d/2.csv")
    text = csv_text().splitlines()
    text[100] = text[100].replace(text[100].split(",")[1], "many")
    (tmp_path / "d/3.csv").write_text("\n".join(text))
    pq.write_table(changed("x", [[None] * 5 + [float("inf")] + [None] * (N - 6)]), tmp_path / "d/4.parquet")
    predict = ["predict", plain / "m", tmp_path / "d", "--out", tmp_path / "s.csv"]
    code, line = fail(capsys, *predict)
    assert code == 5 and "d/3.csv, line 101: column 'x' holds 'many'" in line
    os.unlink(tmp_path / "d/3.csv")
    code, line = fail(capsys, *predict)
    assert code == 5 and "d/4.parquet, row 6: Column 'x' holds an infinite value" in line
    assert call(*predict, "--on-bad-row", "skip", "--json") == 0
    assert json.loads(capsys.readouterr().out)["bad_rows"] == 1


def test_long_values_are_quoted_in_part(plain, tmp_path, capsys):
    lines = csv_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[1], "long" * 100_000)
    (tmp_path / "d.csv").write_text("\n".join(lines))
    code, line = fail(capsys, "predict", plain / "m", tmp_path / "d.csv", "--out", tmp_path / "s.csv")
    assert code == 5 and "longlong" in line and "--on-bad-row" in line and len(line) < 600
    assert call("train", tmp_path / "d.csv", *TRAIN, "--model", tmp_path / "m") == 0
    assert max(map(len, capsys.readouterr().err.splitlines())) < 600


def test_regression_of_booleans(tmp_path, capsys):
    write_csv(changed("y", [[bool(x > 0) for x in X]]), tmp_path / "d.csv")
    assert call("train", tmp_path / "d.csv", *TRAIN, "--task", "regression", "--model", tmp_path / "m") == 0
    capsys.readouterr()
    assert call("evaluate", tmp_path / "m", tmp_path / "d.csv", "--target", "y", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == N


def test_types_across_families_name_both_files(plain, tmp_path, capsys):
    parts(tmp_path, PLAIN, changed("x", [["much"] * N]))
    data = f"{tmp_path}/*.parquet"
    for command in (
        ["predict", plain / "m", data, "--out", tmp_path / "s.csv"],
        ["train", data, *TRAIN, "--model", tmp_path / "m"],
    ):
        code, line = fail(capsys, *command)
        assert code in (4, 5) and "'x' is string in" in line and "1.parquet" in line and "0.parquet" in line


def test_what_is_kept_changes_no_score(tmp_path, capsys):
    """Beside CSV files a kept column is text in the output, but what the model reads of it stays what it was."""
    table = changed("x", [[-999.0 if i % 7 == 0 else x for i, x in enumerate(X.tolist())]])
    write_csv(table, tmp_path / "t.csv")
    assert call("train", tmp_path / "t.csv", *TRAIN, "--missing", "-999.0", "--model", tmp_path / "m") == 0
    (tmp_path / "d").mkdir()
    pq.write_table(table, tmp_path / "d/0.parquet")
    write_csv(table, tmp_path / "d/1.csv")
    found = []
    for keep in (["id"], ["id", "x"]):
        kept = [option for name in keep for option in ("--keep", name)]
        assert call("predict", tmp_path / "m", tmp_path / "d", "--out", tmp_path / "s.parquet", *kept) == 0
        found.append(pq.read_table(tmp_path / "s.parquet"))
    assert found[0]["probability_yes"] == found[1]["probability_yes"]
    assert found[1].schema.field("x").type == pa.string() and found[1]["x"].to_pylist()[N] == "-999.0"
    assert [float(x) for x in found[1]["x"].to_pylist()[:N]] == table["x"].to_pylist()


def test_a_doubled_column_is_left_out(tmp_path, capsys):
    lines = ["x,y,z,z", *(f"{i},{'pq'[i % 2]},1,2" for i in range(40))]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    train = ["train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "--model", tmp_path / "m"]
    code, line = fail(capsys, *train)
    assert code == 5 and "More than one column is called 'z' in" in line and "--ignore z" in line
    assert call(*train, "--ignore", "z") == 0
    assert call("predict", tmp_path / "m", tmp_path / "d.csv", "--out", tmp_path / "s.csv") == 0
    assert call("evaluate", tmp_path / "m", tmp_path / "d.csv", "--target", "y") == 0
    capsys.readouterr()


# The rows of the table in docs/pipelines.md, and the tests that hold them.
ROWS = {
    "timestamps of Spark": ["int96", "milliseconds"],
    "ids such as": [test_ids_come_out_as_they_went_in, test_ids_to_hold_out_by_are_text],
    "labels such as": [test_labels_come_out_as_they_went_in],
    'a "?" among': [test_missing_texts_and_bad_rows_in_training],
    "a pandas index": ["pandas", test_an_index_in_some_files_only],
    "parts without rows": ["an empty part", "an empty file"],
    "columns that only some": ["a column in some files", "odd columns in csv"],
    "types that differ within": ["widths", "text", "units", "other dictionaries"],
    "types that differ across": [test_types_across_families_name_both_files],
    "folders called": ["hive", "hive of csv"],
    "a CSV row of many": ["a long text", "tests/pipeline/io/test_csvfile.py::test_long_texts_need_larger_blocks"],
    "a missing quotation": ["tests/pipeline/io/test_csvfile.py::test_a_missing_quotation_mark_swallows_nothing"],
    "a row that can't": [test_a_bad_row_among_many_files_is_found, test_evaluating_rows_that_have_no_truth],
    "a value late": ["tests/pipeline/learning/test_typed.py::test_a_late_value_widens_its_column"],
    "blank lines": ["tests/pipeline/io/test_csvfile.py::test_a_blank_line_is_a_row_of_a_single_column"],
    "semicolons": [test_latin_1_with_semicolons_and_decimal_commas],
    "blanks around": ["tests/pipeline/io/test_csvfile.py::test_dialects"],
    "gzip": ["csv.gz", "zstd"],
    "zip, Excel": ["tests/pipeline/io/test_signatures.py::test_foreign_files_are_named"],
    "CSV files beside": ["csv beside parquet"],
    '"NA" among': [test_labels_that_may_be_missing],
    "a damaged Parquet": ["tests/pipeline/io/test_formats.py::test_checksums_of_pages"],
}


def test_each_row_of_the_documentation_is_tested():
    root = Path(__file__).parents[2]
    table = (root / "docs/pipelines.md").read_text().partition("| your files | what fastnn does |")[2]
    rows = [line[2:] for line in table.partition("\n\n")[0].splitlines()[2:]]
    assert len(rows) == len(ROWS) and all(row.startswith(begin) for row, begin in zip(rows, ROWS, strict=True))
    for proofs in ROWS.values():
        for proof in proofs:
            if isinstance(proof, str) and "::" in proof:
                path, name = proof.split("::")
                assert f"def {name}(" in (root / path).read_text()
            else:
                assert callable(proof) or proof in VARIANTS
