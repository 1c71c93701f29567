"""The general program: its gradients against central differences, and the plain program's bits where both apply."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import reference
from cases import MOST_THREADS, each_dtype
from sklearn.neural_network import MLPClassifier as SklearnsClassifier
from sklearn.neural_network import MLPRegressor as SklearnsRegressor

import fastnn
from fastnn.kernels.equations.activation import CODES
from fastnn.network.samples import Samples
from fastnn.training.trainer import Trainer, TrainOptions

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

rng = np.random.default_rng(0)
N, SIZES = 37, (5, 11, 9, 3)
X = rng.normal(size=(N, 5))
WEIGHT = rng.uniform(0.2, 2, N)
TARGETS = {
    "softmax": np.arange(N) % 3,
    "logistic": rng.integers(0, 2, (N, 3)),
    "identity": rng.normal(size=(N, 3)),
    "exp": rng.poisson(1.5, (N, 3)),
}


def trained(net: fastnn.Network, y: Any, n_epochs: int = 1, weight: Any = None, **options: Any) -> list[float]:
    options = {"solver": "sgd", "batch_size": N, "shuffle": False, "seed": 3, **options}
    return [epoch.loss for epoch in Trainer(net, TrainOptions(**options)).epochs(Samples(X, y, weight), n_epochs)]


def network(activation: Any = "tanh", output: str = "softmax", dtype: str = "float64") -> fastnn.Network:
    return fastnn.Network.create(SIZES, activation, seed=2, dtype=dtype, output=output)


def with_params(net: fastnn.Network, params: np.ndarray) -> fastnn.Network:
    other = network(net.activation, net.output)
    other.params[:] = params
    return other


@pytest.mark.parametrize("activation", [*CODES, ("gelu", "relu"), ("tanh", "silu")], ids=str)
@pytest.mark.parametrize("output", TARGETS)
def test_gradients_are_those_of_the_loss(activation: Any, output: str) -> None:
    """The derivatives agree in some random directions, for every mixture of dropout, smoothing, weights and penalty.

    A step of size 1 subtracts the gradient from the parameters. The loss is the epoch's, measured before its step.
    """
    y, chance = TARGETS[output], np.random.default_rng(1)
    for dropout, smoothing, weight, alpha in product((0.0, 0.4), (0.0, 0.2), (None, WEIGHT), (0.0, 0.3)):
        if smoothing and output in ("identity", "exp"):
            continue
        options = {"dropout": dropout, "label_smoothing": smoothing, "alpha": alpha, "weight": weight}
        net = network(activation, output)
        before = net.params.copy()
        trained(net, y, step_size=1.0, **options)
        gradient = before - net.params
        for _ in range(3):
            # The direction is 0 in the padding of the packed vector, since the padding must stay 0.
            direction = np.zeros_like(before)
            net.fill(direction, {name: chance.normal(size=part.shape) for name, part in net.tensors().items()})
            step = 1e-5
            above, below = (
                trained(with_params(net, before + sign * step * direction), y, step_size=1e-300, **options)[0]
                for sign in (1, -1)
            )
            found = gradient @ direction
            assert (above - below) / (2 * step) == pytest.approx(found, rel=1e-6, abs=1e-8), options


@each_dtype
@pytest.mark.parametrize("solver", ["sgd", "momentum", "adam", "adamw"])
def test_nothing_asked_for_is_the_plain_kernel(dtype: type, solver: str) -> None:
    """With a `clip_norm` that no gradient reaches, the general program trains to the plain program's bits."""
    options: dict[str, Any] = {"solver": solver, "step_size": 0.01, "batch_size": 16, "shuffle": True, "alpha": 0.01}
    options |= {"momentum": {"solver": "sgd", "momentum": 0.9}, "adamw": {"weight_decay": 0.1}}.get(solver, {})
    sizes = (5, 40, 9, 3)  # too wide for lanes: the plain program works by panels, as the general one does
    nets = [fastnn.Network.create(sizes, seed=2, dtype=dtype) for _ in range(2)]
    plain, clipped = (
        trained(net, TARGETS["softmax"], 4, WEIGHT, **options, clip_norm=clip)
        for net, clip in zip(nets, (None, 1e30), strict=True)
    )
    assert plain == clipped
    assert nets[0].params.tobytes() == nets[1].params.tobytes()


