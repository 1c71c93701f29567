"""The command line's options are those of the library: the same names, defaults and choices."""

import inspect
from pathlib import Path
from typing import get_args

import pytest

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


@pytest.mark.parametrize("solver", choices(arguments.Solver))
def test_every_solver_of_train_makes_a_plan(solver):
    """With MLPClassifier's momentum and weight decay, for which the command line has no options."""
    plan = _plan({"hidden": "3,2", "batch_size": "auto"}, {"solver": solver})
    assert plan.hidden == (3, 2) and plan.options.solver == solver and plan.options.momentum == 0.9
    assert plan.options.weight_decay == (0.01 if solver == "adamw" else 0)


def test_every_activation_can_be_chosen_for_train():
    assert {"tanh", "relu", "logistic", "identity", "gelu", "silu"} <= set(choices(arguments.Activation))


@pytest.mark.parametrize(
    ("declared", "known"), [(arguments.Output, get_args(Output)), (arguments.OnBadRow, get_args(OnBadRow))]
)
def test_choices_of_predict(declared, known):
    assert sorted(choices(declared)) == sorted(known)


def test_formats_of_outputs():
    assert [format_of(Path(f"s.{name}")) for name in choices(arguments.OutputFormat)] == ["parquet", "csv", "arrow"]
