"""Narrow networks, whose samples lie in the lanes: the same training as by panels, to the last roundings."""

import numpy as np
import pytest
from cases import DTYPES

import fastnn
from fastnn.kernels.epoch.lanes import GROUP
from fastnn.kernels.programs import Kind, fits_lanes
from fastnn.network.samples import Samples
from fastnn.training.trainer import Trainer, TrainOptions

LANES, PANELS = Kind(lanes=True), Kind()


def trained(kind, sizes, n, dtype, monkeypatch, weights=None, **options):
    """Parameters and losses after three epochs."""
    monkeypatch.setattr("fastnn.training.calls.kind_of", lambda net, options, sparse: kind)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, sizes[0])).astype(dtype)
    net = fastnn.Network.create(sizes, options.pop("activation", "tanh"), seed=1, dtype=dtype)
    trainer = Trainer(net, TrainOptions(**{"step_size": 0.05, "n_threads": 1, **options}))
    losses = [epoch.loss for epoch in trainer.epochs(Samples(X, np.arange(n) % sizes[-1], weights), 3)]
    return np.concatenate([part.ravel() for part in (*net.weights, *net.biases)]), losses, net


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 15, 16, 63, 64, 65, GROUP - 1, GROUP + 1, 3 * GROUP])
def test_batches_of_any_size(batch_size, dtype, monkeypatch):
    for sizes in ((2, 3, 2), (5, 16, 1, 7, 3)):
        n = max(130, batch_size + 3)
        rng = np.random.default_rng(2)
        for options in ({}, {"alpha": 0.01, "solver": "adam", "step_size": 0.001}, {"weights": rng.uniform(0, 2, n)}):
            lanes = trained(LANES, sizes, n, dtype, monkeypatch, batch_size=batch_size, **options)
            panels = trained(PANELS, sizes, n, dtype, monkeypatch, batch_size=batch_size, **options)
            tolerance = 2e-4 if dtype == np.float32 else 1e-11
            np.testing.assert_allclose(lanes[0], panels[0], rtol=0, atol=tolerance)
            np.testing.assert_allclose(lanes[1], panels[1], rtol=tolerance)


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "logistic"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_activation_and_momentum(activation, momentum, monkeypatch):
    options = {"activation": activation, "momentum": momentum, "nesterovs_momentum": momentum > 0, "batch_size": 50}
    lanes, panels = (trained(kind, (7, 9, 4), 203, np.float64, monkeypatch, **options) for kind in (LANES, PANELS))
    np.testing.assert_allclose(lanes[0], panels[0], rtol=0, atol=1e-12)


def test_the_padding_stays_zero(monkeypatch):
    for solver in ("sgd", "adam"):
        flat, _, net = trained(LANES, (3, 5, 2), 100, np.float32, monkeypatch, solver=solver, alpha=0.1, batch_size=9)
        assert np.count_nonzero(net.params) <= flat.size


def test_lanes_or_panels_depends_on_sizes_and_dtype_alone():
    assert fits_lanes((2, 3, 2), np.float32) and fits_lanes((32, 32, 32), np.float32)
    assert not any(fits_lanes(sizes, "f4") for sizes in ((33, 3, 2), (2, 33, 2), (2, 3, 33)))
    # Every layer's weights must lie in one panel.
    assert fits_lanes((16, 16), np.float64) and not fits_lanes((16, 17), np.float64)
