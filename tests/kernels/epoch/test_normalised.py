"""Layer normalisation: forward and backward against NumPy and central differences; all promises hold with it, too."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
from cases import MOST_THREADS, each_dtype, same_bytes

import fastnn
from fastnn import Ensemble, MLPClassifier, MLPRegressor, Network
from fastnn.kernels.epoch.normalised import NORMALISED_SPARSE
from fastnn.kernels.equations.activation import CODES
from fastnn.network.samples import Samples
from fastnn.training.trainer import Trainer, TrainOptions

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

rng = np.random.default_rng(0)
N, SIZES = 37, (5, 11, 40, 3)
X, Y, WEIGHT = rng.normal(size=(N, 5)), np.arange(N) % 3, rng.uniform(0.2, 2, N)
TARGETS = {"softmax": Y, "logistic": rng.integers(0, 2, (N, 3)), "identity": rng.normal(size=(N, 3))}
TARGETS["exp"] = rng.poisson(1.5, (N, 3))
FUNCTIONS = {**reference.STORED, **{name: function for name, (function, _) in reference.ACTIVATIONS.items()}}


def network(
    activation: Any = "tanh", output: str = "softmax", dtype: Any = "float64", sizes: tuple[int, ...] = SIZES
) -> Network:
    """A network whose gains and biases aren't those of a new one."""
    net = Network.create(sizes, activation, seed=2, dtype=dtype, output=output, layer_norm=True)
    chance = np.random.default_rng(3)
    moved = {name: part + 0.3 * chance.normal(size=part.shape) for name, part in net.tensors().items()}
    net.fill(net.params, {name: part.astype(dtype) for name, part in moved.items()})
    return net


