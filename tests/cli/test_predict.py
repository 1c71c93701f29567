"""`fastnn predict` and `evaluate` as a nightly job meets them: data of every shape, signals, full disks and pipes."""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from breast_cancer import N_ROWS, TABLE

from fastnn.cli import main, terminal
from fastnn.pipeline import Model
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import prepare
from fastnn.training.trainer import TrainOptions


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a model and the data it was trained on, and a folder of parts that take seconds to score."""
    folder = tmp_path_factory.mktemp("files")
    plan = Plan(hidden=(16,), epochs=3, options=TrainOptions("adam", step_size=1e-2))
    prepare(TABLE, "diagnosis", plan, ["id"]).run().model.save(folder / "m")
    pq.write_table(TABLE, folder / "d.parquet")
    (folder / "big").mkdir()
    pq.write_table(pa.concat_tables([TABLE] * 200), folder / "big/0.parquet")
    for i in range(1, 100):
        (folder / f"big/{i}.parquet").symlink_to("0.parquet")
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch):
    """A working directory of one's own, with the model and the data."""
    for name in ("m", "d.parquet"):
        shutil.copy(files / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def succeed(capsys, *arguments):
    capsys.readouterr()
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def fail(capsys, *arguments):
    capsys.readouterr()
    code = main([*map(str, arguments)])
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("fastnn: ")]
    assert captured.out == "" and len(errors) == 1 and captured.err.endswith(f"{errors[0]}\n")
    return code, errors[0]


def start(*arguments, **options):
    command = [sys.executable, "-m", "fastnn.cli", *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def with_column(name, values):
    return TABLE.set_column(TABLE.column_names.index(name), name, values)


def not_null(table):
    known = table.filter(pa.compute.is_valid(table["mean_area"]))
    return known.cast(pa.schema([f.with_nullable(f.name not in ("mean_area", "count")) for f in table.schema]))


SAME = {
    "reordered": TABLE.select(TABLE.column_names[::-1]),
    "with others beside": TABLE.append_column("extra", pa.array([[1]] * N_ROWS)),
    "without the target": TABLE.drop_columns(["diagnosis"]),
    "dictionary-encoded": with_column("size", TABLE["size"].dictionary_encode()),
    "numbers dictionary-encoded": with_column("count", TABLE["count"].dictionary_encode()),
    "large_string": with_column("size", TABLE["size"].cast(pa.large_string())),
    "string_view": with_column("size", TABLE["size"].cast(pa.string_view())),
    "smaller integers": with_column("count", TABLE["count"].cast(pa.uint8())),
    "floats for integers": with_column("count", TABLE["count"].cast(pa.float32())),
    "decimals": with_column("count", TABLE["count"].cast(pa.decimal128(22, 2))),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_rows_in_another_shape(here, capsys, name):
    pq.write_table(SAME[name], "new.parquet")
    summary = succeed(capsys, "predict", "m", "new.parquet", "--out", "s.parquet")
    assert summary["rows"] == N_ROWS
    found = pq.read_table("s.parquet")["probability_benign"]
    np.testing.assert_array_equal(found, Model.load("m").predict_proba(TABLE)[:, 0])


@pytest.mark.parametrize("options", [{"row_group_size": 1}, {"row_group_size": 10_000_000}])
def test_row_groups_of_every_size(here, capsys, options):
    data = pa.concat_tables([TABLE] * 300) if options["row_group_size"] > 1 else TABLE
    pq.write_table(data, "new.parquet", **options)
    assert succeed(capsys, "predict", "m", "new.parquet", "--out", "s.parquet")["rows"] == len(data)
    found = pq.read_table("s.parquet")["probability_benign"].to_numpy()
    np.testing.assert_array_equal(found[-N_ROWS:], Model.load("m").predict_proba(TABLE)[:, 0])


def test_columns_that_may_not_be_null(here, capsys):
    data = not_null(TABLE)
    pq.write_table(data, "new.parquet")
    assert succeed(capsys, "predict", "m", "new.parquet", "--out", "s.parquet", "--keep", "count")["rows"] == len(data)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda t: t.drop_columns(["size", "count"]), 4, "no column 'size', 'count'"),
        (lambda t: t.rename_columns({"size": "Size"}), 4, "no column 'size'"),
        (lambda t: with_column("count", pa.array(["3"] * N_ROWS)), 4, "'count' is string, but was int64"),
        (lambda t: with_column("size", t["count"]), 4, "'size' is int64, but was string"),
        (lambda t: with_column("count", pa.array([0] * N_ROWS, pa.timestamp("s", "UTC"))), 4, "timestamp[ms, tz=UTC]"),
        (lambda t: with_column("count", pa.array([[1]] * N_ROWS)), 4, "'count' is list"),
        (lambda t: t.append_column("size", t["size"]), 4, "More than one column is called 'size'"),
        (lambda t: t.slice(0, 0), 5, "no rows"),
        (
            lambda t: with_column("mean_area", pa.array([float("inf")] * N_ROWS)),
            5,
            "row 1: Column 'mean_area'",
        ),
        (lambda t: None, 5, "can't be read"),
    ],
)
def test_data_that_does_not_fit(here, capsys, change, code, message):
    data = change(TABLE)
    if data is None:
        Path("new.parquet").write_bytes(Path("d.parquet").read_bytes()[:-100])
    else:
        pq.write_table(data, "new.parquet")
    before = names(here)
    for out in ("s.parquet", "scores/"):
        if "no rows" in message and out == "scores/":
            continue  # an empty part of a data set has an empty output
        found, line = fail(capsys, "predict", "m", "new.parquet", "--out", out)
        assert (found, message in line) == (code, True), line
        assert names(here) == before


