"""The compiled epoch against the article's loop in NumPy; the same bits on any threads; padding; divergence."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import reference
from cases import DISGUISES, DTYPES, MOST_THREADS, each_dtype, needs_threads, same_bytes, threads
from numba import types
from reference import Recipe

import fastnn
from fastnn.kernels.epoch.lanes import LANES
from fastnn.kernels.epoch.panels import PANELS
from fastnn.kernels.equations.shuffle import shuffle
from fastnn.network.samples import Samples
from fastnn.training import calls
from fastnn.training.trainer import Trainer, TrainingDivergedError, TrainOptions

SOLVERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterovs_momentum": True},
    "adam": {"solver": "adam", "step_size": 0.01},
}
each_solver = pytest.mark.parametrize("solver", SOLVERS)
each_activation = pytest.mark.parametrize("activation", reference.ACTIVATIONS)


def samples_for(net: fastnn.Network, n: int, weighted: bool = False) -> Samples:
    rng = np.random.default_rng([n, *net.sizes])
    X = rng.standard_normal((n, net.n_features)).astype(net.dtype)
    # The weights are multiples of 1/8, so that they are the same in both dtypes.
    weight = rng.integers(1, 17, n) / 8 if weighted else None
    return Samples(X, rng.integers(net.n_classes, size=n), weight)


def options_of(recipe: Recipe, **further: Any) -> TrainOptions:
    words = ("solver", "step_size", "batch_size", "momentum", "nesterovs_momentum", "alpha")
    return TrainOptions(**{word: getattr(recipe, word) for word in words}, **further)


def trained(net: fastnn.Network, samples: Samples, options: TrainOptions, epochs: int) -> list[float]:
    """Train in place; returns the loss curve."""
    return [epoch.loss for epoch in Trainer(net, options).epochs(samples, epochs)]


def copy_of(net: fastnn.Network) -> fastnn.Network:
    return fastnn.Network(net.weights, net.biases, net.activation)


def shuffled_orders(n: int, seed: int, epochs: int) -> list[np.ndarray]:
    orders = [np.empty(n, np.int64) for _ in range(epochs)]
    for epoch, order in enumerate(orders):
        shuffle(order, np.uint64(seed), epoch)
    return orders


def expected_of(
    net: fastnn.Network, samples: Samples, orders: list[np.ndarray], recipe: Recipe
) -> tuple[list[np.ndarray], list[float]]:
    """Weights and biases in turn, and the loss curve, as the oracle computes them from the same start."""
    params = [part.astype(np.float64) for pair in zip(net.weights, net.biases, strict=True) for part in pair]
    weight = np.ones(len(samples.y)) if samples.sample_weight is None else samples.sample_weight
    recipe = replace(recipe, activation=net.activation)
    return params, reference.train(params, (samples.X.astype(np.float64), samples.y, weight), orders, recipe)


def assert_near(net: fastnn.Network, params: list[np.ndarray], atol: float) -> None:
    for W, b, expected_W, expected_b in zip(net.weights, net.biases, params[::2], params[1::2], strict=True):
        assert np.allclose(W, expected_W, rtol=0, atol=atol)
        assert np.allclose(b, expected_b, rtol=0, atol=atol)


def padding(net: fastnn.Network) -> np.ndarray:
    """Where the parameter vector holds no weight and no bias."""
    ones = fastnn.Network([np.ones_like(W) for W in net.weights], [np.ones_like(b) for b in net.biases])
    return ones.params == 0


def test_the_article() -> None:
    """One pass of plain gradient descent over 103 rows in batches of 10, the last of 3, through 37-19-7-5."""
    net = fastnn.Network.create([37, 19, 7, 5], seed=1, dtype="float64")
    samples = samples_for(net, 103)
    params, curve = expected_of(net, samples, [np.arange(103)], Recipe(step_size=0.1, batch_size=10))
    history = fastnn.train(net, samples.X, samples.y, epochs=1, batch_size=10, step_size=0.1, shuffle=False)
    assert_near(net, params, 1e-10)
    assert history.loss_curve == pytest.approx(curve, rel=1e-12)


@each_solver
@each_activation
@pytest.mark.parametrize("hidden", [[], [19], [33, 7], [16, 31, 48]], ids=len)
def test_every_solver_and_activation(hidden: list[int], activation: str, solver: str) -> None:
    """Three shuffled epochs with an L2 penalty and weighted samples; the padding stays zero to the bit."""
    net = fastnn.Network.create([37, *hidden, 5], activation, seed=1, dtype="float64")
    samples = samples_for(net, 103, weighted=True)
    recipe = Recipe(**{"step_size": 0.05, "batch_size": 10, "alpha": 0.5} | SOLVERS[solver])
    params, curve = expected_of(net, samples, shuffled_orders(103, 5, 3), recipe)
    losses = trained(net, samples, options_of(recipe, seed=5), 3)
    assert_near(net, params, 1e-10)
    assert losses == pytest.approx(curve, rel=1e-10)
    assert not net.params[padding(net)].tobytes().strip(b"\0")


@dataclass(frozen=True)
class Work:
    """A training of two epochs, drawn by lot: hypothesis repeats values and prefers small ones, which tests less."""

    sizes: list[int]
    activation: str
    n: int
    recipe: Recipe
    shuffled: bool
    weighted: bool

    @classmethod
    def draw(cls, lot: int) -> Work:
        rng = np.random.default_rng(lot)
        # Both sides of one, two and three lines of each dtype.
        widths = [1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49]
        n = int(rng.integers(1, 120))
        solver = list(SOLVERS.values())[lot % len(SOLVERS)]
        return cls(
            sizes=[*rng.choice(widths, rng.integers(1, 5)).tolist(), int(rng.choice([1, 2, 3, 10, 17, 33]))],
            activation=str(rng.choice([*reference.ACTIVATIONS])),
            n=n,
            recipe=Recipe(
                **{"step_size": 0.05} | solver,
                batch_size=int(rng.integers(1, n + 10)),
                alpha=float(rng.choice([0, 1e-3, 1])),
            ),
            shuffled=bool(rng.integers(2)),
            weighted=bool(rng.integers(2)),
        )


def test_against_the_oracle() -> None:
    """Any network, batches and rows, in the rows' order or in the shuffle's; X isn't touched."""
    for work in map(Work.draw, range(200)):
        net = fastnn.Network.create(work.sizes, work.activation, dtype="float64")
        samples = samples_for(net, work.n, work.weighted)
        before = samples.X.copy()
        # One batch that holds all rows is never shuffled.
        several = work.recipe.batch_size < work.n
        orders = shuffled_orders(work.n, 3, 2) if work.shuffled and several else [np.arange(work.n)] * 2
        params, curve = expected_of(net, samples, orders, work.recipe)
        losses = trained(net, samples, options_of(work.recipe, shuffle=work.shuffled, seed=3), 2)
        assert_near(net, params, 1e-10)
        assert losses == pytest.approx(curve, rel=1e-9, abs=1e-14), work
        assert same_bytes(samples.X, before)
        assert not net.params[padding(net)].tobytes().strip(b"\0"), work


