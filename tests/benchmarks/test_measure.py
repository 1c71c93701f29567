"""Timing side by side, on a clock that only the works move."""

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from benchmarks import measure


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `time.perf_counter` says and `time.sleep` moves."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    return now


def taking(clock: list[float], seconds: Iterator[float]) -> Callable[[], None]:
    """A call that moves the clock on by the next of these durations."""

    def call() -> None:
        clock[0] += next(seconds)

    return call


def noisy(best: float) -> Iterator[float]:
    """Durations that are `best`, or at times twice or ten times as long."""
    rng = np.random.default_rng(0)
    while True:
        yield best * rng.choice([1, 1, 2, 10])


def test_ratio_is_of_bests_and_per_unit(clock: list[float]) -> None:
    ours = measure.Work(taking(clock, noisy(0.09)), units=3)
    theirs = measure.Work(taking(clock, noisy(0.12)))
    assert measure.ratio(ours, theirs, seconds=20.0) == pytest.approx(0.25)


def test_share_counts_operations_a_second(clock: list[float]) -> None:
    work = measure.Work(taking(clock, noisy(0.2)), operations=30.0, units=2)
    peak = measure.Work(taking(clock, noisy(0.05)), operations=12.5)
    # 150 operations a second, of 250.
    assert measure.share(work, peak, seconds=60.0) == pytest.approx(0.6)


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_turns_alternate_after_a_pause(clock: list[float], pause: float) -> None:
    turns: list[tuple[str, float]] = []
    calls = {name: taking(clock, iter(lambda: 0.03, 0)) for name in "ab"}

    def note(name: str) -> Callable[[], None]:
        def call() -> None:
            turns.append((name, clock[0]))
            calls[name]()

        return call

    times = measure.alternate({name: measure.Work(note(name)) for name in "ab"}, seconds=1.0, pause=pause)
    del turns[:4]  # to compile, to load, to see how long a call takes
    first = [turn for previous, turn in zip([("", 0.0), *turns], turns, strict=False) if previous[0] != turn[0]]
    assert [name for name, _ in first] == ["a", "b"] * (len(first) // 2)
    a_turn = 4 if pause else 1  # of 0.03 s, until 0.1 s are over
    assert len(turns) == a_turn * len(first) == sum(len(each.samples) for each in times.values())
    gaps = {round(later - now, 9) for (_, now), (_, later) in itertools.pairwise(turns)}
    assert gaps == ({0.03, 0.53} if pause else {0.03})
