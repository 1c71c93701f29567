"""The step against the gradient (U1), and the steps of the other solvers: momentum, Nesterov, Adam.

All of them work on stretches of flat vectors. `Rates` holds the numbers that are the same for a whole mini-batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.kernels.arrays import Array
from fastnn.kernels.simd.numbers import fma
from fastnn.runtime.compiler import jit

CODES = {"sgd": 0, "momentum": 1, "nesterov": 2, "adam": 3}
_SGD, _MOMENTUM, _NESTEROV, _ADAM = CODES.values()

# The numbers that a solver keeps for each parameter: none, the velocity, or Adam's two moments.
SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}


class Rates(NamedTuple):
    """The numbers of one step, in the parameters' dtype. For Adam, `step` includes the correction of the bias."""

    step: float
    momentum: float
    beta_1: float
    beta_2: float
    epsilon: float


@jit
def step_down(param: Array, grad: Array, step: float) -> None:
    """U1: ``param -= step * grad``."""
    for i in range(param.size):
        param[i] = fma(-step, grad[i], param[i])


@jit
def add_penalty(grad: Array, param: Array, decay: float) -> None:
    """The L2 penalty's gradient: ``grad += decay * param``."""
    for i in range(param.size):
        grad[i] = fma(decay, param[i], grad[i])


@jit
def shrink(param: Array, part: float) -> None:
    """AdamW's decay of weights: ``param *= part``."""
    for i in range(param.size):
        param[i] *= part


@jit
def solver_step(solver: int, param: Array, grad: Array, slot_1: Array, slot_2: Array, rates: Rates) -> None:
    """One step of any solver over a stretch of parameters, and over the same stretch of each slot that the solver has.

    momentum  v = momentum * v - step * grad;  param += v
    nesterov  v likewise;                      param += momentum * v - step * grad
    adam      m = beta_1 m + (1 - beta_1) grad;  v = beta_2 v + (1 - beta_2) grad**2
              param -= step * m / (sqrt(v) + epsilon)
    """
    if solver == _SGD:
        step_down(param, grad, rates.step)
    elif solver in (_MOMENTUM, _NESTEROV):
        for i in range(param.size):
            down = rates.step * grad[i]
            v = fma(rates.momentum, slot_1[i], -down)
            slot_1[i] = v
            param[i] += fma(rates.momentum, v, -down) if solver == _NESTEROV else v
    else:
        one = param.dtype.type(1)
        for i in range(param.size):
            g = grad[i]
            m = fma(rates.beta_1, slot_1[i], (one - rates.beta_1) * g)
            v = fma(rates.beta_2, slot_2[i], (one - rates.beta_2) * g * g)
            slot_1[i] = m
            slot_2[i] = v
            param[i] -= rates.step * m / (np.sqrt(v) + rates.epsilon)
