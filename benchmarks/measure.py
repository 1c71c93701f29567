"""Timing two pieces of work side by side, so that other programs on the machine slow both down.

In one process, the pieces take turns of some milliseconds, again and again. The best time of a piece is what the
machine can do. On a shared machine, the ratio of two best times repeats, while the times themselves don't.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

SAMPLE_SECONDS = 0.02
LEAST_ROUNDS = 5
# OpenBLAS's and OpenMP's idle threads spin before they sleep, OpenBLAS's for some 25 ms. Without a pause they take the
# cores from whoever comes next: an epoch of 784-128-10 on two cores took 72 ms right after NumPy, 24 after a pause.
PAUSE_SECONDS = 0.05
# After a pause, several threads may wake on the same core. They stay there until the kernel's balancer moves one, tens
# of milliseconds later. A turn lasts long enough for that.
TURN_SECONDS = 0.1
LEAST_SAMPLES_A_TURN = 3


class Work(NamedTuple):
    """Something to time: a call, the floating-point operations it does, and how many units (epochs, say) it holds."""

    call: Callable[[], Any]
    operations: float = 0.0
    units: int = 1


class Times(NamedTuple):
    """Seconds a unit, one number for each sample."""

    samples: np.ndarray

    @property
    def best(self) -> float:
        """The least of the samples."""
        return float(self.samples.min())

    @property
    def median(self) -> float:
        """The median of the samples."""
        return float(np.median(self.samples))


def alternate(works: Mapping[str, Work], seconds: float, pause: float = 0.0) -> dict[str, Times]:
    """Time each work in turn, round by round, until `seconds` are over (at least ``LEAST_ROUNDS`` rounds).

    A sample is as many calls as fill ``SAMPLE_SECONDS``. A turn is one sample; where several pools of threads take
    turns, give a `pause`: a turn is then a pause, and samples for ``TURN_SECONDS``. Everything is called before, to
    compile and to load.
    """
    repeats = {name: calls_a_sample(work) for name, work in works.items()}
    samples: dict[str, list[float]] = {name: [] for name in works}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < LEAST_ROUNDS or time.perf_counter() < deadline:
        for name, work in works.items():
            samples[name] += turn(work, repeats[name], pause)
        rounds += 1
    return {name: Times(np.array(each)) for name, each in samples.items()}


def turn(work: Work, repeats: int, pause: float) -> list[float]:
    """One turn's samples."""
    time.sleep(pause)
    end = time.perf_counter() + (TURN_SECONDS if pause else 0.0)
    samples = [sample(work, repeats)]
    while time.perf_counter() < end or (pause and len(samples) < LEAST_SAMPLES_A_TURN):
        samples.append(sample(work, repeats))
    return samples


def ratio(ours: Work, theirs: Work, seconds: float = 2.0) -> float:
    """Our time over theirs, each the best of its samples: 0.1 is ten times as fast."""
    times = alternate({"ours": ours, "theirs": theirs}, seconds)
    return times["ours"].best / times["theirs"].best


def share(work: Work, peak: Work, seconds: float = 1.0) -> float:
    """The share of the peak's operations a second that `work` reaches, from 0 to 1."""
    times = alternate({"work": work, "peak": peak}, seconds)
    speed, most = (each.operations / each.units / times[name].best for name, each in (("work", work), ("peak", peak)))
    return speed / most


def calls_a_sample(work: Work, seconds: float = SAMPLE_SECONDS) -> int:
    """How many calls take about `seconds`. The first calls are slower by far, and therefore don't count."""
    work.call()
    repeats = 1
    while (lasted := sample(work, repeats) * repeats * work.units) < seconds / 2:
        repeats = max(2 * repeats, int(repeats * min(10, seconds / max(lasted, 1e-7))))
    return repeats


def sample(work: Work, repeats: int) -> float:
    """Seconds per unit of work, over this number of calls."""
    call = work.call
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / (repeats * work.units)
