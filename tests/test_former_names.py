"""Every former name of a module leads to today's module, in a process that knows the former names only."""

import pickle

from child import run

from fastnn.former_names import FORMER_NAMES
from fastnn.network.samples import Samples
from fastnn.pipeline.columns.drift import ColumnDrift
from fastnn.training.trainer import TrainOptions


def test_each_former_name_gives_what_is_in_the_module_today() -> None:
    code = """
    import importlib, json, sys
    import fastnn
    for former, today in json.loads(sys.argv[1]).items():
        old, new = importlib.import_module(former), importlib.import_module(today)
        names = [name for name, value in vars(new).items() if getattr(value, "__module__", "") == today]
        assert names, today
        assert all(getattr(old, name) is getattr(new, name) for name in names), former
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


def test_pickles_of_samples_and_of_drift_load() -> None:
    """As version 0.1 wrote them: an object of the class, and a dict of its attributes."""

    def former(module: str, kind: str, **attributes: object) -> bytes:
        new = b"ccopyreg\n__newobj__\n(c" + f"{module}\n{kind}\n".encode() + b"tR"
        return new + pickle.dumps(attributes, protocol=0)[:-1] + b"b."

    drift = pickle.loads(former("fastnn.pipeline.drift", "ColumnDrift", name="x", psi=0.25))
    assert drift == ColumnDrift("x", 0.25)
    samples = pickle.loads(former("fastnn.samples", "Samples", X=[[1.0]], y=[0], sample_weight=None))
    assert samples == Samples([[1.0]], [0])