def forward(net: Network, rows: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The layers' sums, and their outputs from X to the logits, in float64."""
    sums, outputs = [], [rows.astype(np.float64)]
    function = FUNCTIONS[net.activation]
    for W, b, gain in zip(net.weights, net.biases, [*net.gains, None], strict=True):
        sums.append(outputs[-1] @ W)
        outputs.append(sums[-1] + b if gain is None else function(gain * reference.normalise(sums[-1]) + b))
    return sums, outputs


def trained(net: Network, y: Any = Y, n_epochs: int = 1, weight: Any = None, rows: Any = X, **options: Any) -> Any:
    options = {"solver": "sgd", "batch_size": N, "shuffle": False, "seed": 3, **options}
    return [epoch.loss for epoch in Trainer(net, TrainOptions(**options)).epochs(Samples(rows, y, weight), n_epochs)]


def assert_padding_is_zero(net: Network) -> None:
    again = np.zeros_like(net.params)
    net.fill(again, net.tensors())
    assert same_bytes(again, net.params)


@each_dtype
@pytest.mark.parametrize("activation", CODES)
def test_scoring_is_the_equations(activation: str, dtype: type) -> None:
    for widths in ((1, 1, 2), (5, 2, 1, 4), (7, 17, 33, 64, 3), (9, 1024, 3)):
        net = network(activation, dtype=dtype, sizes=widths)
        for n in (0, 1, 95, 101):
            rows = np.random.default_rng(n).normal(size=(n, widths[0])).astype(dtype)
            p = reference.softmax(forward(net, rows)[1][-1])
            np.testing.assert_allclose(net.predict_proba(rows), p, rtol=1e-11 if dtype == np.float64 else 3e-4)
            sparse = scipy.sparse.csr_array(rows)
            for n_threads in {1, MOST_THREADS}:
                np.testing.assert_array_equal(net.predict_proba(sparse, n_threads=n_threads), net.predict_proba(rows))


@pytest.mark.parametrize("widths", [(11, 40), (1, 512)], ids=str)  # rows of 512 float64 numbers are padded by a line
@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_the_gradient_is_the_equations(activation: str, widths: tuple[int, int]) -> None:
    """A step of size 1 subtracts the gradient from the parameters."""
    net = network(activation, sizes=(5, *widths, 3))
    before = net.tensors()
    sums, outputs = forward(net, X)
    delta = reference.output_delta(reference.softmax(outputs[-1]), Y)
    expected = {}
    for layer in reversed(range(3)):
        if layer < 2:
            d = delta * reference.ACTIVATIONS[activation][1](outputs[layer + 1])
            gain, z = before[f"gains.{layer}"], sums[layer]
            expected[f"gains.{layer}"] = (d * reference.normalise(z)).sum(axis=0)
            expected[f"biases.{layer}"] = reference.bias_gradient(d)
            delta = reference.normalised_delta(d, z, gain)
        else:
            expected[f"biases.{layer}"] = reference.bias_gradient(delta)
        expected[f"weights.{layer}"] = reference.weight_gradient(outputs[layer], delta)
        delta = delta @ before[f"weights.{layer}"].T
    trained(net, step_size=1.0)
    for name, part in net.tensors().items():
        np.testing.assert_allclose(before[name] - part, expected[name], rtol=1e-9, atol=1e-13, err_msg=name)
    assert_padding_is_zero(net)


@pytest.mark.parametrize("activation", [*CODES, ("gelu", "relu")], ids=str)
@pytest.mark.parametrize("output", TARGETS)
def test_gradients_are_those_of_the_loss(activation: Any, output: str) -> None:
    """The derivatives agree in some random directions, for every mixture of dropout, smoothing, weights and penalty.

    The differences are of the fourth order, since the loss bends sharply where dropout has left little variance.
    """
    y, chance = TARGETS[output], np.random.default_rng(1)
    for dropout, smoothing, weight, alpha in product((0.0, 0.4), (0.0, 0.2), (None, WEIGHT), (0.0, 0.3)):
        if smoothing and output in ("identity", "exp"):
            continue
        options = {"dropout": dropout, "label_smoothing": smoothing, "alpha": alpha, "weight": weight}
        net = network(activation, output)
        before = net.params.copy()
        trained(net, y, step_size=1.0, **options)
        gradient, step = before - net.params, 1e-6
        for _ in range(3):
            direction, losses = np.zeros_like(before), []
            net.fill(direction, {name: chance.normal(size=part.shape) for name, part in net.tensors().items()})
            for steps in (1, -1, 2, -2):
                net.params[:] = before + steps * step * direction
                losses += trained(net, y, step_size=1e-300, **options)
            found = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / (12 * step)
            assert found == pytest.approx(gradient @ direction, rel=1e-6, abs=1e-8), options


def test_clipping_sees_the_gains_and_decay_does_not() -> None:
    free, clipped = network(), network()
    before = free.params.copy()
    trained(free, step_size=1.0)
    trained(clipped, step_size=1.0, clip_norm=0.01)
    gradient = before - free.params
    expected = 0.01 * gradient / np.linalg.norm(gradient)
    np.testing.assert_allclose(before - clipped.params, expected, rtol=1e-9, atol=1e-12)
    assert_padding_is_zero(clipped)
    nets = [network() for _ in range(3)]
    gains = nets[0].gains
    trained(nets[0], solver="adam", step_size=0.01)
    trained(nets[1], solver="adamw", step_size=0.01, weight_decay=0.5)
    trained(nets[2], solver="adamw", step_size=0.01, weight_decay=0.5, clip_norm=1e30)
    assert same_bytes(nets[1].params, nets[2].params)
    for adam, adamw, start in zip(nets[0].gains, nets[1].gains, gains, strict=True):
        assert same_bytes(adam, adamw) and (adam != start).all()


@each_dtype
@pytest.mark.parametrize("solver", ["sgd", "adamw"])
def test_the_same_bits_on_any_threads_in_any_slices_and_from_sparse_rows(
    solver: str, dtype: type, monkeypatch: Any
) -> None:
    options: dict[str, Any] = {"dropout": 0.2, "solver": solver, "step_size": 0.01, "batch_size": 16, "shuffle": True}
    options |= {"weight_decay": 0.01, "clip_norm": 0.5} if solver == "adamw" else {"momentum": 0.9, "alpha": 0.1}
    rows = (X * (X > 0)).astype(dtype)
    # Sparse rows are tested in float32 only: each dtype has to be compiled, and both have the same source.
    forms: list[Any] = [rows] if dtype == np.float64 else [rows, scipy.sparse.csr_array(rows)]
    expected = None
    for n_threads, seconds, form in product((1, min(2, MOST_THREADS), MOST_THREADS), (0.1, 0.0), forms):
        monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_CALL", seconds)
        net = network("gelu", dtype=dtype)
        losses = trained(net, Y, 5, WEIGHT, form, **options, n_threads=n_threads)
        assert_padding_is_zero(net)
        found = losses, (net.params + 0).tobytes()  # a sparse sum's zero may have another sign
        expected = expected or found
        assert found == expected


def test_one_signature_from_sparse_rows() -> None:
    for output, target in TARGETS.items():
        trained(network("silu", output, np.float32), target, rows=scipy.sparse.csr_array(X), weight=WEIGHT)
    assert len(NORMALISED_SPARSE.kernel.compiled.signatures) == 1


def test_members_of_an_ensemble_have_the_bits_of_their_seeds() -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 10, "solver": "adam", "step_size": 0.01, "clip_norm": 0.5}
    alone = [Network.create(SIZES, seed=seed, layer_norm=True) for seed in (7, 8, 9)]
    for seed, net in enumerate(alone, 7):
        fastnn.train(net, X, Y, seed=seed, **options)
    for n_threads in {1, MOST_THREADS}:
        together = Ensemble.create(3, SIZES, seed=7, layer_norm=True)
        fastnn.train(together, X, Y, seed=7, n_threads=n_threads, **options)
        for member, net in zip(together.members, alone, strict=True):
            assert same_bytes(member.params, net.params)
    np.testing.assert_allclose(
        together.predict_proba(X), np.mean([net.predict_proba(X) for net in alone], axis=0), rtol=1e-6
    )