@each_solver
@each_dtype
def test_rows_that_are_padded_beyond_a_line(solver: str, dtype: type) -> None:
    """Rows of layers and gathered inputs have a line of padding if they are multiples of 4096 bytes.

    The logistic function turns the zeros of this line into 0.5.
    """
    n = 4096 // np.dtype(dtype).itemsize
    net = fastnn.Network.create([n, n, 3], "logistic", dtype=dtype)
    samples = samples_for(net, 21)
    recipe = Recipe(**{"step_size": 0.01, "batch_size": 8, "alpha": 0.1} | SOLVERS[solver] | {"step_size": 1e-3})
    params, curve = expected_of(net, samples, shuffled_orders(21, 0, 2), recipe)
    losses = trained(net, samples, options_of(recipe), 2)
    assert_near(net, params, 1e-10 if dtype == np.float64 else 1e-4)
    assert losses == pytest.approx(curve, rel=1e-10 if dtype == np.float64 else 1e-4)


@each_solver
@each_activation
def test_float32(activation: str, solver: str) -> None:
    """The same source in float32: near the float64 oracle, and the padding stays zero to the bit."""
    net = fastnn.Network.create([37, 33, 17, 5], activation, seed=1)
    samples = samples_for(net, 103, weighted=True)
    recipe = Recipe(**{"step_size": 0.05, "batch_size": 10, "alpha": 0.5} | SOLVERS[solver])
    params, curve = expected_of(net, samples, shuffled_orders(103, 5, 2), recipe)
    losses = trained(net, samples, options_of(recipe, seed=5), 2)
    assert_near(net, params, 2e-4)
    assert losses == pytest.approx(curve, rel=1e-4)
    assert not net.params[padding(net)].tobytes().strip(b"\0")


@needs_threads
@each_dtype
def test_same_bits(dtype: type) -> None:
    """Weights and losses have the same bits on any threads, with short and long calls, and from any memory form."""
    for lot, disguise in zip(range(40), cycle(DISGUISES.values()), strict=False):
        work = Work.draw(lot)
        net = fastnn.Network.create(work.sizes, work.activation, dtype=dtype)
        samples = samples_for(net, work.n, work.weighted)
        other = copy_of(net)
        with threads(1):
            curve = trained(net, samples, options_of(work.recipe, shuffle=work.shuffled), 2)
        disguised = Samples(disguise(samples.X), disguise(samples.y), samples.sample_weight)
        n_threads = 2 + lot % (MOST_THREADS - 1)
        with threads(n_threads), mock.patch.object(calls, "_SECONDS_PER_CALL", lot % 3 / 2):
            options = options_of(work.recipe, shuffle=work.shuffled, n_threads=n_threads)
            assert trained(other, disguised, options, 2) == curve, work
        assert same_bytes(other.params, net.params), work


