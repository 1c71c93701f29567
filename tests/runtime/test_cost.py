"""Serial or parallel, as pure functions."""

from itertools import pairwise
from math import inf

import pytest

from fastnn.runtime.cost import Machine, Pace, threads_that_pay

FAST = Machine(region_seconds=1e-6, seconds_per_operation=4e-12)
DEAR = Machine(region_seconds=1e-4, seconds_per_operation=4e-12)


@pytest.mark.parametrize("machine", [FAST, DEAR])
def test_only_work_that_outweighs_its_region_is_split(machine):
    assert threads_that_pay(0.0, 4, machine) == threads_that_pay(1e3, 4, machine) == 1
    assert threads_that_pay(1e15, 4, machine) == 4
    assert threads_that_pay(inf, 1, machine) == threads_that_pay(1e15, 1, machine) == 1
    # Once it pays, it pays for all larger work.
    choices = [threads_that_pay(2.0**power, 4, machine) for power in range(60)]
    assert choices == sorted(choices)
    assert set(choices) == {1, 4}


def test_a_dear_region_or_a_fast_core_needs_more_work():
    assert threads_that_pay(2e6, 2, FAST) == 2
    assert threads_that_pay(2e6, 2, DEAR) == 1
    assert threads_that_pay(2e6, 2, FAST._replace(seconds_per_operation=4e-13)) == 1


def calls(pace: Pace, n: int, seconds: dict[int, float]) -> list[tuple[int, bool]]:
    """What a pace chooses in `n` calls that take so long on so many threads."""
    chosen = []
    for _ in range(n):
        chosen.append(pace.choose())
        pace.record(chosen[-1][0], seconds[chosen[-1][0]])
    return chosen


def test_a_pace_begins_with_the_estimate_and_goes_by_what_it_measured():
    assert calls(Pace(2, 1e9, 2, FAST), 5, {2: 2e-3}) == [(2, True)] * 2 + [(2, False)] * 3
    assert calls(Pace(2, 1e3, 2, FAST), 5, {1: 1e-8}) == [(1, True)] * 2 + [(1, False)] * 3
    # The estimate was wrong: threads are slow here.
    assert [threads for threads, _ in calls(Pace(2, 1e9, 2, FAST), 12, {1: 4e-3, 2: 1.0})] == [2] * 2 + [1] * 10


def test_a_pace_forgets_the_first_call_of_each_number_of_threads():
    pace = Pace(2, 1e9, 2, FAST)
    pace.record(2, 5.0)  # it compiled
    assert calls(pace, 3, {2: 2e-3}) == [(2, True), (2, False), (2, False)]


def test_a_pace_tries_the_slower_one_again_more_and_more_rarely():
    chosen = calls(Pace(2, 1e9, 2, FAST), 2000, {1: 4e-3, 2: 2e-3})
    trials = [number for number, (threads, _) in enumerate(chosen) if threads == 1]
    assert all(trial for threads, trial in chosen if threads == 1)
    pauses = [after - before for before, after in pairwise(trials) if after - before > 1]
    assert pauses == sorted(pauses)
    assert 3 <= len(trials) <= 16


def test_a_pace_follows_the_machine():
    """Somebody takes the second processor, and gives it back."""
    pace = Pace(2, 1e9, 2, FAST)
    assert calls(pace, 30, {1: 4e-3, 2: 2e-3})[-1] == (2, False)
    assert calls(pace, 30, {1: 4e-3, 2: 9e-3})[-1] == (1, False)
    assert calls(pace, 1000, {1: 4e-3, 2: 2e-3})[-1][0] == 2


def test_one_thread_has_no_choice():
    assert {threads for threads, _ in calls(Pace(1, 1e9, 2, FAST), 500, {1: 1.0})} == {1}
