"""Measures of predictions, on cases that were worked out by hand."""

import numpy as np
import pytest

from benchmarks.quality import measures

NAN = np.nan


def test_measures_of_probabilities():
    p = np.array([[0.8, 0.2], [0.4, 0.6], [0.6, 0.4], [0.5, 0.5]])
    found = measures.measure("binary", p, np.array([0, 1, 1, 0]))
    assert found["accuracy"] == 0.75
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.4, 0.5]).mean())
    assert found["auc"] == 0.75  # of four pairs one is in the wrong order
    assert measures.auc(np.array([0.5, 0.5]), np.array([0, 1])) == 0.5


def test_certainty_costs_the_same_in_every_dtype():
    wrong = np.array([[1.0, 0.0]])
    assert measures.log_loss(wrong, np.array([1])) == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_measures_of_numbers():
    found = measures.measure("regression", np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert found == pytest.approx({"rmse": np.sqrt(3), "r2": 1 - 3 / (2 / 3)})


@pytest.mark.parametrize(
    ("task", "predicted"),
    [
        ("regression", np.array([1.0, NAN])),
        ("regression", np.array([[1.0], [2.0]])),
        ("binary", np.array([[0.5, 0.5]])),
        ("binary", np.array([[1.5, -0.5], [0.5, 0.5]])),
        ("binary", np.array([[1.0], [1.0]])),
    ],
)
def test_what_is_no_prediction_is_not_measured(task, predicted):
    with pytest.raises(measures.PredictionError):
        measures.measure(task, predicted, np.array([0, 1]))
