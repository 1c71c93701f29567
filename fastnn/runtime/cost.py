"""Serial or parallel, as pure functions of what was measured. Neither shows in a result: both give the same bits."""

from __future__ import annotations

from typing import NamedTuple

# Fewer operations than this take 4 µs at the peak of a fast core: no region pays, and nothing is measured.
LEAST_OPERATIONS = 1e6
# A launch is split if that saves at least this part of its time: a thread more is one more to wait for.
LEAST_SAVING = 0.2


class Machine(NamedTuple):
    """What was measured: seconds of an empty parallel region, and of one operation on one core at its peak."""

    region_seconds: float
    seconds_per_operation: float


def threads_that_pay(operations: float, n_threads: int, machine: Machine) -> int:
    """How many threads to use for one launch: `n_threads` if they save enough, otherwise 1.

    Parameters
    ----------
    operations : float
        Floating-point operations (a multiply-add is two).
    n_threads : int
        Threads that may be used.
    machine : Machine
    """
    serial = operations * machine.seconds_per_operation
    parallel = serial / n_threads + machine.region_seconds
    return n_threads if parallel < (1 - LEAST_SAVING) * serial else 1


# What our kernels reach of the peak, roughly; only where a `Pace` begins depends on it.
USUAL_SHARE = 0.7


class Pace:
    """Which is faster for work of many calls, one thread or `n_threads`: by an estimate, then by what the calls took.

    The slower one is tried again now and then, the more rarely the more often it lost: the machine's other work
    changes.

    Parameters
    ----------
    n_threads : int
        Threads that may be used.
    operations : float
        Floating-point operations of each unit of the work.
    regions : int
        How often the threads wait for each other in a unit; about as long as a region takes.
    machine : Machine
    """

    SHORTEST_PAUSE, LONGEST_PAUSE = 16, 256

    def __init__(self, n_threads: int, operations: float, regions: int, machine: Machine) -> None:
        serial = operations * machine.seconds_per_operation / USUAL_SHARE
        self.n_threads = n_threads
        self._seconds = {1: serial, n_threads: serial / n_threads + (n_threads > 1) * regions * machine.region_seconds}
        self._measured: dict[int, list[float]] = {1: [], n_threads: []}
        self._pause = self._calls_until_trial = self.SHORTEST_PAUSE

    def choose(self) -> tuple[int, bool]:
        """The threads of the next call, and whether it is a trial, which should be short."""
        faster = min(self._seconds, key=self._seconds.__getitem__)
        if self._calls_until_trial <= 0 and self.n_threads > 1:
            return 1 + self.n_threads - faster, True
        return faster, len(self._measured[faster]) < 2

    def record(self, threads: int, seconds: float) -> None:
        """What a call took, for each unit of its work."""
        measured = self._measured[threads]
        measured.append(seconds)
        if len(measured) == 1:  # it compiled, or found everything out of the cache
            return
        self._seconds[threads] = min(measured[-2:])
        if self._calls_until_trial <= 0:
            lost = seconds > min(self._seconds.values())
            self._pause = min(2 * self._pause, self.LONGEST_PAUSE) if lost else self.SHORTEST_PAUSE
            self._calls_until_trial = self._pause
        self._calls_until_trial -= 1