def test_clip_norm() -> None:
    y = TARGETS["softmax"]
    free, clipped, loose = network(), network(), network()
    before = free.params.copy()
    for net, clip in ((free, None), (clipped, 0.01), (loose, 1e6)):
        trained(net, y, step_size=1.0, clip_norm=clip, alpha=0.1)
    gradient, shortened = before - free.params, before - clipped.params
    assert np.linalg.norm(gradient) > 0.1
    assert np.linalg.norm(shortened) == pytest.approx(0.01)
    np.testing.assert_allclose(shortened / 0.01, gradient / np.linalg.norm(gradient), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loose.params, free.params, rtol=1e-13)


@pytest.mark.parametrize("sizes", [(5, 9, 3), (5, 40, 3)], ids=["in lanes", "by panels"])
def test_adamw_takes_a_share_of_each_weight_and_no_bias(sizes: tuple[int, ...]) -> None:
    nets = [fastnn.Network.create(sizes, seed=2, dtype="float64") for _ in range(2)]
    before = nets[0].weights
    y = TARGETS["softmax"]
    trained(nets[0], y, solver="adam", step_size=0.01)
    trained(nets[1], y, solver="adamw", step_size=0.01, weight_decay=0.5)
    for adam, adamw, W in zip(nets[0].weights, nets[1].weights, before, strict=True):
        np.testing.assert_allclose(adamw, adam - 0.01 * 0.5 * W, rtol=1e-12)
    for adam, adamw in zip(nets[0].biases, nets[1].biases, strict=True):
        np.testing.assert_array_equal(adamw, adam)


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    """The loss shows both: it is half the sum of a sample's squared units, each of which is 0 or 1 / (1 - dropout)."""
    n, width, dropout = 500, 400, 0.3
    net = fastnn.Network(
        [np.zeros((1, width)), np.eye(width)], [np.ones(width), np.zeros(width)], "identity", output="identity"
    )
    ones, zeros = np.ones((n, 1)), np.zeros((n, width))
    options = TrainOptions(batch_size=n, shuffle=False, dropout=dropout, step_size=1e-9, seed=5)
    loss = next(iter(Trainer(net, options).epochs(Samples(ones, zeros), 1))).loss
    # Each unit is 1 / (1 - p) or 0: half its square is, in the mean, 1 / (1 - p) / 2.
    expected = width / (1 - dropout) / 2
    assert loss == pytest.approx(expected, rel=5 / np.sqrt(n * width))
    other = TrainOptions(batch_size=n, shuffle=False, dropout=dropout, step_size=1e-9, seed=6)
    assert next(iter(Trainer(net, other).epochs(Samples(ones, zeros), 1))).loss != loss


def test_dropout_is_another_in_each_epoch_and_none_in_scoring() -> None:
    net = network()
    p = net.predict_proba(X)
    losses = trained(net, TARGETS["softmax"], 5, dropout=0.5, step_size=1e-300)
    assert len(set(losses)) == 5
    np.testing.assert_array_equal(net.predict_proba(X), p)