@needs_threads
def test_more_threads_than_processors() -> None:
    """The tests of equal bits of all kernels run again with five threads, so that shares are uneven or empty."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "same_bits", Path(__file__).parents[1]],
        env=os.environ | {"NUMBA_NUM_THREADS": "5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout


def test_a_batch_that_weighs_nothing_is_no_step() -> None:
    """All samples in the second of three batches weigh 0. Training gives the bits of the other two batches alone."""
    net = fastnn.Network.create([5, 7, 3], dtype="float64")
    samples = samples_for(net, 30)
    weight = np.ones(30)
    weight[10:20] = 0
    kept = np.r_[:10, 20:30]
    other = copy_of(net)
    options = TrainOptions(batch_size=10, shuffle=False)
    trained(net, Samples(samples.X, samples.y, weight), options, 3)
    trained(other, Samples(samples.X[kept], samples.y[kept]), options, 3)
    assert same_bytes(net.params, other.params)


@each_dtype
def test_epochs_in_two_goes(dtype: type) -> None:
    """Two epochs and three more are five: the trainer keeps the solver's state and the number of the epoch."""
    for solver in SOLVERS.values():
        options = options_of(Recipe(**{"batch_size": 10} | solver), seed=9)
        net = fastnn.Network.create([5, 7, 3], dtype=dtype)
        samples = samples_for(net, 43)
        other = copy_of(net)
        curve = trained(net, samples, options, 5)
        trainer = Trainer(other, options)
        assert [epoch.loss for n_epochs in (2, 3) for epoch in trainer.epochs(samples, n_epochs)] == curve
        assert same_bytes(other.params, net.params)


@each_dtype
@pytest.mark.parametrize("n_threads", sorted({1, min(2, MOST_THREADS)}))
@pytest.mark.parametrize("activation", ["relu", "identity"])
@each_solver
def test_divergence(solver: str, activation: str, n_threads: int, dtype: type) -> None:
    """A huge step overflows: a named error, and the network keeps its last finite weights, on any number of threads."""
    net = fastnn.Network.create([17, 33, 31, 5], activation, dtype=dtype)
    samples = samples_for(net, 200)
    step_size = float(np.finfo(dtype).max) / 16
    options = TrainOptions(**SOLVERS[solver] | {"step_size": step_size}, batch_size=20, n_threads=n_threads)
    with threads(n_threads), pytest.raises(TrainingDivergedError, match="lower the step size"):
        trained(net, samples, options, 5)
    assert np.isfinite(net.params).all()
    assert not net.params[padding(net)].any()
    assert np.isfinite(net.predict_proba(np.zeros((1, 17)))).all()


@each_dtype
def test_divergence_keeps_the_weights_before_it(dtype: type) -> None:
    """With a call for each epoch, the last whole epoch's weights are kept, and the losses up to it are yielded."""
    options = TrainOptions(step_size=10.0, batch_size=50)
    net = fastnn.Network.create([4, 3], "identity", dtype=dtype)
    samples = samples_for(net, 100)
    samples = Samples(samples.X * dtype(1e4), samples.y)
    with mock.patch.object(calls, "_SECONDS_PER_CALL", 0.0):
        trainer = Trainer(net, options)
        done = [before.copy() for _, before in zip(trainer.epochs(samples, 2), [net.params] * 2, strict=False)]
        last = net.params.copy()
        trainer.step_size = float(np.finfo(dtype).max)
        with pytest.raises(TrainingDivergedError):
            list(trainer.epochs(samples, 3))
    assert len(done) == 2
    assert np.isfinite(net.params).all()
    assert same_bytes(net.params, last)


def test_whole_numbers_of_any_type_compile_nothing_anew() -> None:
    """Options may be NumPy's integers and booleans of any width: the compiled epoch has one signature a dtype."""
    for dtype in DTYPES:
        net = fastnn.Network.create([5, 4, 3], dtype=dtype)
        samples = samples_for(net, 20)
        start, results = net.params.copy(), []
        for number in (int, np.int64, np.int32, np.uint8, np.uint64):
            for truth in (bool, np.bool_):
                net.params[:] = start
                fastnn.train(
                    net,
                    samples.X,
                    samples.y,
                    epochs=number(3),
                    batch_size=number(7),
                    seed=number(4),
                    shuffle=truth(1),
                    n_threads=number(1),
                )
                results.append(net.params.tobytes())
        assert len(set(results)) == 1
    for program in (PANELS, LANES):
        signatures = program.kernel.compiled.signatures
        found = [next(t.dtype for t in phases[0].types if isinstance(t, types.Array)) for phases, *_ in signatures]
        assert len(found) == len(set(found)), signatures
