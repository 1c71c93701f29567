"""What a ratio compares does the same work: every contestant against the article's loop."""

import numpy as np
import pytest
import reference

from benchmarks import common, contestants


@pytest.fixture(autouse=True)
def no_crippled_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the variables with which the contestants refuse to run. They don't change any result."""
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(params=["sgd", "adam"])
def task(request: pytest.FixtureRequest) -> common.Task:
    """Three layers, a short last batch, five epochs."""
    situation = common.DIGITS._replace(rows=203, solver=request.param, step_size=0.01, epochs=5)
    return common.task(situation, batch_size=40, threads=1, shuffle=False)


def expected(task: common.Task, X: np.ndarray) -> np.ndarray:
    """Probabilities after the task, by `reference` in float64."""
    params = [param.astype(np.float64) for pair in zip(task.weights, task.biases, strict=True) for param in pair]
    recipe = reference.Recipe(solver=task.solver, step_size=task.step_size, batch_size=task.batch_size)
    orders = [np.arange(len(task.y))] * task.epochs
    reference.train(params, (task.X.astype(np.float64), task.y, np.ones(len(task.y))), orders, recipe)
    hidden = reference.linear_tanh(X, params[0], params[1])
    return reference.softmax(reference.linear(hidden, params[2], params[3]))


@pytest.mark.parametrize("make", [contestants.Fastnn, contestants.NumPy, contestants.ScikitLearn])
def test_contestants_do_the_same_work(task: common.Task, make: type) -> None:
    contestant = make(task)
    start = contestants.cross_entropy(contestant.predict_proba(task.X), task.y)
    contestant.train()
    p = contestant.predict_proba(task.X)
    # Rounding of 30 steps in float32. Adam divides a gradient by its own size: what rounding does to a small one
    # counts as much as in a large one (seen: 5e-6).
    atol = {"sgd": 3e-6, "adam": 2e-5}[task.solver]
    np.testing.assert_allclose(p, expected(task, task.X.astype(np.float64)), rtol=0, atol=atol)
    assert contestants.cross_entropy(p, task.y) < start


def test_numpy_in_float64_is_the_reference(task: common.Task) -> None:
    contestant = contestants.NumPy(task, np.float64)
    contestant.train()
    X = task.X.astype(np.float64)
    np.testing.assert_allclose(contestant.predict_proba(X), expected(task, X), rtol=1e-9, atol=1e-12)


def test_numpy_draws_a_new_order_each_epoch_without_losing_a_row() -> None:
    task = common.task(common.DIGITS._replace(rows=50, epochs=2), batch_size=20, threads=1)
    contestant = contestants.NumPy(task)
    seen: list[np.ndarray] = []
    contestant._step = lambda X, y: seen.append(X.copy())
    contestant.train()
    assert [len(batch) for batch in seen] == [20, 20, 10] * 2
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert (np.sort(first, axis=0) == np.sort(task.X, axis=0)).all()
    assert (first != second).any()


def test_a_crippled_rival_is_refused(task: common.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with pytest.raises(RuntimeError, match="env -u OPENBLAS_CORETYPE"):
        contestants.NumPy(task)
