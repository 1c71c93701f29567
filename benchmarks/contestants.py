"""fastnn and its rivals behind one interface: train a task some epochs further, and score rows.

Each contestant is written in the fastest form that the library's users have. Its library is imported when the
contestant is made. If the library isn't installed, that raises ModuleNotFoundError.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import Any, Protocol

import numpy as np

from benchmarks.common import Task


class Contestant(Protocol):
    """Something that does a task."""

    def train(self) -> None:
        """Train ``task.epochs`` epochs further."""

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Class probabilities of `X`, with the weights as they are now."""


def cross_entropy(p: np.ndarray, y: np.ndarray) -> float:
    """The mean loss of probabilities `p`, in float64, by one formula for all contestants."""
    true = np.asarray(p, np.float64)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(true, 1e-300)).mean())


def _limit_blas(threads: int) -> None:
    """Limit the BLAS threads of the whole process from now on. threadpoolctl comes with scikit-learn."""
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if variable in os.environ:  # OpenBLAS would run another processor's kernels, at a fraction of its speed
            raise RuntimeError(f"{variable} is set: a rival would be crippled. Run this with `env -u {variable}`.")
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="blas")


class Fastnn:
    """fastnn.train and Network.predict_proba."""

    def __init__(self, task: Task) -> None:
        import fastnn

        self.task, self._train = task, fastnn.train
        self.network = fastnn.Network(task.weights, task.biases, activation="tanh")

    def train(self) -> None:
        """See `Contestant`."""
        task = self.task
        self._train(
            self.network,
            task.X,
            task.y,
            epochs=task.epochs,
            batch_size=task.batch_size,
            step_size=task.step_size,
            solver=task.solver,
            shuffle=task.shuffle,
            n_threads=task.threads,
        )

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """See `Contestant`."""
        return self.network.predict_proba(X, n_threads=self.task.threads)


class NumPy:
    """The article's loop in NumPy. BLAS computes the products, and arrays of a layer's size are used again in place.

    In float64 it is the reference, against which the errors of the others are measured.
    """

    def __init__(self, task: Task, dtype: Any = np.float32) -> None:
        _limit_blas(task.threads)
        self.task, self.dtype = task, dtype
        self.X, self.n = task.X.astype(dtype, copy=False), len(task.X)
        self.weights = [W.astype(dtype) for W in task.weights]
        self.biases = [b.astype(dtype) for b in task.biases]
        batch = min(task.batch_size, self.n)
        self.batch = np.empty((batch, self.X.shape[1]), dtype)
        self.a = [np.empty((batch, len(b)), dtype) for b in self.biases]
        self.delta = [np.empty_like(a) for a in self.a]
        self.grads = [np.empty_like(param) for param in self.weights + self.biases]
        self.adam = _Adam(self.grads, task.step_size) if task.solver == "adam" else None
        self.rng = np.random.default_rng(0)

    def train(self) -> None:
        """See `Contestant`."""
        X, y, size = self.X, self.task.y, self.task.batch_size
        for _ in range(self.task.epochs):
            shuffle = self.task.shuffle and size < self.n
            order = self.rng.permutation(self.n) if shuffle else None
            for start in range(0, self.n, size):
                stop = min(start + size, self.n)
                if order is None:
                    self._step(X[start:stop], y[start:stop])
                else:
                    rows = order[start:stop]
                    # "clip": the default mode copies through a buffer when it is given an `out`.
                    self._step(np.take(X, rows, 0, self.batch[: len(rows)], "clip"), y[rows])

    def _step(self, X: np.ndarray, y: np.ndarray) -> None:
        n, last = len(X), len(self.weights) - 1
        a = [X, *(each[:n] for each in self.a)]
        delta = [each[:n] for each in self.delta]
        self._forward(a)
        p, index = a[-1], np.arange(n)
        self.loss = -float(np.log(p[index, y]).mean())  # F4: the others compute the loss, too
        np.copyto(delta[last], p)
        delta[last][index, y] -= 1
        delta[last] /= n
        for layer in range(last, -1, -1):
            np.matmul(a[layer].T, delta[layer], out=self.grads[layer])
            np.sum(delta[layer], axis=0, out=self.grads[last + 1 + layer])
            if layer:
                np.matmul(delta[layer], self.weights[layer].T, out=delta[layer - 1])
                slope = a[layer]  # not needed again: overwritten
                np.multiply(slope, slope, out=slope)
                np.subtract(1, slope, out=slope)
                delta[layer - 1] *= slope
        if self.adam:
            self.adam.step()
            step: float = 1.0
        else:
            step = self.task.step_size
        for param, grad in zip(self.weights + self.biases, self.grads, strict=True):
            np.multiply(grad, step, out=grad)
            np.subtract(param, grad, out=param)

    def _forward(self, a: list[np.ndarray]) -> None:
        for layer, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = np.matmul(a[layer], W, out=a[layer + 1])
            z += b
            if layer < len(self.weights) - 1:
                np.tanh(z, out=z)
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """See `Contestant`."""
        a = [X.astype(self.dtype, copy=False), *(np.empty((len(X), len(b)), self.dtype) for b in self.biases)]
        self._forward(a)
        return a[-1]


class _Adam:
    """Adam with scikit-learn's order of operations; turns gradients into steps in place."""

    def __init__(self, grads: list[np.ndarray], step_size: float) -> None:
        self.grads, self.step_size, self.t = grads, step_size, 0
        self.m = [np.zeros_like(grad) for grad in grads]
        self.v = [np.zeros_like(grad) for grad in grads]

    def step(self) -> None:
        self.t += 1
        step = self.step_size * math.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
        for grad, m, v in zip(self.grads, self.m, self.v, strict=True):
            np.multiply(m, 0.9, out=m)
            np.add(m, 0.1 * grad, out=m)
            np.multiply(v, 0.999, out=v)
            np.multiply(grad, grad, out=grad)
            np.add(v, 0.001 * grad, out=v)
            np.sqrt(v, out=grad)
            np.add(grad, 1e-8, out=grad)
            np.divide(m, grad, out=grad)
            np.multiply(grad, step, out=grad)


class ScikitLearn:
    """scikit-learn's MLPClassifier, with its stopping rules switched off.

    For two classes it has one logistic output. So it does less work, and its weights can't be compared.
    """

    def __init__(self, task: Task) -> None:
        from sklearn.neural_network import MLPClassifier

        _limit_blas(task.threads)
        self.task = task
        self.model = MLPClassifier(
            [len(b) for b in task.biases[:-1]],
            activation="tanh",
            solver=task.solver,
            alpha=0.0,
            batch_size=min(task.batch_size, len(task.X)),
            learning_rate_init=task.step_size,
            max_iter=task.epochs,
            shuffle=task.shuffle and task.batch_size < len(task.X),
            momentum=0.0,
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=0,
            warm_start=True,
        )
        # One step makes the arrays; then they get the weights that everybody starts with.
        classes = np.arange(len(task.biases[-1]))
        few = np.array([np.flatnonzero(task.y == label)[0] for label in classes])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.set_params(batch_size=len(few), max_iter=1).fit(task.X[few], task.y[few])
        self.model.set_params(batch_size=min(task.batch_size, len(task.X)), max_iter=task.epochs)
        if len(classes) > 2:
            self.model.coefs_ = [W.copy() for W in task.weights]
            self.model.intercepts_ = [b.copy() for b in task.biases]

    def train(self) -> None:
        """See `Contestant`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns that training hasn't converged, as is meant here
            self.model.fit(self.task.X, self.task.y)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """See `Contestant`."""
        return self.model.predict_proba(X)
