"""F1, F2, B2, B3, B4: errors against NumPy, and the order of every sum."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import reference
from cases import (
    SIZES,
    Sizes,
    assert_same_bits,
    each_dtype,
    needs_threads,
    numbers_of_every_magnitude,
    operands,
    run,
    same_bytes,
    tolerance,
    ulps,
    wide,
)
from chains import chained

from fastnn import kernels
from fastnn.kernels.functions.layers import reads_plain

NAMES = ["linear", "linear_tanh", "weight_gradient", "bias_gradient", "hidden_delta"]
each_kernel = pytest.mark.parametrize("name", NAMES)

# The rounding error of a sum is measured relative to the same sum of absolute values.
MAGNITUDES = {
    "linear": lambda X, W, b: X @ W + b,
    "linear_tanh": lambda X, W, b: X @ W + b,  # tanh never makes an error larger
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
    """Every size in every position, combined with every other size."""
    for numbers in product(SIZES, repeat=3):
        sizes = Sizes(*numbers)
        if name == "bias_gradient" and sizes.n_in:
            continue  # the bias gradient doesn't depend on n_in
        arrays = operands(name, sizes, dtype)
        exact = [array.astype(np.float64) for array in arrays.values()]
        result, truth = run(name, arrays), getattr(reference, name)(*exact)
        bound = tolerance(dtype, TERMS[name](sizes)) * MAGNITUDES[name](*map(np.abs, exact))
        if name == "linear_tanh":
            bound += 4 * np.spacing(np.abs(truth).astype(dtype))
        assert result.shape == truth.shape, sizes
        assert result.dtype == dtype, sizes
        assert (np.abs(result - truth) <= bound).all(), sizes


@each_dtype
def test_sums_in_order_of_index(dtype: type) -> None:
    """F1, B2 and B4 have the bits of chains of fused multiply-adds, in order of the index, and B3 of additions."""
    for numbers in product((1, 7, 33, 127), repeat=3):
        sizes = Sizes(*numbers)
        X, W, b = operands("linear", sizes, dtype).values()
        assert same_bytes(kernels.linear(X, W, b), chained(X, W, b)), sizes
        a_prev, delta = operands("weight_gradient", sizes, dtype).values()
        assert same_bytes(
            kernels.weight_gradient(a_prev, delta), chained(a_prev.T, delta, np.zeros(sizes.n_out, dtype))
        ), sizes
        # With a_prev = 0 the derivative is 1.
        delta, W, a_prev = operands("hidden_delta", sizes, dtype).values()
        product_only = kernels.hidden_delta(delta, W, np.zeros_like(a_prev))
        assert same_bytes(product_only, chained(delta, W.T, np.zeros(sizes.n_in, dtype))), sizes
        assert same_bytes(kernels.bias_gradient(delta), np.add.accumulate(delta, axis=0)[-1]), sizes


@each_dtype
def test_linear_reads_whole_lines_where_they_lie(dtype: type) -> None:
    """A small matrix, or a matrix for few rows, isn't packed, and the bits are the same."""
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
    """Other rows and other outputs don't change a bit: predictions don't depend on how rows are batched."""
    X, W, b = operands("linear_tanh", Sizes(97, 33, 49), dtype).values()
    whole = kernels.linear_tanh(X, W, b)
    for first, last in ((0, 1), (5, 6), (1, 50), (90, 97)):
        assert same_bytes(kernels.linear_tanh(X[first:last], W, b), whole[first:last])
        columns = slice(first // 2, last // 2 + 1)
        assert same_bytes(kernels.linear_tanh(X, W[:, columns], b[columns]), np.ascontiguousarray(whole[:, columns]))


@needs_threads
@each_dtype
@pytest.mark.parametrize("name", [*NAMES, "tanh"])
def test_same_bits(name: str, dtype: type) -> None:
    assert_same_bits(name, dtype)


@each_dtype
def test_tanh_error(dtype: type) -> None:
    for shape in product(SIZES, repeat=2):
        z = numbers_of_every_magnitude(dtype, shape)
        a = run("tanh", {"z": z})
        assert a.shape == shape
        assert a.dtype == dtype
        assert (ulps(a, np.tanh(wide(z))) <= 4).all()
    assert kernels.tanh(dtype(0.5)).shape == ()
    assert kernels.tanh(numbers_of_every_magnitude(dtype, (3, 0, 2, 5))).shape == (3, 0, 2, 5)


@each_dtype
def test_an_element_depends_on_itself_only(dtype: type) -> None:
    """Vector lanes, the loop's tail and the blocks of a long array give the same bits."""
    z = numbers_of_every_magnitude(dtype, (20_000,))
    a = kernels.tanh(z)
    for first in (0, 1, 31, 4095, 4096, 8191):
        for size in (1, 7, 33, 4097):
            assert same_bytes(kernels.tanh(z[first : first + size]), a[first : first + size])
