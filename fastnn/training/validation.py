"""Held-out samples: the loss and the score that a network has on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.network.conversion import as_class_indices, as_rows, as_targets, check_names, finite_rows, is_sparse
from fastnn.network.samples import Checked, Samples
from fastnn.network.trainable import Trainable

Array = NDArray[Any]


class Validation:
    """Held-out samples, by which a network is measured after each epoch.

    Parameters
    ----------
    net : Network or Ensemble
        The network that will be measured.
    samples : Samples or Checked
        The held-out samples, with the network's labels or with class indices. `Checked` samples need rows that aren't
        sparse, and a network with softmax outputs.
    n_threads : int, optional
        The most threads to score with.
    score : callable, optional
        A function that returns the score; more is better. By default the score is the accuracy, or R² of a regression.

    Attributes
    ----------
    X : array_like or sparse matrix
        The rows as they were given.
    targets : ndarray
        The class indices, or the numbers that the outputs should have.
    weight : ndarray or None
        The weights of the samples.

    Raises
    ------
    TypeError, ValueError
        If the samples don't fit the network; the message says what to do.
    """

    def __init__(
        self,
        net: Trainable,
        samples: Samples | Checked,
        n_threads: int | None = None,
        score: Callable[[], float] | None = None,
    ) -> None:
        self.X, self.weight = samples.X, samples.sample_weight
        n_rows = len(samples.y)
        check_names(self.X, net.feature_names)
        if isinstance(samples, Checked):
            self.targets, self.weight = samples.y, self.weight if self.weight.size else None
        elif net.output == "softmax":
            self.targets = as_class_indices(samples.y, n_rows, net.n_classes, net.classes)
        else:
            self.targets = as_targets(samples.y, (n_rows, net.n_classes), np.dtype(np.float64), net.output)
        # Converted once: `outputs` would convert rows of another dtype again after each epoch.
        converted = isinstance(samples, Checked) or is_sparse(self.X)
        self._rows = self.X if converted else finite_rows(as_rows(self.X, net.n_features), net.dtype)
        self.n_threads = n_threads
        self.score = score

    def measure(self, net: Trainable) -> tuple[float, float]:
        """The mean loss and the score of the network on the samples.

        Without `score`, it is the accuracy (a sample with several labels is right if all of them are) or R².
        """
        out = net.outputs(self._rows, n_threads=self.n_threads)
        loss, score = _MEASURES[net.output](out, self.targets, self.weight)
        return loss, score if self.score is None else float(self.score())


def _of_classes(p: Array, indices: Array, weight: Array | None) -> tuple[float, float]:
    return mean_log_loss(p, indices, weight), _average(p.argmax(axis=1) == indices, weight)


def _of_labels(p: Array, targets: Array, weight: Array | None) -> tuple[float, float]:
    right = np.clip(np.where(targets > 0.5, p, 1 - p).astype(np.float64), np.finfo(p.dtype).eps, None)
    return -_average(np.log(right).sum(axis=1), weight), _average(((p > 0.5) == targets).all(axis=1), weight)


def _of_values(values: Array, targets: Array, weight: Array | None) -> tuple[float, float]:
    squares = (values - targets) ** 2
    return _average(squares.sum(axis=1) / 2, weight), _r2(squares, targets, weight)


def _of_counts(means: Array, targets: Array, weight: Array | None) -> tuple[float, float]:
    # A mean that is 0, since exp can underflow, counts as the least normal number: otherwise one sample whose count
    # isn't 0 would make the loss infinite.
    mu = np.maximum(means, np.finfo(means.dtype).tiny).astype(np.float64)
    losses = mu - targets + targets * np.log(np.where(targets > 0, targets, mu) / mu)
    return _average(losses.sum(axis=1), weight), _r2((means - targets) ** 2, targets, weight)


def _r2(squares: Array, targets: Array, weight: Array | None) -> float:
    spread = (targets - np.average(targets, axis=0, weights=weight)) ** 2
    left, whole = np.average(squares, axis=0, weights=weight), np.average(spread, axis=0, weights=weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where all targets are equal, R² is 1 if the outputs equal them and 0 otherwise, as scikit-learn's r2_score.
        r2 = np.where(whole > 0, 1 - left / whole, np.where(left > 0, 0.0, 1.0))
    return float(r2.mean())


_MEASURES = {"softmax": _of_classes, "logistic": _of_labels, "identity": _of_values, "exp": _of_counts}


def _average(values: Array, weight: Array | None) -> float:
    return float(np.average(values, weights=weight))


def mean_log_loss(p: Array, indices: Array, weight: Array | None = None) -> float:
    """The mean of ``-log p`` of the right class (F4, from probabilities).

    Parameters
    ----------
    p : ndarray of float, shape (n, n_classes)
        Probabilities. Those below the dtype's epsilon count as the epsilon.
    indices : ndarray of int, shape (n,)
        The right classes' indices.
    weight : ndarray of shape (n,), optional
        Each sample's weight in the mean.
    """
    right = np.maximum(p[np.arange(len(indices)), indices], np.finfo(p.dtype).eps)
    return float(-np.average(np.log(right.astype(np.float64)), weights=weight))
