"""The hidden layers' activations (F2 is tanh) and their derivatives, over contiguous stretches, in place.

The loops here and in the neighbouring modules run over slices, from index 0 on. Numba must expect that an index like
``start + i`` is negative, and then LLVM doesn't vectorise the loop.

The derivative of a plain activation is a function of the activation's output, so the backward pass needs no `z`. The
derivatives of the activations in `STORED` are computed and stored in the forward pass.
"""

from __future__ import annotations

import math

from fastnn.kernels.arrays import Array
from fastnn.kernels.equations.elementary import exp_of, tanh_of
from fastnn.kernels.simd.numbers import fma
from fastnn.runtime.compiler import jit

# Kernels get the activation as a number at run time, so that one compiled kernel serves all activations.
CODES = {"identity": 0, "tanh": 1, "relu": 2, "logistic": 3, "leaky_relu": 4, "gelu": 5, "silu": 6}
IDENTITY, _TANH, _RELU, LOGISTIC, _LEAKY_RELU, _GELU, _SILU = CODES.values()
STORED = frozenset({"gelu", "silu"})

# The slope of leaky_relu below zero, as in PyTorch.
LEAK = 0.01
# gelu is computed by its approximation with tanh: z / 2 * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z**3))) (Hendrycks and
# Gimpel, 2016).
GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


@jit
def activate(code: int, a: Array) -> None:
    """``a = activation(z)`` in place (F2 for tanh), for the activations that aren't in `STORED`.

    It works in place because LLVM doesn't vectorise a loop whose input may overlap its output.
    """
    one = a.dtype.type(1)
    zero = a.dtype.type(0)
    if code == _TANH:
        for i in range(a.size):
            a[i] = tanh_of(a[i])
    elif code == _RELU:
        for i in range(a.size):
            a[i] = zero if a[i] < zero else a[i]
    elif code == LOGISTIC:
        for i in range(a.size):
            a[i] = one / (one + exp_of(-a[i]))
    elif code == _LEAKY_RELU:
        leak = a.dtype.type(LEAK)
        for i in range(a.size):
            a[i] = leak * a[i] if a[i] < zero else a[i]


@jit
def activate_any(code: int, a: Array) -> None:
    """`activate` for all activations, those in `STORED` included."""
    one, half = a.dtype.type(1), a.dtype.type(0.5)
    if code == _GELU:
        scale, cube = a.dtype.type(GELU_SCALE), a.dtype.type(GELU_CUBE)
        for i in range(a.size):
            z = a[i]
            a[i] = half * z * (one + tanh_of(scale * fma(cube * z, z * z, z)))
    elif code == _SILU:
        for i in range(a.size):
            a[i] = a[i] / (one + exp_of(-a[i]))
    else:
        activate(code, a)


@jit
def activate_keeping(code: int, a: Array, slope: Array) -> None:
    """`activate_any`, which also writes the activation's derivative into `slope`."""
    one, half = a.dtype.type(1), a.dtype.type(0.5)
    if code == _GELU:
        scale, cube = a.dtype.type(GELU_SCALE), a.dtype.type(GELU_CUBE)
        three = a.dtype.type(3)
        for i in range(a.size):
            z = a[i]
            t = tanh_of(scale * fma(cube * z, z * z, z))
            inner = scale * fma(three * cube * z, z, one)
            slope[i] = half * fma(z * inner, fma(-t, t, one), one + t)
        activate_any(code, a)
    elif code == _SILU:
        for i in range(a.size):
            p = one / (one + exp_of(-a[i]))
            slope[i] = p * fma(a[i], one - p, one)
        activate_any(code, a)
    else:
        activate(code, a)
        for i in range(a.size):
            slope[i] = one
        multiply_by_derivative(code, slope, a)


@jit
def multiply_by_derivative(code: int, delta: Array, a: Array) -> None:
    """``delta *= activation'(z)`` (the second factor of B4), given the output `a` of a plain activation."""
    one = a.dtype.type(1)
    zero = a.dtype.type(0)
    if code == _TANH:
        for i in range(a.size):
            delta[i] *= fma(-a[i], a[i], one)
    elif code == _RELU:
        for i in range(a.size):
            delta[i] = delta[i] if a[i] > zero else zero
    elif code == LOGISTIC:
        for i in range(a.size):
            delta[i] *= a[i] * (one - a[i])
    elif code == _LEAKY_RELU:
        leak = a.dtype.type(LEAK)
        for i in range(a.size):
            delta[i] *= leak if a[i] < zero else one
