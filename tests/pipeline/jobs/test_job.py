"""Files scored into files: what goes where, what a rerun does again, and what a kill at any moment leaves."""

import json
import os
import shutil
from pathlib import Path

import child
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from breast_cancer import TABLE

from fastnn.files.modelfile import ModelFileError
from fastnn.pipeline import DataError, Model, SchemaError
from fastnn.pipeline.jobs import job
from fastnn.pipeline.jobs.job import Job, JobOptions, Scored, n_rows
from fastnn.pipeline.jobs.scoring import DriftError, score_task
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import prepare
from fastnn.training.trainer import TrainOptions

KEEP_ID = JobOptions(keep=("id",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two models, and a data set in folders called by keys and values."""
    folder = tmp_path_factory.mktemp("job")
    for name, seed in (("m", 0), ("other", 1)):
        plan = Plan(hidden=(16,), epochs=3, options=TrainOptions("adam", step_size=1e-2, seed=seed))
        prepare(TABLE, "diagnosis", plan, ["id"]).run().model.save(folder / name)
    for day in range(3):
        (folder / f"data/day={day}").mkdir(parents=True)
        for part in ("a", "b"):
            rows = TABLE.slice(100 * day + 50 * (part == "b"), 50)
            pq.write_table(rows, folder / f"data/day={day}/{part}.parquet")
    return folder


@pytest.fixture
def files(folder, tmp_path, monkeypatch):
    """A copy of that folder, as the working directory."""
    shutil.copytree(folder, tmp_path / "files")
    monkeypatch.chdir(tmp_path / "files")
    return tmp_path / "files"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(model="m", options=KEEP_ID, resume=False, data="data", out="out") -> dict[str, Scored]:
    """Score a folder into another one, and return the results of the files that this run scored."""
    worker = Job(model, options)
    tasks = worker.tasks([data], Path(out), "parquet")
    left = [task for task in tasks if not resume or worker.finished(task) is None]
    return {str(Path(task.out.name).relative_to(out)): score_task(worker, task) for task in left}


def test_an_output_for_each_file_in_the_same_folders(files):
    results = run(options=JobOptions(keep=("id", "day")))
    assert list(results) == [f"day={day}/{part}.parquet" for day in range(3) for part in "ab"]
    found = pa.concat_tables(pq.read_table(f"out/{name}", partitioning=None) for name in results)
    assert found["id"].to_pylist() == TABLE["id"].to_pylist()[:300]
    assert found["day"].to_pylist() == [str(day) for day in range(3) for _ in range(100)]
    np.testing.assert_array_equal(found["probability_benign"], Model.load("m").predict_proba(TABLE.slice(0, 300))[:, 0])
    manifests = sorted(path.name for path in Path("out").rglob("*") if path.name.startswith("."))
    assert manifests == sorted([".a.parquet.manifest.json", ".b.parquet.manifest.json"] * 3)


def test_same_input_same_bytes(files):
    run()
    first = contents(files / "out")
    shutil.rmtree("out")
    run()
    assert contents(files / "out") == first
    manifest = json.loads(first["day=0/.a.parquet.manifest.json"])
    assert manifest["scored"] == {
        "rows": 50,
        "bad_rows": 0,
        "bytes": len(first["day=0/a.parquet"]),
        "drift": None,
    }
    assert manifest["options"]["keep"] == ["id"] and manifest["input"][0]["path"] == "data/day=0/a.parquet"


def test_one_output_in_all(files):
    worker = Job("m", KEEP_ID)
    task = worker.task(["data"], Path("all.arrow"))
    assert n_rows([task]) == 300
    advanced: list[int] = []
    assert score_task(worker, task, advanced.append).rows == 300 == sum(advanced)
    assert pyarrow.feather.read_table("all.arrow")["id"].to_pylist() == TABLE["id"].to_pylist()[:300]
    assert worker.finished(worker.task(["data"], Path("all.arrow"))) == Scored(
        300, 0, os.stat("all.arrow").st_size, None
    )


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda: None, 0),
        (lambda: os.utime("data/day=1/b.parquet", ns=(1, 1)), 1),
        (lambda: pq.write_table(TABLE.slice(0, 60), "data/day=1/b.parquet"), 1),
        (lambda: Path("out/day=2/a.parquet").unlink(), 1),
        (lambda: os.truncate("out/day=2/a.parquet", 1000), 1),
        (lambda: Path("out/day=2/.a.parquet.manifest.json").unlink(), 1),
        (lambda: Path("out/day=2/.a.parquet.manifest.json").write_text("[]"), 1),
        (lambda: Path("out/day=2/.a.parquet.manifest.json").write_text('{"scored": {"rows": 1}}'), 1),
        (lambda: shutil.copy("other", "m"), 6),
    ],
)
def test_a_rerun_does_what_changed(files, change, again):
    run()
    kept = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.parquet")}
    change()
    assert len(run(resume=True)) == again
    untouched = sum(path.stat().st_mtime_ns == modified for path, modified in kept.items())
    assert untouched == 6 - again
    after = contents(files / "out")
    shutil.rmtree("out")
    run()
    assert contents(files / "out") == after


@pytest.mark.parametrize(
    "options",
    [
        JobOptions(),
        JobOptions(keep=("id",), output="proba"),
        JobOptions(keep=("id",), on_bad_row="skip"),
        JobOptions(keep=("id",), check_drift=True),
    ],
)
def test_a_rerun_with_other_options_does_everything(files, options):
    run()
    assert len(run(options=options, resume=True)) == 6
    assert run(options=options, resume=True) == {}


def test_without_resume_everything_is_done_again(files):
    run()
    assert len(run()) == 6


def test_a_model_that_is_replaced_while_it_is_read_is_refused(files, monkeypatch):
    """Manifest and summary would name another one."""
    load = Model.load

    def load_and_replace(path):
        model = load(path)
        os.replace("other", path)
        return model

    monkeypatch.setattr(job.Model, "load", load_and_replace)
    with pytest.raises(ModelFileError, match="m was changed while it was read"):
        Job("m", KEEP_ID)


def test_an_old_manifest_does_not_vouch_for_a_new_output(files, monkeypatch):
    """Killed between output and manifest, with another model than before: the outputs may well be of the same size."""
    run()
    before = contents(files / "out")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job.Job, "record", die)
        run("other")
    assert len(run(resume=True)) == 1
    assert contents(files / "out") == before


def test_a_failure_leaves_nothing(files):
    broken = TABLE.slice(0, 50).set_column(0, "mean_radius", pa.array([1.0] * 49 + [np.inf]))
    pq.write_table(broken, "data/day=0/a.parquet")
    with pytest.raises(DataError, match=r"data/day=0/a\.parquet, row 50: Column 'mean_radius'"):
        run()
    assert not Path("out").exists()
    results = run(options=JobOptions(on_bad_row="skip"))
    assert results["day=0/a.parquet"] == Scored(50, 1, Path("out/day=0/a.parquet").stat().st_size, None)
    assert pq.ParquetFile("out/day=0/a.parquet").metadata.num_rows == 49


def test_all_files_are_looked_at_before_the_first_is_scored(files):
    pq.write_table(TABLE.drop_columns(["size"]), "data/day=2/b.parquet")
    with pytest.raises((DataError, SchemaError), match="size"):
        run()
    assert not Path("out").exists()


def test_drift(files):
    shifted = TABLE.slice(200, 50).set_column(1, "mean_texture", pa.array([1000.0] * 50))
    pq.write_table(shifted, "data/day=2/a.parquet")
    reported = run(options=JobOptions(check_drift=True))
    psi = {name: scored.drift["mean_texture"] for name, scored in reported.items()}
    assert psi.pop("day=2/a.parquet") > 3 and max(psi.values()) < 1.5
    shutil.rmtree("out")
    limited = JobOptions(check_drift=True, drift_limit=3)
    with pytest.raises(DriftError, match=r"day=2/a\.parquet.*'mean_texture' \([0-9.]+\)"):
        run(options=limited)
    assert sorted(path.parent.name for path in Path("out").rglob("*.parquet")) == ["day=0"] * 2 + ["day=1"] * 2
    assert not Path("out/day=2").exists()


@pytest.mark.usefixtures("files")
def test_names_of_outputs():
    worker = Job("m", JobOptions())

    def outs(*data):
        return [task.out.name for task in worker.tasks(data, Path("out"), "csv")]

    assert outs("data/day=1/a.parquet") == ["out/a.csv"]
    assert outs("data/*/a.parquet") == [f"out/day={day}/a.csv" for day in range(3)]
    assert outs("data/day=1/b.parquet", "data/day=2/a.parquet") == ["out/b.csv", "out/a.csv"]
    with pytest.raises(ValueError, match=r"data/day=0/a\.parquet and data/day=1/a\.parquet would both"):
        outs("data/day=0/a.parquet", "data/day=1/a.parquet")


def test_empty_parts_make_empty_outputs_but_nothing_at_all_is_an_error(files):
    pq.write_table(TABLE.slice(0, 0), "data/day=0/a.parquet")
    assert run()["day=0/a.parquet"].rows == 0
    assert pq.read_table("out/day=0/a.parquet", partitioning=None).column_names[0] == "id"
    worker = Job("m", JobOptions())
    with pytest.raises(DataError, match="no rows"):
        score_task(worker, worker.task(["data/day=0/a.parquet"], Path("a.csv")))
    assert not Path("a.csv").exists()


def test_bad_numbers_in_csv(files):
    lines = pa.BufferOutputStream()
    pyarrow.csv.write_csv(TABLE.slice(0, 100), lines)
    text = lines.getvalue().to_pybytes().decode().splitlines()
    text[61] = "?" + text[61]
    Path("d.csv").write_text("\n".join(text))
    first = f"?{TABLE['mean_radius'][60]}"
    worker = Job("m", KEEP_ID)
    with pytest.raises(DataError, match=rf"d\.csv, line 62: column 'mean_radius' holds '\{first}'"):
        score_task(worker, worker.task(["d.csv"], Path("s.csv")))
    expected = Model.load("m").predict_proba(TABLE.slice(0, 100))[:, 0]
    for policy, rows in (("null", 100), ("skip", 99)):
        worker = Job("m", JobOptions(keep=("id",), on_bad_row=policy))
        scored = score_task(worker, worker.task(["d.csv"], Path("s.parquet")))
        found = pq.read_table("s.parquet")
        assert (scored.rows, scored.bad_rows, found.num_rows) == (100, 1, rows)
        good = found.filter(pa.compute.is_valid(found["prediction"]))
        np.testing.assert_array_equal(good["probability_benign"], np.delete(expected, 60))


_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from fastnn.cli import main

command = ["predict", "m", "big", "--keep", "id", "--check-drift", "--json"]

def forked(*arguments):
    process = os.fork()
    if not process:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1), os.dup2(devnull, 2)
        os._exit(main([*command, *arguments]))
    return process

def finish(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}

out, whole, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
assert finish(forked("--out", whole)) == 0
began = time.perf_counter()
assert finish(forked("--out", whole)) == 0
seconds = time.perf_counter() - began
if whole.endswith("/"):
    expected = contents(whole)
else:
    expected = {name: Path(name).read_bytes() for name in (whole, f".{whole}.manifest.json")}
random.seed(0)
finished = 0
for _ in range(kills):
    process = forked("--resume", "--out", out)
    time.sleep(random.uniform(0, seconds))
    os.kill(process, signal.SIGKILL)
    finished += finish(process) == 0
    if out.endswith("/"):
        found = contents(out) if Path(out).exists() else {}
    else:
        found = {whole: Path(out).read_bytes()} if Path(out).exists() else {}
    for name, content in found.items():
        assert name.endswith(".tmp") or content == expected[name], name
    if not out.endswith("/") and found:
        os.unlink(out)  # otherwise the next job would have nothing to do
    elif len(found) == len(expected):
        for path in Path(out).rglob("*.parquet"):
            path.unlink()
assert finish(forked("--resume", "--out", out)) == 0
if out.endswith("/"):
    assert contents(out) == expected
else:
    assert Path(out).read_bytes() == expected[whole]
    assert not [path for path in Path().iterdir() if path.suffix == ".tmp"]
"""


@pytest.fixture
def big(files):
    """Six files of 20,000 rows, some in a sub-folder."""
    Path("big/more").mkdir(parents=True)
    for i in range(6):
        pq.write_table(pa.concat_tables([TABLE] * 35), f"big/{'more/' * (i % 2)}{i}.parquet", row_group_size=5000)


@pytest.mark.parametrize(("out", "whole"), [("out/", "whole/"), ("s.parquet", "whole.parquet")])
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("big")
def test_killed_at_any_moment(out, whole, kills):
    """After each kill, `--resume` goes on. A file with its final name is always whole. In the end, all files exist."""
    child.run(_KILLED, out, whole, str(kills))
