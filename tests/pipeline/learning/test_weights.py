"""The weights of rows: a row of weight 2 counts as two rows, everywhere."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastnn.cli import main
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import Trained, prepare, train_batches
from fastnn.pipeline.model import Model
from fastnn.training.options import TrainOptions

N = 300
CHANCE = np.random.default_rng(0)
X = CHANCE.standard_normal(N)
WEIGHT = CHANCE.integers(0, 4, N)
WORD = CHANCE.choice(["a", "b", "c"], N)
TABLE = pa.table(
    {
        "x": [None if i % 17 == 3 else x for i, x in enumerate(X.tolist())],
        "word": WORD.tolist(),
        "weight": WEIGHT,
        "label": np.where(X + (WORD == "a") > 0.4, "p", "q").tolist(),
        "value": np.abs(X * 3 + (WORD == "a") + 7),
    }
)
REPEATED = TABLE.take(np.repeat(np.arange(N), WEIGHT))
MEDIAN = {"x": {"impute": "median"}}


def call(*arguments):
    return main([str(each) for each in arguments])


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    ("target", "further"),
    [("label", []), ("label", ["--class-weight", "balanced"]), ("value", []), ("value", ["--loss", "poisson"])],
)
def test_weights_are_repeated_rows(tmp_path, solver, target, further):
    """Through the command line, from the statistics of columns with holes to the predictions."""
    (tmp_path / "c.toml").write_text('[x]\nimpute = "median"\n')
    other = "value" if target == "label" else "label"
    common = ["--target", target, "--ignore", other, "--validation", 0, "--dtype", "float64", "--solver", solver]
    common += ["--epochs", 20, "--hidden", 16, "--columns", tmp_path / "c.toml", "--batch-size", 5000, "--alpha", 0.01]
    scores = {}
    for name, table, options in (
        ("weighted", TABLE, ["--weight", "weight"]),
        ("repeated", REPEATED, ["--ignore", "weight"]),
        ("plain", TABLE, ["--ignore", "weight"]),
    ):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        model = tmp_path / f"{name}.m"
        assert call("train", tmp_path / f"{name}.parquet", *common, *further, *options, "--model", model) == 0
        assert call("predict", model, tmp_path / "weighted.parquet", "--out", tmp_path / "s.parquet") == 0
        numbers = pq.read_table(tmp_path / "s.parquet")
        names = [each for each in numbers.column_names if numbers[each].type == pa.float64()]
        scores[name] = np.column_stack([numbers[each].to_numpy() for each in names])
    np.testing.assert_allclose(scores["weighted"], scores["repeated"], rtol=0, atol=1e-12)
    assert np.abs(scores["weighted"] - scores["plain"]).max() > 1e-4


def test_out_of_core_and_checkpoints(tmp_path):
    """Parts of the rows carry their weights, and a checkpoint of other weights is another training."""
    pq.write_table(TABLE, tmp_path / "t.parquet", row_group_size=50)
    options = TrainOptions("adam", 1e-2, shuffle=False)
    plan = Plan(hidden=(8,), epochs=3, batch_size=50, validation=0.2, weight="weight", options=options)
    whole = train_batches(tmp_path / "t.parquet", "label", plan, ignore="value").model
    parts = train_batches(
        tmp_path / "t.parquet",
        "label",
        replace(plan, buffer_rows=100),
        ignore="value",
        checkpoint=tmp_path / "c",
    ).model
    assert parts.network.params.tobytes() == whole.network.params.tobytes()
    changes = [{}, {"weight": None}, {"class_weight": "balanced"}, {"class_weight": {"p": 2}}]
    plans = [replace(plan, **change) for change in changes]
    found = {
        prepare(tmp_path / "t.parquet", "label", replace(each, buffer_rows=100), ["value"]).samples.fingerprint()
        for each in plans
    }
    assert len(found) == len(plans)


def test_held_out_rows_are_weighted():
    training = prepare(TABLE, "label", Plan(weight="weight", validation=0.3, class_weight={"p": 3.0}), ["value"])
    held_out = training.validation
    factors = np.where(training.model.classes[held_out.targets] == "p", 3.0, 1.0)
    assert set(np.round(held_out.weight / factors, 6)) <= {0.0, 1.0, 2.0, 3.0} and held_out.weight.max() > 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -1.0, 1.0], "The table, row 2: the weight 'w' is -1, but weights are finite numbers of at least 0"),
        ([1.0, 1.0, None], "The table, row 3: the weight 'w' is missing"),
        ([1.0, float("inf"), 1.0], "The table, row 2: the weight 'w' is inf"),
        ([0.0, 0.0, 0.0], "The weights 'w' of all rows to train on are 0"),
        (["a", "b", "c"], "column 'w' holds 'a', which is no double|'w' is string: weights are numbers"),
    ],
)
def test_weights_that_are_none(tmp_path, capsys, values, message):
    table = pa.table({"x": [1.0, 2.0, 3.0], "y": ["p", "q", "p"], "w": values})
    with pytest.raises(DataError, match=message):
        train_batches(table, "y", Plan(weight="w", validation=0))
    pq.write_table(table, tmp_path / "t.parquet")
    command = ["train", tmp_path / "t.parquet", "--target", "y", "--weight", "w", "--validation", 0]
    assert call(*command, "--model", tmp_path / "m") == 5
    assert "Traceback" not in capsys.readouterr().err


def test_a_weight_is_no_feature_and_not_asked_for_in_scoring(tmp_path, capsys):
    pq.write_table(TABLE, tmp_path / "t.parquet")
    command = ["train", tmp_path / "t.parquet", "--target", "label", "--ignore", "value", "--weight", "weight"]
    assert call(*command, "--epochs", 1, "--model", tmp_path / "m", "--json") == 0
    capsys.readouterr()
    assert call("info", tmp_path / "m", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["columns"]) == ["x", "word"]
    with pytest.raises(DataError, match="no column 'w8'"):
        train_batches(TABLE, "label", Plan(weight="w8"))


def test_weights_that_are_no_whole_numbers(tmp_path):
    """Sums of them are rounded: no category, no missing value and no share may come of that."""
    weight = np.random.default_rng(1).random(N)
    table = TABLE.set_column(2, "weight", pa.array(weight)).drop_columns("value")
    known = table.set_column(0, "x", pa.array(X))
    for rows, missing in ((table, True), (known, False)):
        for columns in ({}, {"word": {"categories": ["a", "b", "c"]}}, {"word": {"max_categories": 3}}):
            model = train_batches(rows, "label", Plan(epochs=1, weight="weight"), columns=columns).model
            number, word = model.preprocessor.columns
            assert (number.indicator, word.indicator, word.other) == (missing, False, False)
            for column in (number, word):
                assert min(column.shares) >= 0 and sum(column.shares) == pytest.approx(1)
            model.save(tmp_path / "m")
            assert Model.load(tmp_path / "m").predict(rows).tolist() == model.predict(rows).tolist()


def test_a_result_of_an_earlier_version():
    trained = train_batches(TABLE, "label", Plan(epochs=1), ignore=["value", "weight"])
    state = {**vars(trained)}
    state["accuracy"] = state.pop("score")
    earlier = object.__new__(Trained)
    earlier.__setstate__(state)
    assert earlier.score == earlier.accuracy == trained.accuracy
    assert pickle.loads(pickle.dumps(trained)).score == trained.score
