"""The oracle: one NumPy line for each equation, and the article's loop put together from them.

Every function works in the dtype of its arguments. Tests pass float64, or a wider dtype where NumPy has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def linear(X: Array, W: Array, b: Array) -> Array:
    """F1."""
    return X @ W + b


def tanh(z: Array) -> Array:
    """F2."""
    return np.tanh(z)


def linear_tanh(X: Array, W: Array, b: Array) -> Array:
    """F1 and F2."""
    return np.tanh(X @ W + b)


def softmax(z: Array) -> Array:
    """F3."""
    return (e := np.exp(z - z.max(axis=1, keepdims=True, initial=-np.inf))) / e.sum(axis=1, keepdims=True)


def losses(z: Array, y: Array) -> Array:
    """F4 of each sample."""
    return np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)) - (z[np.arange(len(y)), y] - z.max(axis=1))


def cross_entropy(z: Array, y: Array) -> Any:
    """F4."""
    return losses(z, y).mean()


def poisson_losses(z: Array, y: Array) -> Array:
    """Half of the Poisson distribution's deviance of each sample, where the outputs are ``exp(z)``."""
    return (np.exp(z) - y + y * (np.log(np.where(y > 0, y, 1)) - z)).sum(axis=1)


def output_delta(p: Array, y: Array) -> Array:
    """B1."""
    return (p - (np.arange(p.shape[1]) == y[:, np.newaxis])) / len(p)


def weight_gradient(a_prev: Array, delta: Array) -> Array:
    """B2."""
    return a_prev.T @ delta


def bias_gradient(delta: Array) -> Array:
    """B3."""
    return delta.sum(axis=0)


def hidden_delta(delta: Array, W: Array, a_prev: Array) -> Array:
    """B4."""
    return (delta @ W.T) * (1 - a_prev**2)


def sgd_step(param: Array, grad: Array, step_size: float) -> Array:
    """U1."""
    return param - step_size * grad


def normalise(z: Array) -> Array:
    """What layer normalisation makes of a layer's sums, before gains and biases."""
    return (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)


def normalised_delta(d: Array, z: Array, gain: Array) -> Array:
    """The derivatives of the loss by z, from its derivatives d by ``gain * normalise(z) + b``."""
    z_hat, g, mean = normalise(z), gain * d, lambda x: x.mean(axis=1, keepdims=True)
    return (g - mean(g) - z_hat * mean(g * z_hat)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)


# Activations in place of tanh in F2 and B4: the function, and its derivative as a function of its output.
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(a.dtype)),
    "logistic": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "leaky_relu": (lambda z: np.where(z < 0, 0.01 * z, z), lambda a: np.where(a < 0, 0.01, 1.0)),
}
# Activations whose derivative isn't a function of their output.
STORED = {
    "gelu": lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + np.exp(-z)),
}


@dataclass(frozen=True)
class Recipe:
    """How to train, in the words of scikit-learn."""

    activation: str = "tanh"
    solver: str = "sgd"
    step_size: float = 0.1
    batch_size: int = 10
    momentum: float = 0.0
    nesterovs_momentum: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    alpha: float = 0.0


class Solver:
    """U1 and what may stand for it, as in scikit-learn's ``_stochastic_optimizers``."""

    def __init__(self, params: list[Array], recipe: Recipe) -> None:
        self.params = params
        self.recipe = recipe
        self.t = 0
        self.first = [np.zeros_like(param) for param in params]
        self.second = [np.zeros_like(param) for param in params]

    def step(self, grads: list[Array]) -> None:
        self.t += 1
        r = self.recipe
        for param, grad, m, v in zip(self.params, grads, self.first, self.second, strict=True):
            if r.solver == "adam":
                m[...] = r.beta_1 * m + (1 - r.beta_1) * grad
                v[...] = r.beta_2 * v + (1 - r.beta_2) * grad**2
                step_size = r.step_size * np.sqrt(1 - r.beta_2**self.t) / (1 - r.beta_1**self.t)
                param[...] -= step_size * m / (np.sqrt(v) + r.epsilon)
            else:
                m[...] = r.momentum * m - r.step_size * grad
                param[...] += r.momentum * m - r.step_size * grad if r.nesterovs_momentum else m


def gradients(params: list[Array], samples: tuple[Array, Array, Array], recipe: Recipe) -> tuple[float, list[Array]]:
    """The loss of a mini-batch with its L2 penalty, and its gradients, in the order of `params`: F1 to F4, B1 to B4."""
    X, y, weight = samples
    function, derivative = ACTIVATIONS[recipe.activation]
    weights, biases = params[::2], params[1::2]
    rows = [X]
    for W, b in zip(weights, biases, strict=True):
        rows.append(linear(rows[-1], W, b))
        if W is not weights[-1]:
            rows[-1] = function(rows[-1])
    penalty = recipe.alpha / 2 * sum((W**2).sum() for W in weights)
    loss = ((weight * losses(rows[-1], y)).sum() + penalty) / weight.sum()
    # B1's mean is over the weights of the samples: n, if each weighs 1.
    delta = output_delta(softmax(rows[-1]), y) * len(y) * weight[:, np.newaxis] / weight.sum()
    grads: list[Array] = []
    for W, a_prev in zip(reversed(weights), reversed(rows[:-1]), strict=True):
        grads[:0] = [weight_gradient(a_prev, delta) + recipe.alpha * W / weight.sum(), bias_gradient(delta)]
        delta = (delta @ W.T) * derivative(a_prev)
    return float(loss), grads


def train(
    params: list[Array],
    samples: tuple[Array, Array, Array],
    orders: Sequence[Array],
    recipe: Recipe,
) -> list[float]:
    """The article's loop: `params` (W, b, W, b, ...) are changed in place; returns each epoch's mean loss.

    `samples` are X, y and their weights; `orders` has for each epoch the order of the samples.
    """
    n = len(samples[1])
    solver = Solver(params, recipe)
    curve = []
    for order in orders:
        total = 0.0
        for start, stop in pairwise([*range(0, n, recipe.batch_size), n]):
            batch = order[start:stop]
            X, y, weight = (part[batch] for part in samples)
            loss, grads = gradients(params, (X, y, weight), recipe)
            solver.step(grads)
            total += loss * len(batch)
        curve.append(total / n)
    return curve
