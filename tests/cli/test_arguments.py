"""The command line's options are those of the library: the same names, defaults and choices."""

import inspect
from pathlib import Path
from typing import get_args

import pytest
import typer

from fastnn.cli import arguments
from fastnn.cli.predict import predict
from fastnn.cli.train import _plan, train
from fastnn.pipeline.io.sinks import format_of
from fastnn.pipeline.jobs.job import JobOptions
from fastnn.pipeline.jobs.result import OnBadRow, Output
from fastnn.training.option_table import COMMAND_LINE, options_of


def test_defaults_of_train_are_those_of_the_table():
    parameters = inspect.signature(train).parameters
    for name, (_, use) in options_of(COMMAND_LINE).items():
        assert parameters[name].default == use.default, name


def test_defaults_of_predict_are_those_of_a_job():
    parameters = inspect.signature(predict).parameters
    for name in ("output", "on_bad_row", "check_drift", "drift_limit"):
        assert parameters[name].default == getattr(JobOptions(), name), name


def choices(declared) -> list[str]:
    return get_args(declared)[1].metavar.strip("[]").split("|")


def parameter(name):
    return inspect.signature(train).parameters[name]


@pytest.mark.parametrize("solver", choices(parameter("solver").annotation))
def test_every_solver_of_train_makes_a_plan(solver):
    """With MLPClassifier's momentum and weight decay, which only AdamW has."""
    said = {name: use.default for name, (_, use) in options_of(COMMAND_LINE).items()}
    plan = _plan({**said, "hidden": "3,2", "solver": solver, "learning_rate": 0.5, "threads": 2})
    assert plan.hidden == (3, 2) and plan.options.solver == solver and plan.options.momentum == 0.9
    assert plan.options.weight_decay == (0.01 if solver == "adamw" else 0)
    assert (plan.options.step_size, plan.options.n_threads) == (0.5, 2)


def test_the_type_of_each_option():
    types = {name: str(get_args(parameter(name).annotation)[0]) for name in options_of(COMMAND_LINE)}
    assert types["hidden"] == types["solver"] == "<class 'str'>" and types["epochs"] == "<class 'int'>"
    assert types["alpha"] == "<class 'float'>" and types["layer_norm"] == "<class 'bool'>"
    assert types["weight"] == "str | None" and types["threads"] == "int | None" and types["clip_norm"] == "float | None"


def test_every_activation_can_be_chosen_for_train():
    assert {"tanh", "relu", "logistic", "identity", "gelu", "silu"} <= set(choices(parameter("activation").annotation))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", -1.0, "--learning-rate must be"),
        ("n_iter_no_change", 0, "--n-iter-no-change must be"),
        ("clip_norm", 0.0, "--clip-norm must be"),
        ("validation", 1.0, "--validation must be"),
        ("hidden", "a", "--hidden is a list"),
        ("batch_size", "many", "--batch-size is auto or"),
    ],
)
def test_a_wrong_value_is_named_as_it_was_typed(name, value, message):
    said = {name: use.default for name, (_, use) in options_of(COMMAND_LINE).items()}
    with pytest.raises(typer.BadParameter, match=message):
        _plan({**said, name: value})


@pytest.mark.parametrize(
    ("declared", "known"), [(arguments.Output, get_args(Output)), (arguments.OnBadRow, get_args(OnBadRow))]
)
def test_choices_of_predict(declared, known):
    assert sorted(choices(declared)) == sorted(known)


def test_formats_of_outputs():
    assert [format_of(Path(f"s.{name}")) for name in choices(arguments.OutputFormat)] == ["parquet", "csv", "arrow"]
