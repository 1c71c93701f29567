"""Data that scikit-learn's validation lets pass, or fails at in its own code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from fastnn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

X = np.random.default_rng(0).normal(size=(40, 3))
y = np.arange(40) % 2
clf: Any = MLPClassifier((3,), max_iter=2, random_state=0)
reg: Any = MLPRegressor((3,), max_iter=2, random_state=0)
HUGE = 10**400
MASKED = np.ma.masked_array(y, y == 1)
TIMES, RECORDS = np.arange(40).astype("M8[D]"), np.zeros(40, [("a", int)])
COMPLAINTS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: clf.fit([[HUGE, 1, 2]] * 40, y), ValueError, "X or y holds whole numbers that are too large for float64"),
    (lambda: clf.fit(X, y).predict([[HUGE, 1, 2]]), ValueError, "X holds whole numbers that are too large"),
    (lambda: reg.fit(X, [HUGE] * 40), ValueError, "X or y holds whole numbers that are too large for float64"),
    (lambda: reg.fit(X, y, [HUGE] * 40), ValueError, "sample_weight holds whole numbers that are too large"),
    (lambda: clf.fit(X, [HUGE, 1] * 20), ValueError, "fit neither int64 nor uint64: make them strings"),
    (lambda: clf.fit(X, [2**63, -1] * 20), ValueError, "labels from -1 to 9223372036854775808 fit neither"),
    (lambda: clf.fit(X, y, X_val=X, y_val=[HUGE, 1] * 20), ValueError, "fit neither int64 nor uint64"),
    (lambda: clf.partial_fit(X, y, classes=[2**63, -1]), ValueError, "fit neither int64 nor uint64"),
    (lambda: clf.fit(X, MASKED), TypeError, "labels are a masked array"),
    (lambda: reg.fit(X, MASKED), TypeError, "y is a masked array: fill its holes"),
    (lambda: clf.fit(X, y, MASKED), TypeError, "sample_weight is a masked array"),
    (lambda: clf.fit(X, TIMES), TypeError, "labels must be integers, floats, booleans or strings, got datetime64"),
    (lambda: reg.fit(X, TIMES), TypeError, "y must hold real numbers, got dtype datetime64"),
    (lambda: clf.fit(X, y, TIMES), TypeError, "sample_weight must hold real numbers, got dtype datetime64"),
    (lambda: clf.fit(X, RECORDS), TypeError, "labels must be integers, floats, booleans or strings, got"),
    (lambda: reg.fit(X, RECORDS), TypeError, "y must hold real numbers, got dtype"),
    (lambda: reg.fit(X, ["1"] * 40), TypeError, "y must hold real numbers, got dtype <U1"),
    (lambda: clf.fit(X, np.array(["a", 1] * 20, object)), TypeError, "y mixes labels .*: make all of them strings"),
    (lambda: MLPClassifier(class_weight={0: "a", 1: 1}).fit(X, y), TypeError, "a number for each class, got 'a' for 0"),
    (lambda: MLPClassifier(class_weight={0: HUGE, 1: 1}).fit(X, y), ValueError, "that of 0 isn't finite"),
    (lambda: MLPClassifier(class_weight={0: 1, 1: np.nan}).fit(X, y), ValueError, "that of 1 isn't finite"),
]


@pytest.mark.parametrize(("case", "error", "message"), COMPLAINTS)
def test_complaints(case: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        case()


@pytest.mark.parametrize(
    "name", ["tol", "power_t", "learning_rate_init", "alpha", "epsilon", "weight_decay", "clip_norm"]
)
def test_parameters_that_no_float_holds(name: str) -> None:
    """With ``learning_rate="invscaling"``, a whole number for `power_t` was raised to for ever."""
    kept: Any = {"solver": "adamw"} if name == "weight_decay" else {"solver": "sgd", "learning_rate": "invscaling"}
    with pytest.raises(ValueError, match=f"^{name} is too large for a float"):
        MLPClassifier(**{**kept, name: HUGE}).fit(X, y)


@pytest.mark.parametrize("power_t", [500, 10**300, 1e300])
def test_a_step_size_that_falls_to_nothing(power_t: float) -> None:
    fitted = MLPRegressor((3,), solver="sgd", learning_rate="invscaling", power_t=power_t, max_iter=3).fit(X, y)
    assert 0 < fitted._trainer.step_size < 1e-300 and np.isfinite(fitted.loss_)


def test_whole_numbers_beyond_int64_are_labels() -> None:
    labels = [2**63 + 1, 0, 2**64 - 1, 5]
    fitted = clf.fit(X, [labels[i % 4] for i in range(40)])
    assert fitted.classes_.tolist() == sorted(labels) and set(fitted.predict(X).tolist()) <= set(labels)
    first = MLPClassifier((3,)).partial_fit(X, [2**63, 1] * 20, classes=[*labels, 2**63, 1])
    assert first.classes_.tolist() == sorted([*labels, 2**63, 1])


def test_a_sparse_array_of_one_dimension_is_a_target() -> None:
    sparse = scipy.sparse.coo_array(y)
    for estimator in (clf, reg):
        dense = estimator.fit(X, y).predict(X)
        np.testing.assert_array_equal(estimator.fit(X, sparse).predict(X), dense)
