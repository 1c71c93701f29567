"""Damaged, truncated and shuffled files: a result, or one line and the exit code that the design gives it."""

import gzip
import io
import random
import resource
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from fastnn.cli import main
from fastnn.pipeline import DataError, SchemaError
from fastnn.pipeline.jobs.inputs import open_for
from fastnn.pipeline.jobs.job import Job, JobOptions
from fastnn.pipeline.jobs.scoring import Scorer

N = 60
CHANCE = np.random.default_rng(0)
TABLE = pa.table(
    {
        "id": [f"{i:03d}" for i in range(N)],
        "x": [None if i % 9 == 2 else float(i) for i in range(N)],
        "word": CHANCE.choice(["a", "b", "ü"], N).tolist(),
        "when": pa.array(range(N), pa.timestamp("us")),
        "label": CHANCE.choice(["p", "q"], N).tolist(),
    }
)


def as_csv(table):
    target = io.BytesIO()
    pyarrow.csv.write_csv(table, target)
    return target.getvalue()


def as_parquet(table, **options):
    target = io.BytesIO()
    pq.write_table(table, target, row_group_size=20, **options)
    return target.getvalue()


def as_arrow(table, kind=pa.ipc.new_file):
    target = io.BytesIO()
    with kind(target, table.schema) as writer:
        writer.write_table(table, 20)
    return target.getvalue()


WHOLE = {
    "csv": as_csv(TABLE),
    "csv.gz": gzip.compress(as_csv(TABLE)),
    "parquet": as_parquet(TABLE),
    "plain parquet": as_parquet(TABLE, compression="none", use_dictionary=False, write_page_checksum=True),
    "arrow": as_arrow(TABLE),
    "stream": as_arrow(TABLE, pa.ipc.new_stream),
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with one of several kinds of damage."""
    kind = chance.randrange(6)
    if kind == 0:
        return content[: chance.randrange(len(content))]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(chance.choice([1, 2, 8, 64])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return bytes(changed)
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    if kind == 2:
        return content[:a] + content[b:]
    if kind == 3:
        return content[:a] + content[a:b] * 2 + content[b:]
    if kind == 4:
        middle = bytearray(content[a:b])
        chance.shuffle(middle)
        return content[:a] + bytes(middle) + content[b:]
    return content[:a] + bytes(chance.randrange(256) for _ in range(chance.randrange(40))) + content[a:]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "d").write_bytes(WHOLE["csv"])
    command = ["train", "d", "--target", "label", "--ignore", "id", "--epochs", "1", "--hidden", "3", "--model", "m"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(command) == 0
    return folder / "m"


@pytest.mark.parametrize("n", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files(model, tmp_path, n):
    """Through the functions that the command line calls; a hundred go through the command line itself, below."""
    job = Job(model, JobOptions())
    chance, read = random.Random(n), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(n):
        name = list(WHOLE)[number % len(WHOLE)]
        (tmp_path / "d").write_bytes(damaged(WHOLE[name], chance))
        began = time.perf_counter()
        try:
            source, spelt = open_for(job.model.schema, [str(tmp_path / "d")], keep=["id"])
            scorer = Scorer(job.model, keep=["id"], spelt=spelt)
            for batch in scorer.batches(source.batches(scorer.columns)):
                target = pa.BufferOutputStream()
                pyarrow.csv.write_csv(batch, target)
            read += 1
        except (DataError, SchemaError) as error:
            assert str(error) and "\n" not in str(error), (name, number)
        assert time.perf_counter() - began < 60, (name, number)
    assert n // 100 < read < n
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KB


def test_damaged_files_through_the_command_line(model, tmp_path, capsys):
    chance = random.Random(1)
    for number in range(100):
        name = list(WHOLE)[number % len(WHOLE)]
        (tmp_path / "d").write_bytes(damaged(WHOLE[name], chance))
        command = [
            ["predict", str(model), str(tmp_path / "d"), "--out", str(tmp_path / "s.parquet"), "--keep", "id"],
            ["evaluate", str(model), str(tmp_path / "d"), "--target", "label"],
            [
                "train",
                str(tmp_path / "d"),
                "--target",
                "label",
                "--ignore",
                "id",
                "--epochs",
                "1",
                "--model",
                str(tmp_path / "n"),
            ],
        ][number // 6 % 3]
        code = main(command)
        said = capsys.readouterr().err
        assert code in (0, 4, 5), (name, number, said)
        assert "Traceback" not in said and "Error:" not in said, (name, number, said)


def test_damage_is_found_whatever_is_asked_for(model, tmp_path):
    """Opening for a model reads no more than headers."""
    schema = Job(model, JobOptions()).model.schema
    chance = random.Random(2)
    for number in range(100):
        name = list(WHOLE)[number % len(WHOLE)]
        (tmp_path / "d").write_bytes(damaged(WHOLE[name], chance))
        try:
            source, _ = open_for(schema, [str(tmp_path / "d")])
            sum(batch.num_rows for batch in source.batches(["x"]))
        except (DataError, SchemaError):
            continue
