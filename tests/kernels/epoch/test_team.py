"""Work in phases: no phase begins before the last one has ended, on any threads, and `between` may end the work."""

from typing import NamedTuple

import numpy as np
import pytest
from cases import MOST_THREADS, needs_threads

from fastnn.kernels.epoch import team
from fastnn.kernels.epoch.team import Bodies, Phases, phased
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import Kernel, launch


class Work(NamedTuple):
    """Counts for each phase and chunk; `ends_after` is the phase that `between` ends the work at."""

    done: np.ndarray
    begun: np.ndarray
    mistakes: np.ndarray
    ends_after: int
    team: np.ndarray


@jit
def begin(work: Work, phase: int) -> None:
    work.begun[phase] += 1


@jit
def chunk(work: Work, phase: int, part: int, parts: int, worker: int) -> None:
    # All chunks of the phase before are done, and this phase was begun once, by `begin` or by `between`.
    for before in range(parts):
        if phase > 0 and work.done[phase - 1, before] != 1:
            work.mistakes[worker] += 1
    if work.begun[phase] != 1:
        work.mistakes[worker] += 1
    work.done[phase, part] += 1


@jit
def between(work: Work, phase: int, last: int) -> bool:
    if phase + 1 < last:
        work.begun[phase + 1] += 1
    return phase != work.ends_after


KERNEL: Kernel = phased(Bodies(begin, chunk, between))


def run(phases: int, chunks: int, n_threads: int, ends_after: int = -1) -> Work:
    work = Work(
        np.zeros((phases, chunks), np.int64),
        np.zeros(phases, np.int64),
        np.zeros(n_threads, np.int64),
        ends_after,
        np.zeros(team.SIZE, np.int64),
    )
    launch(KERNEL, Phases(work, 0, phases, chunks), n_threads)
    assert not work.mistakes.any()
    return work


@pytest.mark.parametrize("n_threads", range(1, MOST_THREADS + 1))
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_phases_follow_one_another(n_threads, chunks):
    for phases in (0, 1, 2, 1000):
        if phases:
            work = run(phases, chunks, n_threads)
            assert (work.done == 1).all()
            assert work.team[team.REACHED] == phases


@pytest.mark.parametrize("n_threads", range(1, MOST_THREADS + 1))
def test_work_may_end_early(n_threads):
    for ends_after in (0, 7, 19):
        work = run(20, 3, n_threads, ends_after)
        assert (work.done[: ends_after + 1] == 1).all()
        assert not work.done[ends_after + 1 :].any()
        assert work.team[team.REACHED] == ends_after


@needs_threads
def test_more_threads_than_chunks():
    assert (run(100, 1, 2).done == 1).all()
