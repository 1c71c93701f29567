"""Held-out samples: the loss and the score that a network has on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.network import Network
from fastnn.samples import Samples, as_class_indices

Array = NDArray[Any]


class Validation:
    """Samples that a network isn't trained on, to be measured by.

    Parameters
    ----------
    net : Network
        Whose labels, or class indices, the samples have.
    samples : Samples
    n_threads : int, optional
        The most threads to score with.
    score : callable, optional
        A score, more is better; by default the accuracy.
    """

    def __init__(
        self,
        net: Network,
        samples: Samples,
        n_threads: int | None = None,
        score: Callable[[], float] | None = None,
    ) -> None:
        self.X, self.weight = samples.X, samples.sample_weight
        self.indices = as_class_indices(samples.y, len(samples.y), net.n_classes, net.classes)
        self.n_threads = n_threads
        self.score = score

    def measure(self, net: Network) -> tuple[float, float]:
        """The mean loss and the score."""
        p = net.predict_proba(self.X, n_threads=self.n_threads)
        loss = mean_log_loss(p, self.indices, self.weight)
        if self.score is not None:
            return loss, float(self.score())
        return loss, float(np.average(p.argmax(axis=1) == self.indices, weights=self.weight))


def mean_log_loss(p: Array, indices: Array, weight: Array | None = None) -> float:
    """The mean of ``-log p`` of the right class (F4, from probabilities).

    Parameters
    ----------
    p : ndarray of float, shape (n, n_classes)
        Probabilities; none counts as less than the dtype's epsilon.
    indices : ndarray of int, shape (n,)
        The right classes' indices.
    weight : ndarray of shape (n,), optional
        Each sample's weight in the mean.
    """
    right = np.maximum(p[np.arange(len(indices)), indices], np.finfo(p.dtype).eps)
    return float(-np.average(np.log(right.astype(np.float64)), weights=weight))
