"""Network: what it is made of, what it predicts, what it refuses."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import reference
from numpy.random import PCG64, Generator

import fastnn
from fastnn import Network
from fastnn.kernels.forward.rows import predict
from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.runtime.launch import Kernel

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def probabilities(net: Network, X: np.ndarray) -> np.ndarray:
    """F1 F2 ... F1 F3 in float64."""
    function, _ = reference.ACTIVATIONS[net.activation]
    a = X.astype(np.float64)
    for W, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        a = function(reference.linear(a, W.astype(np.float64), b))
    return reference.softmax(reference.linear(a, net.weights[-1].astype(np.float64), net.biases[-1]))


def rows(n: int, n_features: int, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, n_features)).astype(dtype)


@each_dtype
@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(1, 1), (3, 5, 2), (37, 19, 7, 5), (64, 32, 33, 16, 1, 4), (784, 128, 10)])
def test_predictions_are_the_equations(sizes, activation, dtype):
    net = Network.create(sizes, activation, seed=3, dtype=dtype)
    for n in (1, 7, 101):
        X = rows(n, sizes[0], dtype)
        p = net.predict_proba(X)
        assert p.dtype == dtype and p.shape == (n, sizes[-1])
        np.testing.assert_allclose(p, probabilities(net, X), atol=TOLERANCE[dtype], rtol=0)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(net.predict(X), p.argmax(axis=1))


@each_dtype
def test_what_arrays_it_takes(dtype):
    """Any real numbers of two dimensions: as if they had been converted before; and no row is changed or forgotten."""
    net = Network.create([4, 9, 3], seed=0, dtype=dtype)
    X = np.round(rows(50, 4) * 4)
    expected = net.predict_proba(X.astype(dtype))
    read_only = X.astype(dtype)
    read_only.flags.writeable = False
    forms = [X, X.tolist(), X.astype(int), X.astype(np.float16), X.astype(">f8"), np.asfortranarray(X), read_only]
    forms += [pd.DataFrame(X, columns=list("abcd")), np.repeat(X, 2, axis=0)[::2], X.astype(object)]
    for form in forms:
        before = copy.deepcopy(form)
        assert net.predict_proba(form).tobytes() == expected.tobytes()
        np.testing.assert_array_equal(before, form)
    flags = X > 0
    assert net.predict_proba(flags).tobytes() == net.predict_proba(flags.astype(dtype)).tobytes()
    assert net.predict_proba(X[:0]).shape == (0, 3)
    assert net.predict([[]] * 0 or np.empty((0, 4))).shape == (0,)


def test_one_compile_serves_every_network_and_array(monkeypatch):
    """One signature for each dtype, whatever the sizes, activations and flags: that's what makes compiling bearable."""
    monkeypatch.setattr(Kernel, "entry", lambda kernel, dtype: kernel.compiled)  # look at every argument's type
    for dtype in ("float32", "float64"):
        for sizes in ((3, 2), (5, 40, 2), (9, 8, 7, 6, 5)):
            net = Network.create(sizes, "relu", dtype=dtype)
            X = rows(10, sizes[0], dtype)
            read_only = X.copy()
            read_only.flags.writeable = False
            for form in (X, read_only, X[::2], np.asfortranarray(X), X.astype("f4"), X.astype("f8"), X.astype(">f4")):
                net.predict_proba(form, n_threads=1)
    assert len(predict.compiled.signatures) == 2


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, "X has 3 features, but the network expects 4"),
        (np.zeros(4), ValueError, "two dimensions"),
        (np.full((2, 4), np.nan), ValueError, "NaN or infinity"),
        (np.full((9000, 4), np.inf, np.float32), ValueError, "NaN or infinity"),
        (np.full((2, 4), 1e39), ValueError, "too large for float32"),
        ([["a", "b", "c", "d"]], TypeError, "real numbers"),
        ([[1, 2, 3, "d"]], TypeError, "real numbers"),
        (np.array([[1, 2, 3, "d"]], object), TypeError, "something else than numbers"),
        (None, ValueError, "two dimensions"),
    ],
)
def test_rows_that_do_not_fit_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        Network.create([4, 3, 2]).predict(X)


