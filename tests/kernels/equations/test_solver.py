"""The solvers' steps against scikit-learn's formulas."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import each_dtype

from fastnn.kernels.equations.solver import CODES, SLOTS, Rates, add_penalty, solver_step


@each_dtype
@pytest.mark.parametrize("solver", CODES)
def test_solver_step(solver: str, dtype: type) -> None:
    """Several steps of each solver against scikit-learn's formulas, over stretches of any length."""
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
        # In float32, 1 - beta_2 has a relative error of 6e-8 / 0.01, and Adam divides by its root.
        assert np.allclose(param, expected[0], rtol=0, atol=1e-14 if dtype == np.float64 else 1e-6)
