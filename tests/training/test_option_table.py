"""One table says what each option is called, what it accepts and means; no interface says anything else."""

import importlib.util
import inspect
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest
from sklearn.utils._param_validation import make_constraint

from fastnn import MLPClassifier, MLPRegressor, cli, train
from fastnn.pipeline import Plan
from fastnn.training.option import Choice, Flag, Real, Whole
from fastnn.training.option_table import (
    CLASSIFIER,
    COMMAND_LINE,
    FIT,
    OPTIONS,
    PLAN,
    REGRESSOR,
    TRAIN,
    accepted,
    checked,
    command_line_help,
    options_of,
)
from fastnn.training.options import TrainOptions

ROOT = Path(__file__).parents[2]
# What a command reads and writes is no option of training.
FILES = {"data", "target", "model", "ignore", "columns", "plot", "resume", "json", "on_bad_row"}
FILES |= {"missing", "strip", "delimiter", "decimal", "encoding"}
DATA = {"self", "net", "X", "y", "sample_weight", "X_val", "y_val", "sample_weight_val"}
COMMAND = next(command.callback for command in cli.app.registered_commands if command.callback.__name__ == "train")
ESTIMATORS = {CLASSIFIER: MLPClassifier, REGRESSOR: MLPRegressor}


def defaults(function, but) -> dict[str, object]:
    """The parameters of a function and their defaults."""
    parameters = inspect.signature(function).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in but}


def defaults_of_fields(cls) -> dict[str, object]:
    return {field.name: field.default for field in fields(cls) if field.default is not MISSING}


@pytest.mark.parametrize(
    ("interface", "found"),
    [
        (TRAIN, defaults(train, DATA)),
        (CLASSIFIER, defaults(MLPClassifier.__init__, DATA)),
        (REGRESSOR, defaults(MLPRegressor.__init__, DATA)),
        (FIT, defaults(MLPClassifier.fit, DATA)),
        (FIT, defaults(MLPRegressor.fit, DATA)),
        (PLAN, defaults_of_fields(Plan)),
        (COMMAND_LINE, defaults(COMMAND, FILES)),
    ],
    ids=["train", "MLPClassifier", "MLPRegressor", "MLPClassifier.fit", "MLPRegressor.fit", "Plan", "command line"],
)
def test_signatures_have_the_tables_names_and_defaults(interface, found):
    expected = {name: use.default for name, (_, use) in options_of(interface).items()}
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize("interface", ESTIMATORS, ids=["MLPClassifier", "MLPRegressor"])
def test_estimators_hand_every_option_on(interface):
    names = {id(option): name for name, (option, _) in options_of(TRAIN).items()}
    for name, (option, use) in options_of(interface).items():
        if names.get(id(option)) not in defaults_of_fields(TrainOptions) or name == "random_state":
            continue
        others = {
            Flag: [not use.default],
            Whole: [7],
            Real: [0.25],
            Choice: [*getattr(option.accepts[0], "values", "")],
        }
        other = next(value for value in others[type(option.accepts[0])] if value != use.default)
        # Weight decay is AdamW's alone.
        settings = {"solver": "adamw", name: other} if name == "weight_decay" else {name: other}
        options = ESTIMATORS[interface](**settings)._options(0, 1000)
        assert getattr(options, names[id(option)]) == other, name


# The estimators' options that mean nothing for tables, or that tables have in another way.
NOT_FOR_TABLES = {
    "early_stopping": "held-out rows decide: --validation",
    "scoring": "the loss on held-out rows decides",
    "verbose": "the command line shows its progress",
    "warm_start": "a training goes on from its checkpoint",
    "max_fun": "which has no effect",
}


def test_tables_have_every_option_of_the_estimators():
    names = {id(option): name for name, option in OPTIONS.items()}
    for_tables = {id(option) for interface in (PLAN, TRAIN) for option, _ in options_of(interface).values()}
    in_shell = {id(option) for option, _ in options_of(COMMAND_LINE).values()}
    for interface in ESTIMATORS:
        for option, _ in options_of(interface).values():
            if names[id(option)] not in NOT_FOR_TABLES:
                assert id(option) in for_tables and id(option) in in_shell, names[id(option)]


def test_train_options_are_the_keywords_of_train():
    keywords = defaults(train, {*DATA, "epochs", "callbacks", "checkpoint", "checkpoint_every"})
    assert defaults_of_fields(TrainOptions) == keywords


def test_docstrings_say_what_the_table_says():
    """Otherwise run ``python tools/option_docs.py``."""
    spec = importlib.util.spec_from_file_location("option_docs", ROOT / "tools" / "option_docs.py")
    assert spec is not None and spec.loader is not None
    option_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(option_docs)
    for name, interfaces in option_docs.PLACES.items():
        source = (option_docs.PACKAGE / name).read_text()
        assert option_docs.rewritten(name, source, interfaces) == source
        for interface in interfaces.values():
            named = option_docs.described(interface, options_of(interface))
            assert all(f" {option} : " in source for option in named), name


@pytest.mark.parametrize("interface", ESTIMATORS)
def test_estimators_check_what_the_table_says(interface):
    estimator = ESTIMATORS[interface]
    assert estimator._parameter_constraints.keys() == options_of(interface).keys()
    for name, (_, use) in options_of(interface).items():
        satisfied = [
            make_constraint(each).is_satisfied_by(use.default) for each in estimator._parameter_constraints[name]
        ]
        assert any(satisfied), f"{name} doesn't accept its default"


def test_the_command_line_says_what_the_table_says():
    parameters = inspect.signature(COMMAND, eval_str=True).parameters
    for name in options_of(COMMAND_LINE):
        option = get_args(parameters[name].annotation)[-1]
        assert option.help == command_line_help(name)
        first = accepted(COMMAND_LINE, name)[0]
        if isinstance(first, Choice):
            assert option.metavar == f"[{'|'.join(first.values)}]"
        if isinstance(first, Whole):
            assert option.min == first.low


def test_the_defaults_of_train_are_accepted():
    for name, (_, use) in options_of(TRAIN).items():
        if name not in ("callbacks", "checkpoint"):
            assert checked(name, use.default) == use.default


def test_meanings_are_sentences():
    for name, option in OPTIONS.items():
        assert option.uses, f"{name} is in no interface"
        for use in option.uses.values():
            for text in filter(None, (option.summary, option.details, use.summary, use.note)):
                assert text.endswith("."), text