@each_dtype
@pytest.mark.parametrize(("activation", "factor"), [("tanh", 6.0), ("relu", 6.0), ("identity", 6.0), ("logistic", 2.0)])
def test_initial_weights_are_glorots(activation, factor, dtype):
    net = Network.create([37, 19, 5], activation, seed=12, dtype=dtype)
    random = Generator(PCG64(12))
    for (n_in, n_out), W, b in zip([(37, 19), (19, 5)], net.weights, net.biases, strict=True):
        bound = np.sqrt(factor / (n_in + n_out))
        np.testing.assert_array_equal(W, random.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
        np.testing.assert_array_equal(b, random.uniform(-bound, bound, n_out).astype(dtype))


@each_dtype
def test_weights_and_biases_come_out_as_they_went_in(dtype):
    random = np.random.default_rng(0)
    shapes = [(1, 33), (33, 16), (16, 130)]
    weights = [random.standard_normal(shape).astype(dtype) for shape in shapes]
    biases = [random.standard_normal(n_out).astype(dtype) for _, n_out in shapes]
    net = Network([np.asfortranarray(weights[0]), weights[1].astype(f">f{weights[1].itemsize}"), weights[2]], biases)
    assert net.sizes == (1, 33, 16, 130)
    assert (net.n_features, net.n_classes, net.dtype) == (1, 130, np.dtype(dtype))
    for given, kept in zip(weights + biases, net.weights + net.biases, strict=True):
        assert kept.dtype == dtype
        np.testing.assert_array_equal(kept, given)
    # They are copies: the network changes by its own methods only.
    before = net.params.tobytes()
    net.weights[0][:] = 7
    net.biases[0][:] = 7
    weights[2][:] = 7
    assert net.params.tobytes() == before


@pytest.mark.parametrize("classes", [["no", "yes"], [7, -1], [True, False], [0.5, 1.5], np.array(["é", "x"], object)])
def test_predictions_are_the_labels(classes):
    net = Network([np.array([[-1.0, 1.0]])], [np.zeros(2)], classes=classes)
    found = net.predict([[-3.0], [2.0]])
    assert found.tolist() == list(classes)
    assert found.dtype == np.array(classes).dtype
    with pytest.raises(ValueError, match="read-only"):
        net.classes[0] = net.classes[1]


ONE = (np.ones((2, 2)), np.ones(2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], []), ValueError, "as many weights as biases"),
        (([ONE[0]], []), ValueError, "as many weights as biases, got 1 and 0"),
        (([ONE[0]], [np.ones(3)]), ValueError, r"biases\[0\] must have shape \(2,\), got \(3,\)"),
        (([np.ones(2)], [ONE[1]]), ValueError, r"weights\[0\] must have shape \(n_in, n_out\)"),
        (([np.ones((0, 2))], [ONE[1]]), ValueError, "both at least 1"),
        (([np.ones((2, 3)), np.ones((2, 2))], [np.ones(3), ONE[1]]), ValueError, "has 2 rows, .* has 3 units"),
        (([ONE[0].astype("f4")], [ONE[1]]), TypeError, r"all be float32 or all float64, biases\[0\] is float64"),
        (([ONE[0].astype(int)], [ONE[1]]), TypeError, "is int64"),
        (([ONE[0] * np.nan], [ONE[1]]), ValueError, "NaN or infinity"),
        (([ONE[0]], [ONE[1] * np.inf]), ValueError, "NaN or infinity"),
        (([ONE[0]], [ONE[1]], "softmax"), ValueError, "activation must be one of .*'softmax'"),
        (([ONE[0]], [ONE[1]], "tanh", ["a"]), ValueError, "classes must be 2 labels"),
        (([ONE[0]], [ONE[1]], "tanh", ["a", "a"]), ValueError, "differ"),
        (([ONE[0]], [ONE[1]], "tanh", [b"a", b"b"]), TypeError, "labels must be"),
        (([ONE[0]], [ONE[1]], "tanh", np.array(["a", None])), TypeError, "labels must be"),
        (([ONE[0]], [ONE[1]], "tanh", None, ["a"]), ValueError, "feature_names must be 2 strings"),
        (([ONE[0]], [ONE[1]], "tanh", None, ["a", 1]), ValueError, "feature_names must be 2 strings"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Network(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sizes": [3]}, ValueError, "at least two"),
        ({"sizes": [3, 0, 2]}, ValueError, "1 or more"),
        ({"sizes": [3, 2.0]}, ValueError, "whole numbers"),
        ({"sizes": [True, 2]}, ValueError, "whole numbers"),
        ({"dtype": "float16"}, TypeError, "float32 or float64, got float16"),
        ({"dtype": int}, TypeError, "float32 or float64"),
        ({"activation": "sin"}, ValueError, "activation must be one of"),
        ({"seed": -1}, ValueError, "non-negative"),
    ],
)
def test_create_says_what_it_wants(arguments, error, message):
    with pytest.raises(error, match=message):
        Network.create(**{"sizes": [3, 2], **arguments})


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_copies_are_whole_and_aligned(again):
    for seed in range(8):
        net = again(Network.create([5, 9, 3], seed=seed, classes=["a", "b", "c"], feature_names=list("vwxyz")))
        assert net.params.ctypes.data % LINE_BYTES == 0
        assert (list(net.classes), net.feature_names) == (["a", "b", "c"], list("vwxyz"))
        assert net.params.tobytes() == Network.create([5, 9, 3], seed=seed).params.tobytes()


def test_repr():
    net = Network.create([784, 128, 10], "relu", dtype="float64")
    assert repr(net) == "Network(784-128-10, activation='relu', dtype='float64')"


def test_a_loaded_network_trains_on(tmp_path):
    """Saved between two calls of `train`, or not: the same weights (sgd has no state to lose)."""
    X, y = rows(40, 4), np.arange(40) % 3
    nets = [Network.create([4, 6, 3], seed=1, classes=[0, 1, 2]) for _ in range(2)]
    for net in nets:
        fastnn.train(net, X, y, epochs=1, batch_size=16)
    nets[0].save(tmp_path / "half.safetensors")
    nets[0] = Network.load(tmp_path / "half.safetensors")
    for net in nets:
        fastnn.train(net, X, y, epochs=1, batch_size=16)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()


def test_rows_that_another_launch_turns_serial_are_not_refused(monkeypatch):
    """What a part leaves of strange numbers counts only if the part ran: the memory is that of an earlier call."""
    from fastnn.runtime import launch

    rows = np.zeros((20_000, 100), np.float32)
    net = Network.create([100, 64, 3])
    monkeypatch.setattr("fastnn.network.network.threads_for", lambda operations, n_threads: 2)
    expected = net.predict_proba(rows)
    rows[-1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        net.predict_proba(rows)
    rows[-1] = 0
    monkeypatch.setitem(launch._process.launching, "by", "another thread")
    np.testing.assert_array_equal(net.predict_proba(rows), expected)
