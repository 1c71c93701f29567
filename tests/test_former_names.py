"""Every former name of a module leads to today's module, in a process that knows the former names only."""

import pickle

from child import run

from fastnn.former_names import FORMER_NAMES
from fastnn.training.trainer import TrainOptions


def test_each_former_name_gives_the_classes_of_today() -> None:
    code = """
    import importlib, json, sys
    import fastnn
    for former, today in json.loads(sys.argv[1]).items():
        old, new = importlib.import_module(former), importlib.import_module(today)
        classes = [name for name, value in vars(new).items() if isinstance(value, type) and value.__module__ == today]
        assert classes, today
        assert all(getattr(old, name) is getattr(new, name) for name in classes), former
        assert new.__spec__.name == new.__name__ == today
    """
    import json

    run(code, json.dumps(FORMER_NAMES), warnings="ignore")


def test_a_pickle_by_the_former_name_loads() -> None:
    options = TrainOptions(step_size=0.25)
    former = pickle.dumps(options, protocol=0).replace(b"cfastnn.training.options\n", b"cfastnn.trainer\n")
    assert b"fastnn.training" not in former
    assert pickle.loads(former) == options


def test_the_learnt_columns_are_found_by_the_name_of_their_former_module() -> None:
    code = """
    from fastnn.pipeline.columns import learnt
    from fastnn.pipeline.preprocess import CategoryColumn, NumberColumn
    assert (CategoryColumn, NumberColumn) == (learnt.CategoryColumn, learnt.NumberColumn)
    """
    run(code, warnings="ignore")
