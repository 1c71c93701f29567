"""Step sizes between epochs."""

import pytest

from fastnn.schedule import Schedule


def test_constant_stays_and_stops_at_a_plateau():
    schedule = Schedule("constant", 0.3)
    assert schedule.after_epoch(0.3, 1000) == 0.3
    assert schedule.after_plateau(0.3) is None


@pytest.mark.parametrize(
    ("samples", "power_t", "step_size"), [(0, 0.5, 0.2), (99, 0.5, 0.02), (99, 1, 0.002), (99, 0, 0.2)]
)
def test_invscaling_falls_with_the_samples_seen(samples, power_t, step_size):
    schedule = Schedule("invscaling", 0.2, power_t)
    assert schedule.after_epoch(123.0, samples) == pytest.approx(step_size, rel=1e-15)
    assert schedule.after_plateau(step_size) is None


def test_adaptive_divides_by_five_at_each_plateau_down_to_the_least():
    schedule = Schedule("adaptive", 1.0)
    assert schedule.after_epoch(1.0, 10**9) == 1.0
    steps, step_size = [], 1.0
    while step_size is not None:
        steps.append(step_size)
        step_size = schedule.after_plateau(step_size)
    assert steps == pytest.approx([5.0**-k for k in range(10)], rel=1e-12)
    assert steps[-2] > 1e-6 >= steps[-1]
