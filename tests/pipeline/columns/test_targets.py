"""What a training learns to predict: classes or numbers."""

import decimal

import numpy as np
import pyarrow as pa
import pytest

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.columns.targets import ClassTarget, NumberTarget, TargetLearner


def learn(table, names=("y",), weight=None, keep=None, **options):
    learner = TargetLearner(names, **options)
    start = 0
    for batch in table.to_batches(max_chunksize=3):
        here = slice(start, start + batch.num_rows)
        kept = np.ones(batch.num_rows, np.bool_) if keep is None else keep[here]
        learner.update(batch, kept, None if weight is None else weight[here])
        start += batch.num_rows
    return learner.finish()


def column(values, type_=None):
    return pa.table({"y": pa.array(values, type_)})


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a"], "classification"),
        ([True, False], "classification"),
        ([1, 2, 1], "classification"),
        ([0.5, 2.0, 1.0], "regression"),
        ([decimal.Decimal("1.25"), decimal.Decimal("2.00")], "regression"),
        ([float(i) for i in range(60)], "regression"),
    ],
)
def test_the_type_decides(values, task):
    target = learn(column(values))
    assert target.task == task and target.names == ("y",)
    if task == "classification":
        assert target.classes.tolist() == sorted(set(values)) and target.n_outputs == len(target.classes)
        assert target.values(column(values), np.dtype("f4")).tolist() == [sorted(set(values)).index(v) for v in values]
    else:
        numbers = np.array(values, float)
        np.testing.assert_allclose([target.centre[0], target.scale[0]], [numbers.mean(), numbers.std()], rtol=1e-14)
        standard = target.values(column(values), np.dtype("f4"))
        assert standard.shape == (len(values), 1) and standard.dtype == np.float32
        np.testing.assert_allclose(target.in_own_unit(standard.T)[0], numbers, rtol=1e-6, atol=1e-6)


def test_what_is_not_clear_is_asked():
    for values in ([0.0, 1.0, 1.0], [float(i % 50) for i in range(200)]):
        with pytest.raises(DataError, match=r"all of them whole: 0, 1.*--task classification.*--task regression"):
            learn(column(values))
        assert isinstance(learn(column(values), task="classification"), ClassTarget)
        assert isinstance(learn(column(values), task="regression"), NumberTarget)


def test_many_whole_numbers_are_said():
    with pytest.warns(DataWarning, match="'y' has 51 whole numbers, which are learnt as classes.*--task regression"):
        assert isinstance(learn(column(list(range(51)))), ClassTarget)
    learn(column(list(range(50))))
    learn(column(list(range(60))), task="classification")
    assert learn(column([1, 2, 3]), task="regression").centre == (2.0,)
    assert learn(column([True, False]), task="regression").centre == (0.5,)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.5, None, float("nan"), 2.5], {}, "'y' is missing in 2 rows of 4"),
        ([1.5, float("inf")], {}, "'y' holds an infinite value"),
        (["a", "b"], {"task": "regression"}, "'y' is string: a regression needs numbers"),
        ([1, -2], {"loss": "poisson"}, "'y' has negative values"),
        ([0, 0], {"loss": "poisson"}, "'y' is 0 in all rows"),
    ],
)
def test_what_cannot_be_learnt(values, options, message):
    with pytest.raises(DataError, match=message):
        learn(column(values), **options)


def test_several_targets_are_numbers():
    table = pa.table({"a": [1, 2, 3], "b": [2.5, 0.5, 1.5], "c": ["x", "y", "z"]})
    target = learn(table, ("a", "b"))
    assert (target.names, target.centre, target.n_outputs) == (("a", "b"), (2.0, 1.5), 2)
    with pytest.raises(DataError, match="A classification has one target, not 'a', 'b'"):
        learn(table, ("a", "b"), task="classification")
    with pytest.raises(DataError, match="'c' is string"):
        learn(table, ("a", "c"))


def test_counts_are_learnt_in_units_of_their_mean():
    target = learn(column([0, 1, 5]), loss="poisson")
    assert (target.output, target.centre, target.scale) == ("exp", (0.0,), (2.0,))


def test_weights_and_held_out_rows():
    values, weight = np.array([1.5, 2.5, 9.5, 4.5]), np.array([1.0, 2.0, 0.0, 3.0])
    repeated = learn(column(np.repeat(values, weight.astype(int))))
    weighted = learn(column(values), weight=weight)
    np.testing.assert_allclose(weighted.centre + weighted.scale, repeated.centre + repeated.scale, rtol=1e-14)
    kept = learn(column(values), keep=np.array([True, True, False, True]))
    assert kept.centre == learn(column([1.5, 2.5, 4.5])).centre


def test_numbers_far_from_zero_keep_their_digits():
    """float32 has seven digits: the unit comes back in float64."""
    values = 1e6 + np.random.default_rng(0).standard_normal(1000)
    target = learn(column(values))
    back = target.in_own_unit(target.values(column(values), np.dtype("f4")).T)[0]
    assert np.abs(back - values).max() < 1e-6


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 2.0}, None])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_are_those_of_scikit_learn(class_weight, weighted):
    from sklearn.utils.class_weight import compute_class_weight

    labels = ["a", "b", "b", "b", "c", "b"]
    weight = np.array([1.0, 2, 0, 1, 3, 1]) if weighted else None
    learner = TargetLearner(["y"], class_weight=class_weight)
    for start in (0, 3):
        here = slice(start, start + 3)
        (batch,) = column(labels[here]).to_batches()
        learner.update(batch, np.ones(3, np.bool_), None if weight is None else weight[here])
    target = learner.finish()
    factors = learner.factors(target)
    if class_weight is None:
        assert factors is None
    else:
        theirs = compute_class_weight(class_weight, classes=target.classes, y=labels, sample_weight=weight)
        np.testing.assert_allclose(factors, theirs, rtol=1e-14)


def test_class_weights_that_do_not_fit():
    learner = TargetLearner(["y"], class_weight={"z": 1.0})
    (batch,) = column(["a", "b"]).to_batches()
    learner.update(batch, np.ones(2, np.bool_))
    with pytest.raises(DataError, match=r"class_weight names 'z', but the classes are 'a', 'b'"):
        learner.factors(learner.finish())
    learner = TargetLearner(["y"], task="regression", class_weight="balanced")
    (batch,) = column([1.5, 2.5]).to_batches()
    learner.update(batch, np.ones(2, np.bool_))
    with pytest.raises(DataError, match="has no classes: leave class_weight out"):
        learner.factors(learner.finish())


def test_parts_that_do_not_fit_together():
    target = NumberTarget(("a", "b"), (1.0, 2.0), (3.0, 4.0))
    assert NumberTarget.from_parts(["a", "b"], target.tensors(), "identity") == target
    broken = [
        (["a"], target.tensors()),
        (["a", "a"], target.tensors()),
        ([], {"centre": np.zeros(0), "scale": np.zeros(0)}),
        (["a"], {"centre": np.zeros(1), "scale": np.zeros(1)}),
        (["a"], {"centre": np.array([np.nan]), "scale": np.ones(1)}),
        (["a"], {"centre": np.zeros(1, np.float32), "scale": np.ones(1, np.float32)}),
    ]
    for names, tensors in broken:
        with pytest.raises(ValueError, match="don't fit together"):
            NumberTarget.from_parts(names, tensors, "identity")
