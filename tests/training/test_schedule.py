"""Step sizes between epochs."""

import math

import pytest

from fastnn.training.schedule import Schedule


def test_constant_stays_and_stops_at_a_plateau():
    schedule = Schedule("constant", 0.3)
    assert schedule.after_epoch(0.3, 1000, 5) == 0.3
    assert schedule.after_plateau(0.3) is None


@pytest.mark.parametrize(
    ("samples", "power_t", "step_size"), [(0, 0.5, 0.2), (99, 0.5, 0.02), (99, 1, 0.002), (99, 0, 0.2)]
)
def test_invscaling_falls_with_the_samples_seen(samples, power_t, step_size):
    schedule = Schedule("invscaling", 0.2, power_t)
    assert schedule.after_epoch(123.0, samples, 7) == pytest.approx(step_size, rel=1e-15)
    assert schedule.after_plateau(step_size) is None


def test_adaptive_divides_by_five_at_each_plateau_down_to_the_least():
    schedule = Schedule("adaptive", 1.0)
    assert schedule.after_epoch(1.0, 10**9, 10) == 1.0
    steps, step_size = [], 1.0
    while step_size is not None:
        steps.append(step_size)
        step_size = schedule.after_plateau(step_size)
    assert steps == pytest.approx([5.0**-k for k in range(10)], rel=1e-12)
    assert steps[-2] > 1e-6 >= steps[-1]


def steps_of(schedule, n_epochs):
    """The step size of each epoch."""
    steps = [schedule.first()]
    for done in range(1, n_epochs):
        steps.append(schedule.after_epoch(steps[-1], 100 * done, done))
    return steps


def test_cosine_falls_to_nothing():
    steps = steps_of(Schedule("cosine", 0.2, epochs=50), 50)
    assert steps == pytest.approx([0.1 * (1 + math.cos(math.pi * k / 50)) for k in range(50)])
    assert Schedule("cosine", 0.2, epochs=50).after_epoch(steps[-1], 0, 50) == steps[-1] > 0


@pytest.mark.parametrize("kind", ["constant", "cosine", "adaptive"])
def test_a_warm_up_rises_to_the_initial_step(kind):
    steps = steps_of(Schedule(kind, 0.4, epochs=10, warmup_epochs=3), 10)
    assert steps[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert max(steps) == steps[3]
    if kind == "constant":
        assert steps[4:] == [0.4] * 6
