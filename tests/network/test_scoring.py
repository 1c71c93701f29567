"""Scoring: the outputs are those of the equations, for every form of rows that a network takes."""

import copy

import numpy as np
import pandas as pd
import pytest
import reference

from fastnn import Network
from fastnn.kernels.forward.scoring import predict
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
    """Real numbers in any form score as if the caller had converted them; no row is left out, and none is changed."""
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
    """Each dtype has one signature, whatever the sizes, activations and flags: otherwise compiling would never end."""
    monkeypatch.setattr(
        Kernel, "entry", lambda kernel, dtype: kernel.compiled
    )  # Numba's dispatcher, which compares the types of all arguments
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


def test_rows_that_another_launch_turns_serial_are_not_refused(monkeypatch):
    """A part's count of non-finite numbers is read only if the part ran: otherwise it is left from an earlier call."""
    from fastnn.runtime.process import process

    rows = np.zeros((20_000, 100), np.float32)
    net = Network.create([100, 64, 3])
    monkeypatch.setattr("fastnn.network.scoring.threads_for", lambda operations, n_threads: 2)
    expected = net.predict_proba(rows)
    rows[-1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        net.predict_proba(rows)
    rows[-1] = 0
    monkeypatch.setitem(process.launching, "by", "another thread")
    np.testing.assert_array_equal(net.predict_proba(rows), expected)
