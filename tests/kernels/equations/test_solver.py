"""U1 and the other solvers' steps: errors, the formulas, and what can't be stepped in place."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import reference
from cases import SIZES, STEP_SIZE, Sizes, assert_same_bits, each_dtype, needs_threads, operands, run, ulps, wide

from fastnn import kernels
from fastnn.kernels.equations.solver import CODES, SLOTS, Rates, add_penalty, solver_step


@each_dtype
def test_sgd_step_error(dtype: type) -> None:
    """One rounding for the multiply-add: half a ULP, also where the difference is small."""
    for shape in product(SIZES, repeat=2):
        param, grad = operands("sgd_step", Sizes(shape[0], 0, shape[1]), dtype).values()
        if param.size:
            param.flat[::3] = STEP_SIZE * grad.flat[::3] * dtype(1 + 1e-6)  # nearly all of it cancels
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
    """A parameter that can't be changed in place is refused, and left as it was."""
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


@each_dtype
@pytest.mark.parametrize("solver", CODES)
def test_solver_step(solver: str, dtype: type) -> None:
    """Several steps of each solver against scikit-learn's formulas, over lengths that end anywhere."""
    recipe = reference.Recipe(
        solver="adam" if solver == "adam" else "sgd",
        step_size=0.01,
        momentum={"momentum": 0.75, "nesterov": 0.75}.get(solver, 0.0),
        nesterovs_momentum=solver == "nesterov",
        beta_2=0.99,
    )
    decay = 0.125
    for size in (1, 7, 33, 100):
        rng = np.random.default_rng(size)
        param = rng.standard_normal(size).astype(dtype)
        slots = [np.zeros(size if slot < SLOTS[solver] else 0, dtype) for slot in range(2)]
        expected = [param.astype(np.float64)]
        oracle = reference.Solver(expected, recipe)
        for t in range(1, 6):
            grad = rng.standard_normal(size).astype(dtype)
            step_size = recipe.step_size
            if solver == "adam":
                step_size *= np.sqrt(1 - recipe.beta_2**t) / (1 - recipe.beta_1**t)
            rates = map(dtype, (step_size, recipe.momentum, recipe.beta_1, recipe.beta_2, recipe.epsilon))
            oracle.step([grad + decay * expected[0]])
            add_penalty(grad, param, dtype(decay))
            solver_step(CODES[solver], param, grad, *slots, Rates(*rates))
        # In float32, 1 - beta_2 is off by 6e-8 / 0.01, and Adam divides by its root.
        assert np.allclose(param, expected[0], rtol=0, atol=1e-14 if dtype == np.float64 else 1e-6)
