"""F1, F2, B2, B3, B4: errors against NumPy, the order of every sum, gradients against differences."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import reference
from cases import (
    DTYPES,
    SIZES,
    Sizes,
    assert_same_bits,
    each_dtype,
    needs_threads,
    operands,
    run,
    same_bytes,
    tolerance,
)

from fastnn import kernels
from fastnn.kernels.equations.layer import reads_plain
from fastnn.kernels.simd.numbers import fma
from fastnn.runtime.compiler import jit

NAMES = ["linear", "linear_tanh", "weight_gradient", "bias_gradient", "hidden_delta"]
each_kernel = pytest.mark.parametrize("name", NAMES)

# What the rounding of a sum is measured by: the same sum over absolute values.
MAGNITUDES = {
    "linear": lambda X, W, b: X @ W + b,
    "linear_tanh": lambda X, W, b: X @ W + b,  # tanh never enlarges an error
    "weight_gradient": lambda a_prev, delta: a_prev.T @ delta,
    "bias_gradient": lambda delta: delta.sum(axis=0),
    "hidden_delta": lambda delta, W, a_prev: (delta @ W.T) * (1 + a_prev**2),
}
TERMS = {
    "linear": lambda sizes: sizes.n_in,
    "linear_tanh": lambda sizes: sizes.n_in,
    "weight_gradient": lambda sizes: sizes.n,
    "bias_gradient": lambda sizes: sizes.n,
    "hidden_delta": lambda sizes: sizes.n_out,
}


@each_dtype
@each_kernel
def test_error(name: str, dtype: type) -> None:
    """Every size in every position with every other."""
    for numbers in product(SIZES, repeat=3):
        sizes = Sizes(*numbers)
        if name == "bias_gradient" and sizes.n_in:
            continue  # which it doesn't have
        arrays = operands(name, sizes, dtype)
        exact = [array.astype(np.float64) for array in arrays.values()]
        result, truth = run(name, arrays), getattr(reference, name)(*exact)
        bound = tolerance(dtype, TERMS[name](sizes)) * MAGNITUDES[name](*map(np.abs, exact))
        if name == "linear_tanh":
            bound += 4 * np.spacing(np.abs(truth).astype(dtype))
        assert result.shape == truth.shape, sizes
        assert result.dtype == dtype, sizes
        assert (np.abs(result - truth) <= bound).all(), sizes


@jit
def chain(left, right, start, out):
    """``out = start + left @ right``, an element at a time: the order that the sums promise."""
    for i in range(left.shape[0]):
        for j in range(right.shape[1]):
            total = start[j]
            for k in range(left.shape[1]):
                total = fma(left[i, k], right[k, j], total)
            out[i, j] = total


def chained(left: np.ndarray, right: np.ndarray, start: np.ndarray) -> np.ndarray:
    out = np.empty((left.shape[0], right.shape[1]), left.dtype)
    chain(*map(np.ascontiguousarray, (left, right, start)), out)
    return out


@each_dtype
def test_sums_in_order_of_index(dtype: type) -> None:
    """F1, B2 and B4 are chains of fused multiply-adds from the first index to the last, B3 of additions: to the bit."""
    for numbers in product((1, 7, 33, 127), repeat=3):
        sizes = Sizes(*numbers)
        X, W, b = operands("linear", sizes, dtype).values()
        assert same_bytes(kernels.linear(X, W, b), chained(X, W, b)), sizes
        a_prev, delta = operands("weight_gradient", sizes, dtype).values()
        assert same_bytes(
            kernels.weight_gradient(a_prev, delta), chained(a_prev.T, delta, np.zeros(sizes.n_out, dtype))
        ), sizes
        # The derivative is 1 where a_prev is 0.
        delta, W, a_prev = operands("hidden_delta", sizes, dtype).values()
        product_only = kernels.hidden_delta(delta, W, np.zeros_like(a_prev))
        assert same_bytes(product_only, chained(delta, W.T, np.zeros(sizes.n_in, dtype))), sizes
        assert same_bytes(kernels.bias_gradient(delta), np.add.accumulate(delta, axis=0)[-1]), sizes


@each_dtype
def test_linear_reads_whole_lines_where_they_lie(dtype: type) -> None:
    """A small matrix, or one for few rows, isn't packed; the bits are the same."""
    itemsize = np.dtype(dtype).itemsize
    plain, packed = Sizes(33, 20, 128), Sizes(40, 1100, 128)
    for sizes in (plain, packed, Sizes(1, 1100, 144), Sizes(1, 3, 16), Sizes(9, 0, 32)):
        X, W, b = operands("linear", sizes, dtype).values()
        assert same_bytes(kernels.linear(X, W, b), chained(X, W, b)), sizes
    assert reads_plain(*plain, itemsize)
    assert not reads_plain(*packed, itemsize)
    assert reads_plain(1, *packed[1:], itemsize)
    assert not reads_plain(33, 20, 129, itemsize)


