"""Training from sources: in memory and out of core, with and without a kill."""

import functools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastnn
from fastnn.files.modelfile import ModelFileError
from fastnn.network.samples import Checked, Parts
from fastnn.pipeline import DataError, DataWarning
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import prepare, train_batches
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.trainer import TrainOptions

N_ROWS = 5000
rng = np.random.default_rng(5)
NUMBERS = rng.standard_normal((N_ROWS, 4)).astype(np.float32)
LABELS = np.where(NUMBERS[:, 0] + NUMBERS[:, 1] * NUMBERS[:, 2] > 0, "yes", "no")
TABLE = pa.table(
    {
        "id": np.arange(N_ROWS),
        **{f"x{i}": pa.array(NUMBERS[:, i], mask=rng.random(N_ROWS) < 0.01 * i) for i in range(4)},
        "word": rng.choice(["a", "b", "c"], N_ROWS),
        "label": LABELS,
    }
)
PLAN = Plan((16,), epochs=3, batch_size=50, options=TrainOptions("adam", 0.01))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The table as three files of several row groups."""
    folder = tmp_path_factory.mktemp("files")
    for i, (first, n) in enumerate([(0, 1700), (1700, 2300), (4000, 1000)]):
        pq.write_table(TABLE.slice(first, n), folder / f"{i}.parquet", row_group_size=300)
    return folder


@pytest.fixture
def small_runs(monkeypatch):
    """Each row group is read by itself."""
    monkeypatch.setattr("fastnn.pipeline.learning.parts._LEAST_RUN", 1)


def bits(trained) -> bytes:
    return trained.model.network.params.tobytes()


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_out_of_core_without_a_shuffle_is_fit_on_the_same_rows(files, validation):
    """The bits are the same for every size of the buffer, and for a table and arrays in memory."""
    plan = replace(PLAN, validation=validation, options=replace(PLAN.options, shuffle=False))
    whole = train_batches(files, "label", plan, ignore=["id"])
    for buffer_rows in (50, 649, 3000):
        training = prepare(files, "label", replace(plan, buffer_rows=buffer_rows), ["id"])
        assert isinstance(training.samples, Parts)
        assert bits(training.run()) == bits(whole)
    assert bits(train_batches(TABLE, "label", plan, ignore=["id"])) == bits(whole)

    kept = ~HeldOut(validation, 0).among(TABLE.to_batches()[0], 0)
    model = whole.model
    X = model.preprocessor.transform(TABLE.filter(pa.array(kept)).combine_chunks().to_batches()[0], np.dtype("f4"))
    net = fastnn.Network.create(model.network.sizes, classes=["no", "yes"])
    fastnn.train(net, X, LABELS[kept], epochs=3, batch_size=50, step_size=0.01, solver="adam", shuffle=False)
    assert validation or net.params.tobytes() == bits(whole)


def test_one_buffer_of_all_rows_is_training_in_memory(files):
    """The bits are the same with the shuffle, too."""
    in_memory = prepare(files, "label", PLAN, ["id"])
    assert isinstance(in_memory.samples, Checked)
    exact = prepare(files, "label", replace(PLAN, buffer_rows=N_ROWS), ["id"])
    assert bits(exact.run()) == bits(in_memory.run())


def rows_of(training, epoch: int) -> list[bytes]:
    assert isinstance(training.samples, Parts)
    return [row.tobytes() for part in training.samples.parts(epoch) for row in part.X]


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(files, small_runs):
    training = prepare(files, "label", replace(PLAN, buffer_rows=600, validation=0.1), ["id"])
    first, second = rows_of(training, 0), rows_of(training, 1)
    assert len(first) == training.n_train and first != second and sorted(first) == sorted(second)
    assert rows_of(training, 0) == first
    sizes = [len(part.y) for part in training.samples.parts(0)]
    assert sizes[:-1] == [600] * (len(sizes) - 1) and 0 < sizes[-1] <= 600


def test_it_learns_out_of_core(files, small_runs):
    trained = train_batches(files, "label", replace(PLAN, epochs=20, buffer_rows=600), ignore=["id"])
    assert trained.accuracy > 0.9
    assert trained.n_train + trained.n_validation == N_ROWS


def test_memory_holds_the_buffers_and_no_more(files, small_runs, monkeypatch):
    """While one part is learnt from, one waits and one is filled."""
    training = prepare(files, "label", replace(PLAN, buffer_rows=300, validation=0.0), ["id"])
    made = []
    buffer = training.samples._buffer
    monkeypatch.setattr(training.samples, "_buffer", lambda: made.append(1) or buffer())
    parts = training.samples.parts(0)
    next(parts)
    time.sleep(0.3)
    assert len(made) <= 4
    parts.close()


def test_held_out_by_an_id(tmp_path):
    table = TABLE.append_column("customer", pa.array([f"c{i % 100}" for i in range(N_ROWS)]))
    plan = replace(PLAN, hold_out_by="customer", validation=0.3)
    training = prepare(table, "label", plan, ["id"])
    assert "customer" not in training.model.schema.names()
    assert training.n_train % 50 == 0 and 0 < training.n_train < N_ROWS
    pq.write_table(table, tmp_path / "t.parquet")
    streamed = prepare(tmp_path / "t.parquet", "label", replace(plan, buffer_rows=600), ["id"])
    assert streamed.n_train == training.n_train
    with pytest.raises(DataError, match="no column 'nobody'"):
        prepare(table, "label", replace(plan, hold_out_by="nobody"))


def test_no_more_than_enough_rows_are_held_out(monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.learning.train.MOST_HELD_OUT", 100)
    training = prepare(TABLE, "label", replace(PLAN, validation=0.5), ["id"])
    assert 70 < N_ROWS - training.n_train < 130


def test_ids_are_held_out_whole_though_few_of_their_rows_are_measured_by(monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.learning.train.MOST_HELD_OUT", 100)
    table = TABLE.append_column("customer", pa.array(np.arange(N_ROWS) % 10))
    training = prepare(table, "label", replace(PLAN, validation=0.3, hold_out_by="customer"), ["id"])
    assert training.n_train % 500 == 0 and 0 < training.n_train < N_ROWS
    assert 40 < len(training.validation.targets) < 250


def test_what_cannot_be_ids():
    table = TABLE.append_column("customer", pa.array([[1]] * N_ROWS))
    with pytest.raises(DataError, match="can't be held out by a column of list"):
        prepare(table, "label", replace(PLAN, hold_out_by="customer"), ["id"])


@pytest.mark.parametrize(
    "wrong", [{"validation": -0.1}, {"validation": np.nan}, {"buffer_rows": 0}, {"batch_size": -1}]
)
def test_plans_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(PLAN, **wrong)


def test_the_index_of_a_data_frame_is_no_feature():
    frame = TABLE.to_pandas()
    with pytest.warns(DataWarning, match="'__index_level_0__' isn't learnt from"):
        model = train_batches(frame[frame["x0"] > 0], "label", PLAN, ignore=["id"]).model
    assert model.schema.names() == ["x0", "x1", "x2", "x3", "word"]
    some = frame[frame["x0"] > 0].set_index("id")
    for options in ({"ignore": "id"}, {"columns": {"id": {"kind": "ignore"}}}):  # without a word, if it is named
        assert train_batches(some, "label", PLAN, **options).model.schema.names() == model.schema.names()
    named = train_batches(some, "label", PLAN, columns={"id": {"kind": "number"}}).model
    assert named.schema.names() == ["x0", "x1", "x2", "x3", "word", "id"]


def test_small_row_groups_are_read_together(tmp_path):
    pq.write_table(TABLE, tmp_path / "t.parquet", row_group_size=7)
    training = prepare(tmp_path / "t.parquet", "label", replace(PLAN, buffer_rows=600), ["id"])
    assert isinstance(training.samples, Parts) and len(training.samples._runs) == 1


def test_another_target_is_another_training(files, tmp_path):
    """A checkpoint of another target is refused, even if the classes and the columns are the same."""
    table = TABLE.append_column("other", TABLE["label"].take(pa.array(np.arange(N_ROWS)[::-1])))
    plan = replace(PLAN, validation=0.0, buffer_rows=600)
    checkpoint = Checkpoint(tmp_path / "c")

    def stop(epoch) -> None:
        raise RuntimeError("stop")

    pq.write_table(table, tmp_path / "t")
    for data in (tmp_path / "t", table):
        (tmp_path / "c").unlink(missing_ok=True)
        with pytest.raises(RuntimeError, match="stop"):
            prepare(data, "label", plan, ["id", "other"]).run(stop, checkpoint)
        with pytest.raises(ModelFileError, match="unfinished training"):
            train_batches(data, "other", plan, ignore=["id", "label"], checkpoint=tmp_path / "c")
    changed = table.set_column(1, "x0", pa.array(NUMBERS[::-1, 0]))  # as many rows, with the same columns and moments
    with pytest.raises(ModelFileError, match="unfinished training"):
        train_batches(changed, "label", plan, ignore=["id", "other"], checkpoint=tmp_path / "c")


def test_files_that_change_while_they_are_read(tmp_path):
    pq.write_table(TABLE, tmp_path / "t.parquet")
    training = prepare(tmp_path / "t.parquet", "label", replace(PLAN, buffer_rows=600), ["id"])

    def change(epoch) -> None:
        pq.write_table(TABLE.slice(1), tmp_path / "t.parquet")

    with pytest.raises(DataError, match="was changed while it was read"):
        training.run(change)


def test_blocks_with_too_much_text_are_rows_like_others(files, monkeypatch):
    """In all blocks but the last, the string columns become large_string."""
    monkeypatch.setattr("fastnn.pipeline.learning.survey.BLOCK_ROWS", 600)
    expected = train_batches(files, "label", PLAN, ignore=["id"])
    monkeypatch.setattr("fastnn.pipeline.io.rebatch.MOST_TEXT_BYTES", 2900)
    found = train_batches(files, "label", PLAN, ignore=["id"])
    assert bits(found) == bits(expected) and found.accuracy == expected.accuracy


def test_a_stream_is_read_into_memory():
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=700))
    plan = replace(PLAN, buffer_rows=600)
    assert bits(train_batches(reader, "label", plan, ignore=["id"])) == bits(
        train_batches(TABLE, "label", plan, ignore=["id"])
    )


def test_columns_are_used_as_said():
    trained = train_batches(TABLE, "label", PLAN, columns={"id": {"kind": "ignore"}, "x3": {"impute": "median"}})
    assert "id" not in trained.model.schema.names()


def test_stopped_and_resumed_out_of_core(files, small_runs, tmp_path):
    plan = replace(PLAN, epochs=6, buffer_rows=600)
    calm = train_batches(files, "label", plan, ignore=["id"])
    training = prepare(files, "label", plan, ["id"])

    def stop(epoch) -> None:
        if epoch.number == 3:
            raise RuntimeError("stop")

    checkpoint = Checkpoint(tmp_path / "c")
    with pytest.raises(RuntimeError, match="stop"):
        training.run(stop, checkpoint)
    assert bits(train_batches(files, "label", plan, ignore=["id"], checkpoint=tmp_path / "c")) == bits(calm)
    # With another buffer, rows come in another order: training doesn't go on from that checkpoint, but starts anew.
    (tmp_path / "d").write_bytes((tmp_path / "c").read_bytes())
    again = train_batches(files, "label", replace(plan, buffer_rows=1200), ignore=["id"], checkpoint=tmp_path / "d")
    assert bits(again) != bits(calm)


def _killed_training_ends_the_same(files: Path, folder: Path, kills: int) -> None:
    model = folder / "m"
    command = [sys.executable, "-m", "fastnn.cli", "train", str(files), "--target", "label", "--ignore", "id"]
    command += ["--hidden", "16", "--epochs", "40", "--buffer-rows", "600", "--batch-size", "50", "--resume"]

    def run() -> subprocess.Popen:
        return subprocess.Popen([*command, "--model", str(model)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.perf_counter()
    assert run().wait() == 0
    seconds = time.perf_counter() - began
    calm = model.read_bytes()
    random = np.random.default_rng(0)
    done = 0
    while done < kills:
        model.unlink()
        while True:  # until the model is written
            process = run()
            try:
                process.wait(random.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
            if model.exists():
                assert model.read_bytes() == calm
            if process.returncode == 0:
                break
        assert [path.name for path in folder.iterdir()] == ["m"]


def test_a_killed_training_ends_in_the_same_bytes(files, tmp_path):
    _killed_training_ends_the_same(files, tmp_path, 2)


@pytest.mark.slow
def test_a_training_killed_a_hundred_times_ends_in_the_same_bytes(files, tmp_path):
    _killed_training_ends_the_same(files, tmp_path, 100)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_row_that_cannot_be_learnt_from_is_named(tmp_path, format_):
    """Or it is left out, with others."""
    rows = [{"x": float(i), "w": 1.0, "y": "pq"[i % 2], "n": i + 0.5} for i in range(50)]
    for name, value, message in [
        ("x", np.inf, "column 'x' holds an infinite value"),
        ("n", -np.inf, "the target 'n' holds an infinite value"),
        ("w", -2.0, "the weight 'w' is -2, but"),
        ("y", None, r"The target 'y' is missing in 1 row of 50\. To leave such rows out: --on-bad-row skip"),
    ]:
        for on_bad_row in ("fail", "skip"):
            frame = pd.DataFrame(rows)
            frame.loc[30, name] = value
            if on_bad_row == "skip":
                frame.loc[[3, 7], "y" if name != "n" else "n"] = None
            path = tmp_path / f"d.{format_}"
            frame.to_csv(path, index=False) if format_ == "csv" else frame.to_parquet(path)
            place = rf"d\.{format_}, {'line 32' if format_ == 'csv' else 'row 31'}: {message}"
            plan = Plan(hidden=(2,), epochs=1, weight="w", options=TrainOptions("adam", batch_size=9))
            target = "n" if name == "n" else "y"
            learn = functools.partial(train_batches, path, target, plan, on_bad_row=on_bad_row)
            if on_bad_row == "skip":
                with pytest.warns(DataWarning, match="3 rows were left out"):
                    trained = learn()
                assert trained.n_train + trained.n_validation == 47
            else:
                with pytest.raises(DataError, match=place):
                    learn()


def test_an_empty_weight_is_a_bad_row(tmp_path):
    (tmp_path / "d.csv").write_text(
        "x,w,y\n" + "\n".join(f"{i},{'' if i % 9 == 0 else 1},{'ab'[i % 2]}" for i in range(90))
    )
    plan = Plan(hidden=(2,), epochs=1, weight="w", validation=0)
    with pytest.raises(DataError, match=r"d\.csv, line 2: the weight 'w' is missing"):
        train_batches(tmp_path / "d.csv", "y", plan)
    with pytest.warns(DataWarning, match=r"10 rows were left out, the first one at .*d\.csv, line 2"):
        assert train_batches(tmp_path / "d.csv", "y", plan, on_bad_row="skip").n_train == 80


@pytest.mark.parametrize("plan", [{"weight": "x", "hold_out_by": "x"}, {"weight": "y"}, {"hold_out_by": "y"}])
def test_a_column_has_one_role(plan):
    table = pa.table({"x": [1.0, 2.0] * 9, "y": ["a", "b"] * 9, "z": range(18)})
    with pytest.raises(DataError, match="can be only one of these: target, weight, ids to hold out by"):
        train_batches(table, "y", Plan(**plan))
