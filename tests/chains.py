"""What a product promises: each element is one chain of fused multiply-adds, in the order of the summed index."""

from __future__ import annotations

import numpy as np

from fastnn.kernels.equations import layer
from fastnn.kernels.simd.numbers import fma
from fastnn.runtime.compiler import jit


@jit
def fused(a, b, c, out):
    for i in range(out.size):
        out[i] = fma(a[i], b[i], c[i])


@jit
def product(out, left, right, init, n_sum):
    layer.multiply(out, left, right, init, n_sum)


@jit
def chains(left, right, init, out):
    """The products of all rows and columns, element by element."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = init[j]
            for k in range(left.shape[1]):
                total = fma(left[i, k], right[k, j], total)
            out[i, j] = total


def chained(left: np.ndarray, right: np.ndarray, init: np.ndarray) -> np.ndarray:
    out = np.empty((left.shape[0], right.shape[1]), left.dtype)
    chains(*map(np.ascontiguousarray, (left, right, init)), out)
    return out
