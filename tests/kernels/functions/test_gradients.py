"""The gradients against differences of the loss, and the error and the checks of `sgd_step`."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from cases import (
    DTYPES,
    SIZES,
    STEP_SIZE,
    Sizes,
    assert_same_bits,
    each_dtype,
    needs_threads,
    operands,
    run,
    ulps,
    wide,
)

from fastnn import kernels


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
    """``1 - a**2`` is fused, so that it keeps the digits that a rounded square would lose near 1."""
    for dtype in DTYPES:
        below_one = Fraction(1001 * float(np.finfo(dtype).epsneg))
        one, a = np.ones((1, 1), dtype), np.full((1, 1), float(1 - below_one), dtype)
        exact = 2 * below_one - below_one**2
        assert kernels.hidden_delta(one, one, a)[0, 0] == dtype(exact.numerator / exact.denominator)


@each_dtype
def test_sgd_step_error(dtype: type) -> None:
    """The multiply-add is rounded once: the error is half a ULP, also where the difference is small."""
    for shape in product(SIZES, repeat=2):
        param, grad = operands("sgd_step", Sizes(shape[0], 0, shape[1]), dtype).values()
        if param.size:
            param.flat[::3] = STEP_SIZE * grad.flat[::3] * dtype(1 + 1e-6)  # nearly all of the number cancels
        exact = wide(param) - wide(np.array(STEP_SIZE, dtype)) * wide(grad)
        assert (ulps(run("sgd_step", {"param": param, "grad": grad}), exact) <= 0.51).all(), shape
    for shape in ((), (5,), (2, 3, 4), (2, 0, 4)):
        param = np.ones(shape, dtype)
        assert kernels.sgd_step(param, np.full(shape, 2, dtype), 0.25) is None
        assert (param == 0.5).all()


@each_dtype
def test_step_size_is_rounded_to_the_dtype(dtype: type) -> None:
    param, grad = np.zeros(3, dtype), np.ones(3, dtype)
    kernels.sgd_step(param, grad, np.float64(0.1))
    assert (param == -dtype(0.1)).all()


@needs_threads
@each_dtype
def test_same_bits(dtype: type) -> None:
    assert_same_bits("sgd_step", dtype)


def test_in_place_or_not_at_all() -> None:
    """A parameter that can't be changed in place is refused and left unchanged."""
    grad = np.ones((4, 4))
    read_only = np.zeros((4, 4))
    read_only.flags.writeable = False
    strided = np.zeros((8, 8))[::2, ::2]
    for param in (read_only, strided, np.asfortranarray(np.zeros((4, 4))), np.zeros((4, 4), ">f8")):
        with pytest.raises(ValueError, match=r"^param "):
            kernels.sgd_step(param, grad, 0.1)
        assert not param.any()
    with pytest.raises(TypeError, match=r"^param "):
        kernels.sgd_step([1.0, 2.0], np.ones(2), 0.1)
    with pytest.raises(TypeError, match=r"^param "):
        kernels.sgd_step(np.zeros(2, int), np.ones(2), 0.1)
    with pytest.raises(TypeError, match=r"^grad "):
        kernels.sgd_step(np.zeros(2), np.ones(2, np.float32), 0.1)
    with pytest.raises(ValueError, match=r"^grad "):
        kernels.sgd_step(np.zeros(2), np.ones((2, 1)), 0.1)
