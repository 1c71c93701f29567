"""Scoring: all layers against NumPy, and the same bits however the rows are cut, converted or shared out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle, pairwise, product

import numpy as np
import pytest
import reference
from cases import DISGUISES, DTYPES, MOST_THREADS, each_dtype, needs_threads, same_bytes, threads

import fastnn
from fastnn.kernels.equations.activation import CODES
from fastnn.kernels.layout import ROW_BLOCK


def networks(dtypes: Iterable[type]) -> Iterator[tuple[fastnn.Network, int]]:
    """Networks of any depth, width and activation, each with a number of rows; drawn by lot."""
    rng = np.random.default_rng(0)
    widths = [1, 5, 15, 16, 17, 31, 32, 33, 47, 48, 49]
    for dtype, activation, n_layers in product(dtypes, CODES, (1, 2, 3, 4)):
        for n in (0, 1, ROW_BLOCK - 1, ROW_BLOCK, ROW_BLOCK + 1, int(rng.integers(3 * ROW_BLOCK))):
            sizes = rng.choice(widths, n_layers + 1).tolist()
            yield fastnn.Network.create(sizes, activation, seed=n, dtype=dtype), n


def probabilities(net: fastnn.Network, X: np.ndarray) -> np.ndarray:
    """F1 to F3 in NumPy, in float64."""
    named = {**reference.STORED, **{name: function for name, (function, _) in reference.ACTIVATIONS.items()}}
    function = named[net.activation]
    rows = X.astype(np.float64)
    for W, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        rows = function(reference.linear(rows, W, b))
    return reference.softmax(reference.linear(rows, net.weights[-1], net.biases[-1]))


def rows_for(net: fastnn.Network, n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, net.n_features)).astype(net.dtype)


def test_against_numpy() -> None:
    """Any depth, width, activation and number of rows; and X isn't touched."""
    for net, n in networks(DTYPES):
        X = rows_for(net, n)
        before = X.copy()
        p = net.predict_proba(X)
        assert p.shape == (n, net.n_classes)
        assert p.dtype == net.dtype
        assert same_bytes(X, before)
        # Errors of the logits, a few roundings of each layer, are relative errors of the probabilities.
        exact = probabilities(net, X)
        assert np.allclose(p, exact, rtol=1e-12 if net.dtype == np.float64 else 1e-4, atol=0), (net, n)
        assert (net.predict(X) == p.argmax(axis=1)).all()


@each_dtype
def test_same_bits(dtype: type) -> None:
    """Whatever the number of threads, the rows that are scored together, and the form that X comes in."""
    for (net, n), disguise in zip(networks([dtype]), cycle(DISGUISES.values()), strict=False):
        X = rows_for(net, n)
        with threads(1):
            p = net.predict_proba(X)
            assert same_bytes(net.predict_proba(disguise(X)), p)
            for first, last in ((0, n // 3), (n // 3, n), (n // 2, n // 2 + 1)):
                assert same_bytes(net.predict_proba(X[first:last]), p[first:last])
        for n_threads in range(2, MOST_THREADS + 1):
            with threads(n_threads):
                assert same_bytes(net.predict_proba(X), p)
                assert same_bytes(net.predict_proba(disguise(X), n_threads=n_threads), p)


@needs_threads
@each_dtype
def test_same_bits_of_many_rows(dtype: type) -> None:
    """There are enough rows for a launch to be parallel by itself, and for a conversion in several blocks."""
    net = fastnn.Network.create([64, 33, 10], dtype=dtype)
    X = rows_for(net, 9001)
    other = X.astype(np.float64 if dtype == np.float32 else np.float32)
    with threads(1):
        p, p_other = net.predict_proba(X), net.predict_proba(other)
    assert same_bytes(net.predict_proba(X), p)
    assert same_bytes(net.predict_proba(other), p_other)
    assert same_bytes(net.predict_proba(other.astype(dtype)), p_other)


@pytest.mark.parametrize("activation", CODES)
@each_dtype
def test_large_inputs(activation: str, dtype: type) -> None:
    """Saturated units and logits far apart: finite probabilities that add up to one."""
    net = fastnn.Network.create([7, 33, 5], activation, dtype=dtype)
    p = net.predict_proba(1e6 * rows_for(net, 50))
    assert np.isfinite(p).all()
    assert np.allclose(p.sum(axis=1), 1)


def test_every_layer_is_read_where_it_was_packed() -> None:
    """With weights that pass each input on, a network is the softmax of its input: a misplaced number would show."""
    sizes = [33, 48, 40, 33]
    weights = [np.eye(n_in, n_out) for n_in, n_out in pairwise(sizes)]
    biases = [np.zeros(n_out) for n_out in sizes[1:]]
    net = fastnn.Network(weights, biases, activation="identity")
    X = rows_for(net, 20)
    assert np.allclose(net.predict_proba(X), reference.softmax(X), rtol=1e-14, atol=0)
