"""The commands on an S3 store: the same results as on a disk, also after kills."""

import json
import random
import shutil
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import stores
from breast_cancer import TABLE

from fastnn.cli import main
from fastnn.pipeline.io.places import place_of

TRAIN = ["--target", "diagnosis", "--ignore", "id", "--hidden", 16, "--epochs", 3, "--json"]


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder of files in partitions, a model, and scores of each file."""
    folder = tmp_path_factory.mktemp("disk")
    for day in range(3):
        (folder / f"data/day={day}").mkdir(parents=True)
        for part in range(2):
            rows = pa.concat_tables([TABLE.slice(50 * part, 300)] * 20)
            pq.write_table(rows, folder / f"data/day={day}/{part}.parquet", row_group_size=1000)
    assert call("train", folder / "data", *TRAIN, "--model", folder / "m") == 0
    assert call("predict", folder / "m", folder / "data", "--out", f"{folder}/out/", "--keep", "id") == 0
    return folder


@pytest.fixture(scope="module")
def store(disk):
    """A function that makes the URI of a name in a bucket which has the folder's data."""
    with stores.s3_server() as options:

        def uri(name):
            return f"s3://bucket/{name}{options}"

        place = place_of(uri("data"))
        pyarrow.fs.copy_files(str(disk / "data"), place.path, pyarrow.fs.LocalFileSystem(), place.file_system)
        yield uri


def call(*arguments):
    return main([str(each) for each in arguments])


def contents(folder):
    return {"/".join(parts): (folder / "/".join(parts)).read() for parts in folder.below()}


def parquet(found):
    return {name: content for name, content in found.items() if name.endswith(".parquet")}


def test_the_same_bytes_as_on_a_disk(disk, store, capsys):
    assert call("train", store("data"), *TRAIN, "--model", store("m")) == 0
    assert place_of(store("m")).read() == (disk / "m").read_bytes()
    assert "secret" not in capsys.readouterr().out
    assert call("info", store("m"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["file"] == "s3://bucket/m"
    assert call("predict", store("m"), store("data"), "--out", store("out/"), "--keep", "id", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["out"] == "s3://bucket/out/" and summary["rows"] == 36_000
    assert parquet(contents(place_of(store("out")))) == parquet(contents(place_of(disk / "out")))
    assert call("predict", store("m"), store("data"), "--out", store("out/"), "--keep", "id", "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 6
    assert call("evaluate", store("m"), store("data/*/*.parquet"), "--target", "diagnosis", "--json") == 0
    there = json.loads(capsys.readouterr().out)
    assert call("evaluate", disk / "m", disk / "data", "--target", "diagnosis", "--json") == 0
    assert json.loads(capsys.readouterr().out) == there
    for ending in ("csv", "arrow"):
        assert call("predict", store("m"), store("data/day=0"), "--out", store(f"one.{ending}"), "--keep", "day") == 0
        assert call("predict", disk / "m", disk / "data/day=0", "--out", disk / f"one.{ending}", "--keep", "day") == 0
        assert place_of(store(f"one.{ending}")).read() == (disk / f"one.{ending}").read_bytes()
    capsys.readouterr()


def test_wrong_usage(store, capsys):
    def fails(code, message, *arguments):
        assert call(*arguments) == code
        line = capsys.readouterr().err.splitlines()[-1]
        assert message in line and "?" not in line, line

    fails(3, "s3://bucket/absent: there is no such model file", "info", store("absent"))
    fails(3, "there is no such model file", "predict", store("absent"), store("data"), "--out", store("o/"))
    fails(2, "Name a local file: --checkpoint", "train", store("data"), *TRAIN, "--model", store("m"), "--resume")
    fails(2, "the next run would read it as data", "train", store("data"), *TRAIN, "--model", store("data/m"))
    fails(5, "s3://bucket/none: there is no such file", "train", store("none"), *TRAIN, "--model", store("n"))
    fails(5, "no file matches this pattern", "train", store("none/*.csv"), *TRAIN, "--model", store("n"))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment(disk, store, kills):
    shutil.copy(disk / "m", disk / "model")
    command = [sys.executable, "-m", "fastnn.cli", "predict", str(disk / "model"), store("data")]
    command += ["--out", store(f"killed {kills}/"), "--keep", "id", "--resume"]
    expected = parquet(contents(place_of(disk / "out")))
    began = time.perf_counter()
    subprocess.run([*command[:7], store(f"whole {kills}/"), *command[8:]], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    chance = random.Random(0)
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(seconds / 3, seconds))
        process.kill()
        process.wait()
        for name, content in parquet(contents(place_of(store(f"killed {kills}")))).items():
            assert content == expected[name]
    subprocess.run(command, check=True, capture_output=True)
    found = contents(place_of(store(f"killed {kills}")))
    assert parquet(found) == expected and len(found) == 2 * len(expected)
