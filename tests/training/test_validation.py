"""Held-out samples: the loss and the score that a network has on them."""

import numpy as np
import pytest
import reference
from sklearn.metrics import accuracy_score, log_loss, mean_poisson_deviance, r2_score

from fastnn import Network
from fastnn.network.samples import Samples
from fastnn.training.validation import Validation, mean_log_loss

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 5)), np.array(["a", "b", "c"])[np.arange(40) % 3]
weight = rng.uniform(0, 2, 40)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sample_weight", [None, weight])
def test_loss_and_accuracy_are_scikit_learns(dtype, sample_weight):
    net = Network.create([5, 7, 3], dtype=dtype, classes=["a", "b", "c"])
    loss, score = Validation(net, Samples(X, y, sample_weight)).measure(net)
    p = net.predict_proba(X).astype(np.float64)
    assert loss == pytest.approx(log_loss(y, p / p.sum(axis=1, keepdims=True), sample_weight=sample_weight), rel=1e-6)
    assert score == pytest.approx(accuracy_score(y, net.predict(X), sample_weight=sample_weight))


def test_the_loss_is_f4():
    net = Network.create([5, 3], dtype="float64")
    indices = np.arange(40) % 3
    z = reference.linear(X, net.weights[0], net.biases[0])
    assert Validation(net, Samples(X, indices)).measure(net)[0] == pytest.approx(reference.cross_entropy(z, indices))


@pytest.mark.parametrize("sample_weight", [None, weight])
def test_the_poisson_loss_is_half_the_deviance(sample_weight):
    net = Network.create([5, 7, 1], output="exp", dtype="float64")
    counts = np.random.default_rng(1).poisson(1.0, 40)
    loss, score = Validation(net, Samples(X, counts, sample_weight)).measure(net)
    found = net.predict(X)[:, 0]
    assert loss == pytest.approx(mean_poisson_deviance(counts, found, sample_weight=sample_weight) / 2)
    assert score == pytest.approx(r2_score(counts, found, sample_weight=sample_weight))


def test_a_mean_that_underflows_has_a_finite_poisson_loss():
    net = Network([np.eye(1, dtype=np.float32)], [np.zeros(1, np.float32)], output="exp")
    loss, _ = Validation(net, Samples(np.array([[-500.0], [-500.0]]), [0, 2])).measure(net)
    assert loss == pytest.approx((2 * np.log(2 / np.finfo(np.float32).tiny) - 2) / 2)


def test_another_score_may_be_had():
    net = Network.create([5, 3])
    assert Validation(net, Samples(X, np.arange(40) % 3), score=lambda: 17).measure(net)[1] == 17.0


def test_no_probability_is_so_small_that_its_logarithm_isnt_finite():
    p = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    assert mean_log_loss(p, np.array([0, 0])) == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2)


def test_labels_that_the_network_does_not_have_are_refused():
    with pytest.raises(ValueError, match="labels that the network doesn't have: z"):
        Validation(Network.create([5, 3], classes=["a", "b", "c"]), Samples(X, np.full(40, "z")))


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_rows_are_converted_once_and_kept_as_they_were_given(output, monkeypatch):
    net = Network.create([5, 7, 3], output=output)
    goal = np.arange(40) % 3 if output == "softmax" else rng.normal(size=(40, 3))
    held_out = Validation(net, Samples(X, goal))
    assert held_out.X is X
    given = []
    outputs = Network.outputs
    monkeypatch.setattr(Network, "outputs", lambda net, rows, **how: given.append(rows) or outputs(net, rows, **how))
    measures = [held_out.measure(net) for _ in range(2)]
    assert given[0] is given[1] and given[0].dtype == np.float32
    assert measures[0] == measures[1] == Validation(net, Samples(X.astype(np.float32), goal)).measure(net)


def test_rows_that_are_not_finite_are_refused_at_once():
    with pytest.raises(ValueError, match="too large for float32"):
        Validation(Network.create([5, 3]), Samples(X * 1e300, np.arange(40) % 3))
