"""Regression of tables through the command line, and every option of training that the estimators have."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import r2_score

from fastnn.cli import main
from fastnn.pipeline import DataError, Model, Plan, predict_batches, train_batches
from fastnn.training.options import TrainOptions

N = 2000
CHANCE = np.random.default_rng(0)
X = CHANCE.standard_normal((N, 3))
WORD = CHANCE.choice(["a", "b"], N)
PRICE = 1e6 + 300 * np.sin(2 * X[:, 0]) + 200 * X[:, 1] * (WORD == "a") + 10 * CHANCE.standard_normal(N)
COUNT = CHANCE.poisson(np.exp(X[:, 2] + 0.5 * (WORD == "b")))
TABLE = pa.table(
    {**{f"x{i}": X[:, i] for i in range(3)}, "word": WORD.tolist(), "price": PRICE, "count": COUNT, "id": range(N)}
)
TRAIN = ["--ignore", "id", "--hidden", 32, "--epochs", 40, "--learning-rate", 0.01, "--json"]


def call(*arguments):
    return main([str(each) for each in arguments])


def succeed(capsys, *arguments):
    capsys.readouterr()
    assert call(*arguments) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def fail(capsys, *arguments):
    capsys.readouterr()
    code = call(*arguments)
    return code, capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    for name, rows in (("past", TABLE.slice(0, 1500)), ("new", TABLE.slice(1500))):
        pq.write_table(rows, folder / f"{name}.parquet")
        rows.to_pandas().to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_from_files_to_scores(files, tmp_path, capsys, ending):
    data, new = files / f"past.{ending}", files / f"new.{ending}"
    command = ["train", data, "--target", "price", "--ignore", "count", *TRAIN, "--model", tmp_path / "m"]
    summary = succeed(capsys, *command, "--resume", "--plot", tmp_path / "loss.png")
    assert summary["task"] == "regression" and summary["validation_r2"] > 0.9 and summary["classes"] is None
    assert "validation_accuracy" not in summary
    predict = ["predict", tmp_path / "m", new, "--keep", "id", "--check-drift", "--json"]
    summary = succeed(capsys, *predict, "--out", tmp_path / "s.parquet")
    assert summary["columns"] == ["id", "prediction"]
    found = pq.read_table(tmp_path / "s.parquet")["prediction"].to_numpy()
    assert found.dtype == np.float64 and r2_score(PRICE[1500:], found) > 0.9
    np.testing.assert_array_equal(found, Model.load(tmp_path / "m").predict(TABLE.slice(1500)))
    measures = succeed(
        capsys, "evaluate", tmp_path / "m", new, "--target", "price", "--plot", tmp_path / "p.png", "--json"
    )
    assert measures["r2"] == pytest.approx(r2_score(PRICE[1500:], found), rel=1e-9)
    assert measures["mae"] == pytest.approx(np.abs(PRICE[1500:] - found).mean(), rel=1e-9)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert succeed(capsys, "info", tmp_path / "m", "--json")["target"] == ["price"]


def test_several_targets(files, tmp_path, capsys):
    both = ["--target", "price", "--target", "count"]
    succeed(capsys, "train", files / "past.csv", *both, *TRAIN, "--model", tmp_path / "m")
    summary = succeed(
        capsys,
        "predict",
        tmp_path / "m",
        files / "new.csv",
        "--out",
        tmp_path / "s.csv",
        "--json",
        "--on-bad-row",
        "null",
    )
    assert summary["columns"] == ["prediction_price", "prediction_count"]
    measures = succeed(capsys, "evaluate", tmp_path / "m", files / "new.csv", *both, "--json")
    assert set(measures["r2"]) == {"price", "count"} and measures["r2"]["price"] > 0.8
    assert measures["mean_r2"] == pytest.approx(np.mean(list(measures["r2"].values())))
    assert call("evaluate", tmp_path / "m", files / "new.csv", *both) == 0
    assert "price: R²" in capsys.readouterr().out
    code, line = fail(capsys, "train", files / "past.csv", *both, "--task", "classification", "--model", tmp_path / "n")
    assert code == 5 and "A classification has one target" in line


def test_counts(files, tmp_path, capsys):
    command = ["train", files / "past.parquet", "--target", "count", "--ignore", "price", *TRAIN]
    summary = succeed(capsys, *command, "--loss", "poisson", "--model", tmp_path / "m")
    assert summary["task"] == "regression"
    found = next(predict_batches(tmp_path / "m", TABLE.slice(1500)))["prediction"].to_numpy()
    assert (found > 0).all() and abs(found.mean() / COUNT[1500:].mean() - 1) < 0.1
    rate = np.exp(X[1500:, 2] + 0.5 * (WORD[1500:] == "b"))
    assert np.corrcoef(found, rate)[0, 1] > 0.95


def test_what_a_regression_has_not(files, tmp_path, capsys):
    command = ["train", files / "past.parquet", "--target", "price", "--ignore", "count", *TRAIN]
    succeed(capsys, *command, "--model", tmp_path / "m")
    model = Model.load(tmp_path / "m")
    for ask in (lambda: model.predict_proba(TABLE), lambda: model.classes):
        with pytest.raises(ValueError, match=r"has no (probabilities|classes): call predict"):
            ask()
    predict = ["predict", tmp_path / "m", files / "new.parquet", "--out", tmp_path / "s.parquet"]
    code, line = fail(capsys, *predict, "--output", "proba")
    assert code == 2 and "A regression has no probabilities" in line
    code, line = fail(capsys, *command, "--class-weight", "balanced", "--model", tmp_path / "n")
    assert code == 5 and "has no classes" in line
    code, line = fail(capsys, *command, "--label-smoothing", 0.1, "--model", tmp_path / "n")
    assert code == 5 and "--label-smoothing" in line
    code, line = fail(capsys, *command, "--loss", "poisson", "--task", "classification", "--model", tmp_path / "n")
    assert code == 5 and "A classification has no Poisson loss" in line


def test_whole_numbers_and_floats_that_may_be_classes(tmp_path, capsys):
    table = TABLE.append_column("flag", pa.array((X[:, 0] > 0).astype(float)))
    pq.write_table(table, tmp_path / "d.parquet")
    command = ["train", tmp_path / "d.parquet", "--target", "flag", *TRAIN, "--model", tmp_path / "m"]
    code, line = fail(capsys, *command)
    assert code == 5 and "--task classification" in line and "--task regression" in line
    assert succeed(capsys, *command, "--task", "classification")["classes"] == [0, 1]
    assert succeed(capsys, *command, "--task", "regression")["classes"] is None
    pq.write_table(TABLE, tmp_path / "d.parquet")
    assert call("train", tmp_path / "d.parquet", "--target", "id", "--epochs", 1, "--model", tmp_path / "m") == 0
    assert "note: The target 'id' has 2000 whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "plan", "solver"),
    [
        (["--ensemble", 3], {"ensemble": 3}, {}),
        (["--layer-norm"], {"layer_norm": True}, {}),
        (["--activation", "gelu"], {"activation": "gelu"}, {}),
        (
            ["--solver", "sgd", "--momentum", 0.5, "--no-nesterovs-momentum"],
            {},
            {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False},
        ),
        (
            ["--solver", "sgd", "--schedule", "invscaling", "--power-t", 0.1],
            {"schedule": "invscaling", "power_t": 0.1},
            {"solver": "sgd"},
        ),
        (
            ["--solver", "sgd", "--schedule", "adaptive", "--validation", 0],
            {"schedule": "adaptive", "validation": 0},
            {"solver": "sgd"},
        ),
        (
            ["--solver", "adamw", "--weight-decay", 0.1, "--schedule", "cosine", "--warmup-epochs", 2],
            {"schedule": "cosine", "warmup_epochs": 2},
            {"solver": "adamw", "weight_decay": 0.1},
        ),
        (
            ["--dropout", 0.2, "--clip-norm", 0.5, "--beta-1", 0.8, "--beta-2", 0.99, "--epsilon", 1e-6],
            {},
            {"dropout": 0.2, "clip_norm": 0.5, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6},
        ),
        (
            ["--no-shuffle", "--tol", 0.5, "--n-iter-no-change", 1],
            {"tol": 0.5, "n_iter_no_change": 1},
            {"shuffle": False},
        ),
    ],
)
def test_options_do_what_they_do_in_python(files, tmp_path, capsys, options, plan, solver):
    """And each makes another model than the defaults."""
    command = ["train", files / "past.parquet", "--target", "price", "--ignore", "count", "--ignore", "id"]
    command += ["--epochs", 4, "--hidden", 8, "--learning-rate", 0.01]
    succeed(capsys, *command, *options, "--model", tmp_path / "a", "--json")
    succeed(capsys, *command, "--model", tmp_path / "b", "--json")
    of_shell = {"solver": "adam", "alpha": 1e-4, "momentum": 0.9, "nesterovs_momentum": True, "step_size": 0.01}
    asked = Plan(hidden=8, epochs=4, options=TrainOptions(**{**of_shell, **solver}), **plan)
    train_batches(files / "past.parquet", "price", asked, ignore=["count", "id"]).model.save(tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"hidden": "x"}, "hidden must be the number of units in each hidden layer"),
        ({"hidden": (5, 0)}, "hidden must be"),
        ({"epochs": -1}, "epochs must be"),
        ({"epochs": 2.5}, "epochs must be"),
        ({"activation": "foo"}, "activation must be"),
        ({"validation": "a"}, "validation must be"),
        ({"task": "both"}, "task must be"),
        ({"weight": 3}, "weight must be the name of a column"),
        ({"class_weight": "even"}, "class_weight must be"),
        ({"ensemble": 0}, "ensemble must be"),
        ({"options": {}}, "options must be"),
    ],
)
def test_plans_that_make_no_sense(plan, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Plan(**plan)
    assert Plan(hidden=5).hidden == (5,) and Plan(hidden=[]).hidden == ()


@pytest.mark.parametrize("target", [3, [], ["price", 3], b"price", None])
def test_targets_that_are_no_names(target):
    with pytest.raises(TypeError, match="target must be"):
        train_batches(TABLE, target)
    with pytest.raises(DataError, match="no column 'prize' \\('price' looks like it\\)"):
        train_batches(TABLE, "prize")