@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_files_copies_and_forgeries(kind: Any, tmp_path: Any) -> None:
    members = [network(dtype=np.float32), Network.create(SIZES, dtype="float32", layer_norm=True)]
    net = members[0] if kind is Network else Ensemble(members)
    net.save(tmp_path / "net")
    for other in (kind.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert same_bytes(other.params, net.params)
        assert same_bytes(other.predict_proba(X), net.predict_proba(X))
        assert repr(other) == repr(net) and "layer_norm=True" in repr(net)
    prefix = "" if kind is Network else "members.0."
    tensors, description = net.tensors(), net.description()
    gain = tensors[f"{prefix}gains.0"]
    forged = [({name: array}, {}) for name in [f"{prefix}gains.0"] for array in (gain[1:], gain * np.nan, gain > 0)]
    forged += [({f"{prefix}gains.2": gain}, {}), ({}, {"layer_norm": False}), ({}, {"layer_norm": "yes"})]
    forged += [({}, {"sizes": [5, 3]}), ({}, {"layer_norm": None})]
    for arrays, words in forged:
        with pytest.raises(fastnn.ModelFileError):
            kind.from_parts({**tensors, **arrays}, {**description, **words})
    del tensors[f"{prefix}gains.1"]
    with pytest.raises(fastnn.ModelFileError):
        kind.from_parts(tensors, description)


@pytest.mark.parametrize("layer_norm", [None, 0, 1, "yes", "", [True]])
@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_layer_norm_is_true_or_false_in_a_file(kind: Any, layer_norm: Any) -> None:
    """The networks have no gains, so that a file can't be refused because its gains don't fit `layer_norm`."""
    net = Network.create(SIZES) if kind is Network else Ensemble.create(2, SIZES)
    kind.from_parts(net.tensors(), {**net.description(), "layer_norm": False})
    with pytest.raises(fastnn.ModelFileError, match="layer_norm must be true or false"):
        kind.from_parts(net.tensors(), {**net.description(), "layer_norm": layer_norm})


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_checkpoints_go_on_to_the_same_bytes(solver: str, tmp_path: Any) -> None:
    options: dict[str, Any] = {"solver": solver, "epochs": 5, "batch_size": 16, "step_size": 0.01, "dropout": 0.1}
    options |= {"momentum": 0.9} if solver == "sgd" else {}
    whole, stopped, resumed = (Network.create(SIZES, seed=7, layer_norm=True) for _ in range(3))
    fastnn.train(whole, X, Y, **options)
    fastnn.train(stopped, X, Y, **options, checkpoint=tmp_path / "c", callbacks=[lambda epoch: epoch.number == 2])
    with pytest.raises(fastnn.ModelFileError, match="another network"):
        fastnn.train(Network.create(SIZES, seed=7), X, Y, **options, checkpoint=tmp_path / "c")
    fastnn.train(resumed, X, Y, **options, checkpoint=tmp_path / "c")
    assert resumed.params.tobytes() == whole.params.tobytes() != stopped.params.tobytes()


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_estimators(estimator: Any) -> None:
    """Calls of one epoch are one fit. Early stopping keeps the best weights, gains included."""
    options: dict[str, Any] = {"hidden_layer_sizes": (16, 16), "layer_norm": True, "random_state": 0, "max_iter": 6}
    options |= {"early_stopping": True, "n_iter_no_change": np.inf, "learning_rate_init": 0.05}
    rows = np.random.default_rng(0).normal(size=(400, 4))
    y = rows[:, 0] * rows[:, 1] > 0
    first = {"classes": [0, 1]} if estimator is MLPClassifier else {}
    whole, parts = estimator(**options).fit(rows, y), estimator(**options)
    for _ in range(6):
        parts.partial_fit(rows, y, **first)
    assert same_bytes(parts.network_.params, whole.network_.params)
    assert len(whole.network_.gains) == 2 and not all((gain == 1).all() for gain in whole.network_.gains)
    assert whole.set_params(max_iter=60).fit(rows, y).score(rows, y) > (0.9 if first else 0.6)
    assert not estimator(**{**options, "layer_norm": False, "max_iter": 1}).fit(rows, y).network_.gains
    with pytest.raises(ValueError, match="layer_norm"):
        estimator(layer_norm="yes").fit(rows, y)
    if estimator is MLPClassifier:
        with pytest.raises(ValueError, match="no layer normalisation"):
            whole.to_sklearn()


def test_the_size_of_the_inputs_does_not_count() -> None:
    """Large inputs have the outputs of small ones. Where a variance overflows, that is an error, and no output of 0."""
    net = network(dtype=np.float32, sizes=(5, 40, 3))
    np.testing.assert_allclose(net.predict_proba(1e15 * X), net.predict_proba(1e3 * X), atol=1e-4)
    with pytest.raises(ValueError, match="overflow float32: standardise X"):
        net.predict_proba(1e25 * X)
    before = net.params.copy()
    with pytest.raises(fastnn.TrainingDivergedError):
        fastnn.train(net, 1e25 * X, Y)
    assert same_bytes(net.params, before)


def test_without_hidden_layers_there_is_nothing_to_normalise() -> None:
    nets = [Network.create([5, 3], layer_norm=layer_norm) for layer_norm in (False, True)]
    for net in nets:
        fastnn.train(net, X, Y, epochs=2)
    assert same_bytes(nets[0].params, nets[1].params) and nets[1].gains == []


@pytest.mark.parametrize(
    ("gains", "error", "message"),
    [
        ([], ValueError, "2 hidden layers needs as many gains, got 0"),
        ([np.ones(11)] * 2, ValueError, r"gains\[1\] must have shape \(40,\), got \(11,\)"),
        ([np.ones(11), np.ones(40, np.float32)], TypeError, r"gains must be float64 .* gains\[1\] is float32"),
        ([np.ones(11) * np.nan, np.ones(40)], ValueError, r"gains\[0\] holds NaN"),
    ],
)
def test_gains_that_do_not_fit(gains: Any, error: type[Exception], message: str) -> None:
    net = network()
    with pytest.raises(error, match=message):
        Network(net.weights, net.biases, gains=gains)
    with pytest.raises(TypeError, match="layer_norm must be True or False"):
        Network.create(SIZES, layer_norm=1)


def test_parts_come_out_as_they_went_in() -> None:
    net = network(sizes=(1, 33, 16, 130))
    again = Network(net.weights, net.biases, gains=[gain.astype(">f8") for gain in net.gains])
    assert same_bytes(again.params, net.params)
    assert [gain.size for gain in again.gains] == [n for n, _ in pairwise(net.sizes[1:])]