@each_dtype
def test_a_row_depends_on_itself_only(dtype: type) -> None:
    """Neither the rows nor the outputs beside it change a bit: predictions don't depend on how rows are batched."""
    X, W, b = operands("linear_tanh", Sizes(97, 33, 49), dtype).values()
    whole = kernels.linear_tanh(X, W, b)
    for first, last in ((0, 1), (5, 6), (1, 50), (90, 97)):
        assert same_bytes(kernels.linear_tanh(X[first:last], W, b), whole[first:last])
        columns = slice(first // 2, last // 2 + 1)
        assert same_bytes(kernels.linear_tanh(X, W[:, columns], b[columns]), np.ascontiguousarray(whole[:, columns]))


@needs_threads
@each_dtype
@each_kernel
def test_same_bits(name: str, dtype: type) -> None:
    assert_same_bits(name, dtype)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_gradients_against_central_differences(n_layers: int) -> None:
    """B1 to B4, composed as in the article, are the derivatives of F1 to F4."""
    layers = list(pairwise([6, 9, 8, 7, 5][5 - 1 - n_layers :]))
    rng = np.random.default_rng(n_layers)
    weights = [rng.normal(size=shape) / np.sqrt(shape[0]) for shape in layers]
    biases = [rng.normal(size=n_out) for _, n_out in layers]
    X, y = rng.normal(size=(11, layers[0][0])), rng.integers(5, size=11)

    def forward() -> list[np.ndarray]:
        rows = [X]
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            rows.append(kernels.linear_tanh(rows[-1], W, b))
        return [*rows, kernels.linear(rows[-1], weights[-1], biases[-1])]

    def difference(params: np.ndarray, at: tuple[int, ...]) -> float:
        h, here = 1e-5, params[at]
        params[at] = here + h
        above = kernels.cross_entropy(forward()[-1], y)
        params[at] = here - h
        below = kernels.cross_entropy(forward()[-1], y)
        params[at] = here
        return (above - below) / (2 * h)

    *rows, z = forward()
    delta = kernels.output_delta(kernels.softmax(z), y)
    for layer in reversed(range(n_layers)):
        grads = kernels.weight_gradient(rows[layer], delta), kernels.bias_gradient(delta)
        for params, grad in zip((weights[layer], biases[layer]), grads, strict=True):
            differences = np.array([difference(params, at) for at in np.ndindex(params.shape)]).reshape(params.shape)
            assert np.linalg.norm(grad - differences) <= 1e-6 * np.linalg.norm(differences)
        delta = kernels.hidden_delta(delta, weights[layer], rows[layer])


def test_derivative_of_saturated_tanh() -> None:
    """``1 - a**2`` is fused: near 1 it keeps the digits that a rounded square would lose."""
    for dtype in DTYPES:
        below_one = Fraction(1001 * float(np.finfo(dtype).epsneg))
        one, a = np.ones((1, 1), dtype), np.full((1, 1), float(1 - below_one), dtype)
        exact = 2 * below_one - below_one**2
        assert kernels.hidden_delta(one, one, a)[0, 0] == dtype(exact.numerator / exact.denominator)
