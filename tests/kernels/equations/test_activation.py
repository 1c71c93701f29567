"""The activations: their errors in ULP, and derivatives that fit the functions."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import each_dtype, numbers_of_every_magnitude, same_bytes, ulps, wide

from fastnn.kernels.equations import activation

each_activation = pytest.mark.parametrize("name", reference.ACTIVATIONS)


@each_dtype
@each_activation
def test_activate(name: str, dtype: type) -> None:
    """Each activation at special values and at random numbers, over stretches of any length."""
    function, _ = reference.ACTIVATIONS[name]
    specials = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 1000.0, -1000.0], dtype)
    z = np.concatenate([specials, 30 * np.tanh(numbers_of_every_magnitude(dtype, (500,)))])
    with np.errstate(over="ignore"):
        exact = function(wide(z))
    for size in (0, 1, 7, 9, 33, z.size):
        a = z[:size].copy()
        activation.activate(activation.CODES[name], a)
        assert (np.isnan(a) == np.isnan(z[:size])).all()
        finite = np.isfinite(exact[:size])
        # The exp within the logistic function is off by one ULP, and so is its argument where it is large.
        assert (ulps(a[finite], exact[:size][finite]) <= 4).all()
        assert (a[~finite & ~np.isnan(a)] == exact[:size][~finite & ~np.isnan(a)]).all()


@each_dtype
@each_activation
def test_multiply_by_derivative(name: str, dtype: type) -> None:
    """The derivative as a function of the activation's output."""
    function, derivative = reference.ACTIVATIONS[name]
    rng = np.random.default_rng(0)
    z = rng.uniform(-3, 3, 501)  # further from 0, the reference's 1 - a**2 isn't exact enough
    a = function(z).astype(dtype)
    delta = rng.standard_normal(501).astype(dtype)
    product = delta.copy()
    activation.multiply_by_derivative(activation.CODES[name], product, a)
    assert (ulps(product, wide(delta) * derivative(wide(a))) <= 4).all()


@each_activation
def test_derivative_is_the_slope(name: str) -> None:
    """`multiply_by_derivative` multiplies by the derivative of the function that `activate` computes."""
    code, h = activation.CODES[name], 1e-6
    z = np.linspace(-4, 4, 100)  # without 0, where relu has no derivative
    above, a, below = z + h, z.copy(), z - h
    for values in (above, a, below):
        activation.activate(code, values)
    slope = np.ones(100)
    activation.multiply_by_derivative(code, slope, a)
    assert np.allclose(slope, (above - below) / (2 * h), rtol=1e-8, atol=1e-9)


@each_dtype
@pytest.mark.parametrize("name", reference.STORED)
def test_activations_that_store_their_slope(name: str, dtype: type) -> None:
    z = np.concatenate([np.linspace(-12, 12, 2001), [0.0, -1e-30, 1e-30, -300.0, 300.0, -1e30, 1e30]]).astype(dtype)
    a, kept, slope = z.copy(), z.copy(), np.empty_like(z)
    activation.activate_any(activation.CODES[name], a)
    activation.activate_keeping(activation.CODES[name], kept, slope)
    assert same_bytes(a, kept)
    exact = np.array(z, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference.STORED[name](exact)
        nearby = 1e-6 * np.maximum(1, np.abs(exact))
        expected_slope = (reference.STORED[name](exact + nearby) - reference.STORED[name](exact - nearby)) / (
            2 * nearby
        )
    precision = np.finfo(dtype).eps
    np.testing.assert_allclose(a, expected, rtol=20 * precision, atol=20 * precision)
    inner = np.abs(z) < 100
    np.testing.assert_allclose(slope[inner], expected_slope[inner], rtol=1e-5, atol=1e-5)
    assert slope[z == 300] == 1 and abs(slope[z == -300]) < 1e-30


@each_dtype
@each_activation
def test_a_slope_may_be_stored_of_any(name: str, dtype: type) -> None:
    z = numbers_of_every_magnitude(dtype, (300,))
    a, kept, slope, by_output = z.copy(), z.copy(), np.empty_like(z), np.ones_like(z)
    activation.activate(activation.CODES[name], a)
    activation.activate_keeping(activation.CODES[name], kept, slope)
    activation.multiply_by_derivative(activation.CODES[name], by_output, a)
    assert same_bytes(a, kept) and same_bytes(slope, by_output)