@each_dtype
def test_the_poisson_loss_is_the_equation(dtype: type) -> None:
    """For counts of 0 and large ones, and for means that are far off, or too small for the dtype."""
    most = 80.0 if dtype == np.float32 else 700.0
    z = np.array([[0.0, 1.0], [-3.5, 3.5], [-800.0, 12.0], [7.0, most]], dtype)
    y = np.array([[0.0, 3.0], [1e6, 33.0], [2.0, 160000.0], [0.5, 0.0]], dtype)
    for row, target in zip(z, y, strict=True):
        net = fastnn.Network([np.eye(2, dtype=dtype)], [np.zeros(2, dtype)], output="exp")
        samples = Samples(row[np.newaxis], target[np.newaxis])
        losses = [each.loss for each in Trainer(net, TrainOptions(batch_size=1, step_size=1e-300)).epochs(samples, 1)]
        wide, wide_target = row[np.newaxis].astype(np.longdouble), target.astype(np.longdouble)
        rounding = np.finfo(dtype).eps * (np.exp(wide) + (20 + abs(wide)) * wide_target).sum()
        assert losses == pytest.approx(reference.poisson_losses(wide, wide_target).astype(float), abs=float(rounding))
    net = fastnn.Network([np.eye(2, dtype=dtype)], [np.zeros(2, dtype)], output="exp")
    means = net.predict(z)
    exact = np.exp(z.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(means, exact, rtol=2 * np.finfo(dtype).eps)
    assert means[2, 0] == 0 and np.isfinite(means).all()


@each_dtype
def test_means_that_overflow_are_a_divergence(dtype: type) -> None:
    net = network(output="exp", dtype=np.dtype(dtype).name)
    before = net.params.tobytes()
    with pytest.raises(fastnn.TrainingDivergedError, match="diverged in epoch 1"):
        trained(net, 1e30 * TARGETS["exp"], 3, step_size=1.0, batch_size=10)
    assert net.params.tobytes() == before
    net = fastnn.Network([np.eye(1, dtype=dtype)], [np.zeros(1, dtype)], output="exp")
    with pytest.raises(ValueError, match=f"outputs overflow {net.dtype}"):
        net.predict([[800.0]])


@pytest.mark.parametrize("kind", ["network", "ensemble"])
def test_counts_below_zero_are_refused(kind: str) -> None:
    net = network(output="exp") if kind == "network" else fastnn.Ensemble.create(2, SIZES, output="exp")
    with pytest.raises(ValueError, match=r"at least 0 for the Poisson loss, got -1"):
        fastnn.train(net, X, TARGETS["exp"] - 1)


@each_dtype
@pytest.mark.parametrize("output", TARGETS)
def test_the_same_bits_on_any_threads_and_in_any_slices(output: str, dtype: type, monkeypatch: Any) -> None:
    options = {"dropout": 0.2, "clip_norm": 0.5, "solver": "adamw", "step_size": 0.01, "weight_decay": 0.01}
    options |= {"batch_size": 16, "shuffle": True, "label_smoothing": 0.1 if output == "softmax" else 0.0}
    expected = None
    for n_threads in (1, min(2, MOST_THREADS), MOST_THREADS):
        for seconds in (0.1, 0.0):
            monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_CALL", seconds)
            net = network("gelu", output, np.dtype(dtype).name)
            losses = trained(net, TARGETS[output], 5, WEIGHT, **options, n_threads=n_threads)
            found = losses, net.params.tobytes()
            expected = expected or found
            assert found == expected


@pytest.mark.parametrize("output", ["logistic", "identity", "exp"])
def test_trainings_are_scikit_learns(output: str) -> None:
    """Several labels, and regressions of one output: from the same weights, in the same order."""
    y = TARGETS[output] if output == "logistic" else TARGETS[output][:, 0]
    estimator = SklearnsClassifier if output == "logistic" else SklearnsRegressor
    options = {"learning_rate_init": 0.05, "batch_size": 10, "alpha": 0.01, "momentum": 0.0, "shuffle": False}
    theirs = estimator(
        hidden_layer_sizes=(11, 9),
        activation="tanh",
        solver="sgd",
        max_iter=1,
        warm_start=True,
        random_state=0,
        **options,
        **({"loss": "poisson"} if output == "exp" else {}),
    )
    theirs.set_params(learning_rate_init=1e-300).fit(X, y)
    net = fastnn.Network(theirs.coefs_, theirs.intercepts_, "tanh", output=output)
    theirs.set_params(learning_rate_init=0.05, max_iter=8, tol=0.0).fit(X, y)
    losses = trained(net, y, 8, step_size=0.05, batch_size=10, alpha=0.01)
    np.testing.assert_allclose(losses, theirs.loss_curve_[1:], rtol=1e-9)
    for ours, expected in zip(net.weights, theirs.coefs_, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-10)
    if output == "logistic":
        np.testing.assert_allclose(net.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
        np.testing.assert_array_equal(net.predict(X), theirs.predict(X))
    else:
        np.testing.assert_allclose(net.predict(X)[:, 0], theirs.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout must be a number of at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be"),
        ({"clip_norm": 0.0}, "clip_norm must be a finite number above 0"),
        ({"weight_decay": 0.1}, "weight_decay is adamw's"),
        ({"solver": "adamw", "weight_decay": 10.0, "step_size": 0.1}, "must be below 1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)