def test_files_without_anything(here, capsys):
    schema = TABLE.schema
    pq.ParquetWriter("none.parquet", schema).close()  # no row group
    Path("zero.parquet").touch()
    assert fail(capsys, "predict", "m", "none.parquet", "--out", "s.csv")[0] == 5
    assert fail(capsys, "predict", "m", "zero.parquet", "--out", "s.csv")[0] == 5
    assert fail(capsys, "evaluate", "m", "none.parquet", "--target", "diagnosis")[0] == 5
    assert fail(capsys, "predict", "m", "absent-*.parquet", "--out", "s.csv")[0] == 5


def test_summary_and_resume(here, capsys):
    shutil.copy("d.parquet", "e.parquet")
    arguments = ["predict", "m", "d.parquet", "e.parquet", "--out", "scores/", "--format", "arrow", "--check-drift"]
    summary = succeed(capsys, *arguments)
    assert (summary["rows"], summary["bad_rows"], summary["skipped"]) == (2 * N_ROWS, 0, 0)
    assert [entry["path"] for entry in summary["outputs"]] == ["scores/d.arrow", "scores/e.arrow"]
    assert summary["bytes"] == sum(Path(entry["path"]).stat().st_size for entry in summary["outputs"])
    assert summary["model"]["path"] == "m" and re.fullmatch("[0-9a-f]{64}", summary["model"]["sha256"])
    assert set(summary["drift"]) == set(Model.load("m").schema.names()) and max(summary["drift"].values()) < 0.2
    os.utime("e.parquet", ns=(1, 1))
    resumed = succeed(capsys, *arguments, "--resume")
    assert [entry["skipped"] for entry in resumed["outputs"]] == [True, False]
    changing = ("seconds", "skipped", "outputs")
    assert {k: v for k, v in resumed.items() if k not in changing} == {
        k: v for k, v in summary.items() if k not in changing
    }
    assert main([*arguments, "--resume"]) == 0
    out = capsys.readouterr().out
    assert re.match(rf"scores/: {2 * N_ROWS} rows scored in 0\.\d\d s, 2 outputs done before\ndrift +0\.\d+ ", out)


def test_bad_rows_are_counted(here, capsys):
    pq.write_table(with_column("mean_radius", pa.array([float("inf")] * 3 + [1.0] * (N_ROWS - 3))), "bad.parquet")
    summary = succeed(
        capsys, "predict", "m", "bad.parquet", "--out", "s.csv", "--on-bad-row", "skip", "--output", "label"
    )
    assert (summary["rows"], summary["bad_rows"], summary["columns"]) == (N_ROWS, 3, ["prediction"])
    assert len(Path("s.csv").read_text().splitlines()) == 1 + N_ROWS - 3


@pytest.mark.usefixtures("here")
def test_a_file_that_changes_the_types_of_the_others(capsys):
    """A folder's CSV files have common types. If a new file changes these, the earlier files are scored again."""
    Path("in").mkdir()
    rows = TABLE.slice(0, 3).drop_columns(["id"])
    for name, ids in (("a", [1, 2, 3]), ("b", [1.5, 2.5, 3.5])):
        pyarrow.csv.write_csv(rows.append_column("id", pa.array(ids)), f"in/{name}.csv")
        options = ["--out", "s/", "--keep", "id", "--resume"]
        assert main(["predict", "m", "in", *options]) == 0
    assert main(["predict", "m", "in", *options[:-1], "--out", "t/"]) == 0
    assert Path("s/a.parquet").read_bytes() == Path("t/a.parquet").read_bytes()
    capsys.readouterr()


