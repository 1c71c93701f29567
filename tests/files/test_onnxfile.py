"""ONNX files: ONNX Runtime gives what the network gives."""

import sys

import numpy as np
import onnxruntime
import pytest

from fastnn import Ensemble, Network
from fastnn.kernels.equations.activation import CODES

X = np.random.default_rng(0).normal(size=(50, 7))
LABELS = {
    "indices": None,
    "strings": ["a", "b", "ü"],
    "integers": [-5, 3, 2**40],
    "small integers": np.array([200, 0], np.uint8),
    "beyond int64": [2**63 + 1, 0, 2**64 - 1],
    "floats": [0.5, 1.5, -2.0],
    "booleans": [False, True],
}


def run(path, rows):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [*CODES, ("silu", "relu")], ids=str)
@pytest.mark.parametrize("output", ["softmax", "logistic", "identity", "exp"])
def test_onnx_runtime_gives_the_same(tmp_path, dtype, activation, output):
    net = Network.create([7, 9, 11, 4], activation, seed=1, dtype=dtype, output=output)
    net.to_onnx(tmp_path / "net.onnx")
    rows = X.astype(dtype)
    found = run(tmp_path / "net.onnx", rows)
    if output in ("identity", "exp"):
        np.testing.assert_allclose(found["values"], net.predict(rows), atol=2e-6)
        return
    assert np.abs(found["probabilities"] - net.predict_proba(rows)).max() <= 1e-6
    np.testing.assert_array_equal(found["label"], net.predict(rows))


@pytest.mark.parametrize("kind", ["network", "ensemble"])
@pytest.mark.parametrize("activation", [*CODES, ("silu", "relu")], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalised_layers(tmp_path, dtype, activation, kind):
    """With other gains and biases than the initial ones, and with sums of small variance."""
    options = {"seed": 1, "dtype": dtype, "layer_norm": True}
    sizes, random = [7, 9, 11, 4], np.random.default_rng(1)
    net = (
        Network.create(sizes, activation, **options)
        if kind == "network"
        else Ensemble.create(2, sizes, activation, **options)
    )
    moved = {name: part + 0.3 * random.normal(size=part.shape) for name, part in net.tensors().items()}
    net.fill(net.params, {name: part.astype(dtype) for name, part in moved.items()})
    net.to_onnx(tmp_path / "net.onnx")
    for scale in (1.0, 0.01):
        rows = (scale * X).astype(dtype)
        found = run(tmp_path / "net.onnx", rows)
        assert np.abs(found["probabilities"] - net.predict_proba(rows)).max() <= 1e-6
        np.testing.assert_array_equal(found["label"], net.predict(rows))


@pytest.mark.parametrize("output", ["softmax", "logistic", "identity", "exp"])
def test_an_ensemble_is_one_graph_of_its_members_mean(tmp_path, output):
    net = Ensemble.create(3, [7, 9, 4], "gelu", seed=1, output=output)
    net.to_onnx(tmp_path / "net.onnx")
    found = run(tmp_path / "net.onnx", X.astype(np.float32))
    if output in ("identity", "exp"):
        np.testing.assert_allclose(found["values"], net.predict(X), atol=2e-6)
        return
    assert np.abs(found["probabilities"] - net.predict_proba(X)).max() <= 1e-6
    np.testing.assert_array_equal(found["label"], net.predict(X))


@pytest.mark.parametrize("labels", LABELS)
def test_labels(tmp_path, labels):
    classes = LABELS[labels]
    net = Network.create([7, 5, 3 if classes is None else len(classes)], classes=classes)
    net.to_onnx(tmp_path / "net.onnx")
    found = run(tmp_path / "net.onnx", X.astype(np.float32))["label"]
    np.testing.assert_array_equal(found, net.predict(X))
    expected = {"i": np.int64, "u": np.uint64 if labels == "beyond int64" else np.int64}
    assert net.predict(X).dtype.kind not in expected or found.dtype == expected[net.predict(X).dtype.kind]


def test_without_hidden_layers_and_with_any_number_of_rows(tmp_path):
    net = Network.create([7, 2])
    net.to_onnx(tmp_path / "net.onnx")
    for n in (0, 1, 50):
        assert run(tmp_path / "net.onnx", X[:n].astype(np.float32))["probabilities"].shape == (n, 2)


def test_without_onnx_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastnn-numba\[onnx\]'"):
        Network.create([7, 2]).to_onnx(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