def test_drift_above_the_limit(here, capsys):
    pq.write_table(with_column("mean_radius", pa.array([100.0] * N_ROWS)), "moved.parquet")
    before = names(here)
    code, line = fail(capsys, "predict", "m", "moved.parquet", "--out", "s.csv", "--drift-limit", "0.25")
    assert code == 4 and "'mean_radius'" in line and "'mean_texture'" not in line
    assert names(here) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["d.parquet", "--out", "d.parquet"], "named twice"),
        (["d.parquet", "--out", "m"], "named twice"),
        (["d.parquet", "--out", "s.csv", "--format", "csv"], "--format"),
        (["d.parquet", "--out", "s.csv", "--drift-limit", "-1"], "drift-limit"),
        (["d.parquet", "./d.parquet", "--out", "scores/"], "would both be scored"),
        (["d.parquet", "--out", "."], "named twice"),
        ([".", "--out", "scores/"], "the next run would read it as data"),
        ([".", "--out", "s.parquet"], "the next run would read it as data"),
        (["*.parquet", "--out", "s.parquet"], "the next run would read it as data"),
        (["**/*.parquet", "--out", "scores/"], "the next run would read it as data"),
    ],
)
@pytest.mark.usefixtures("here")
def test_wrong_usage(capsys, arguments, message):
    before = {path: Path(path).read_bytes() for path in names(Path())}
    code, line = fail(capsys, "predict", "m", *arguments)
    assert (code, message in line) == (2, True), line
    assert {path: Path(path).read_bytes() for path in names(Path())} == before


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize("out", ["scores/", "s.parquet"])
def test_signals(files, here, number, code, word, out):
    """A signal ends the job at the next batch. Only whole outputs are left, so the same command can go on."""
    before = names(here)
    process = start("predict", "m", files / "big", "--out", out, "--resume")
    while not any(name.endswith(".tmp") for name in names(here)):
        time.sleep(0.01)
        assert process.poll() is None
    if out == "scores/":
        while not Path("scores/0.parquet").exists():
            time.sleep(0.01)
    process.send_signal(number)
    shown, err = process.communicate(timeout=60)
    assert (process.returncode, shown) == (code, "") and err.endswith(f"fastnn: {word}\n") and "Traceback" not in err
    left = [name for name in names(here) if name not in before]
    if out == "s.parquet":
        assert left == []
    else:
        finished = [name for name in left if name.endswith(".parquet")]
        assert 0 < len(finished) < 100
        assert len(left) == 1 + 2 * len(finished)  # the folder, and of each output a manifest


def test_terminated_while_training(files, here):
    process = start(
        "train", "d.parquet", "--target", "diagnosis", "--model", "new", "--epochs", 10**8, "--validation", 0,
        "--checkpoint", "c",
    )  # fmt: skip
    while not Path("c").exists():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and err.endswith("fastnn: terminated\n")
    assert names(here) == ["c", "d.parquet", "m"]


def test_reader_that_has_gone(here):
    """The scores are written, but the command fails, since nobody reads the summary that it prints."""
    reading, writing = os.pipe()
    os.close(reading)
    process = start("predict", "m", "d.parquet", "--out", "s.parquet", "--json", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err and "Broken" not in err
    assert names(here) == [".s.parquet.manifest.json", "d.parquet", "m", "s.parquet"]
    assert pq.ParquetFile("s.parquet").metadata.num_rows == N_ROWS


@pytest.mark.parametrize("out", ["scores/", "s.arrow"])
def test_full_disk(files, here, out):
    """A limit on the size of files stands for a full disk."""
    before = names(here)
    process = start(
        *("predict", "m", "d.parquet", "--out", out, "--keep", "id"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
        env={**os.environ, "FASTNN_CACHE_DIR": str(files / "cache that may fail")},
    )
    _, err = process.communicate(timeout=300)
    last = err.splitlines()[-1]
    assert (
        process.returncode == 1 and last.startswith("fastnn: ") and out.rstrip("/") in last and "Traceback" not in err
    )
    assert names(here) == before


def obey_permissions() -> None:
    """Let even root write only where the permissions allow it."""
    bounding_set_drop, dac_override = 24, 1
    ctypes.CDLL(None).prctl(bounding_set_drop, dac_override)


@pytest.mark.parametrize("out", ["locked/s.parquet", "locked/scores/", "locked/"])
def test_no_right_to_write(here, out):
    (here / "locked").mkdir(mode=0o555)
    process = start("predict", "m", "d.parquet", "--out", out, preexec_fn=obey_permissions)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and err.count("\n") == 1, err
    assert err.startswith(f"fastnn: {Path(out)}: no right to write in the folder ")
    assert names(here / "locked") == []


def test_progress_in_a_log(here, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_LOG_SECONDS", 0.0)
    assert main(["predict", "m", "d.parquet", "--out", "s.csv"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"569 of 569 rows, [\d,]+ a second, about 0 s left", lines[0]) and len(lines) == 2
    assert re.fullmatch(r"569 of 569 rows, [\d,]+ a second", lines[1])


def test_progress_on_a_terminal(here):
    master, slave = os.openpty()
    process = start("predict", "m", "d.parquet", "--out", "s.csv", stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
    os.close(master)
    out, _ = process.communicate()
    assert process.returncode == 0 and out.startswith("s.csv: 569 rows scored")
    assert b"569 of 569 rows" in shown and "━".encode() in shown


def test_evaluate_reads_folders(files, here, capsys):
    whole = succeed(capsys, "evaluate", "m", "d.parquet", "--target", "diagnosis")
    Path("parts").mkdir()
    for start_, stop in ((0, 100), (100, N_ROWS)):
        pq.write_table(TABLE.slice(start_, stop - start_), f"parts/{start_}.parquet", row_group_size=30)
    assert succeed(capsys, "evaluate", "m", "parts", "--target", "diagnosis") == whole
