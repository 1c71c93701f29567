"""The choice between one thread and several, from measured times. Both give the same bits."""

from __future__ import annotations

from typing import NamedTuple

# This number of operations takes 4 µs at the peak of a fast core. For fewer operations no parallel region pays, and
# the machine isn't even measured.
LEAST_OPERATIONS = 1e6
# A launch uses several threads only if this saves at least this fraction of its time: each further thread is one
# more to wait for.
LEAST_SAVING = 0.2


class Machine(NamedTuple):
    """Measured seconds: of an empty parallel region, and of one operation on one core at its peak."""

    region_seconds: float
    seconds_per_operation: float


def threads_that_pay(operations: float, n_threads: int, machine: Machine) -> int:
    """The number of threads to use for one launch: `n_threads` if they save enough time, otherwise 1.

    Parameters
    ----------
    operations : float
        The launch's floating-point operations (a multiply-add is two).
    n_threads : int
        The number of threads that may be used.
    machine : Machine
        The measured times.
    """
    serial = operations * machine.seconds_per_operation
    parallel = serial / n_threads + machine.region_seconds
    return n_threads if parallel < (1 - LEAST_SAVING) * serial else 1


# The fraction of the peak that the kernels reach, roughly. A `Pace` uses it for its first estimate only.
USUAL_SHARE = 0.7


class Pace:
    """For work of many calls, the choice between one thread and `n_threads`: by an estimate, then by the calls' times.

    The slower choice is tried again now and then, because the machine's other work changes. Each time it loses again,
    the pause until the next trial grows.

    Parameters
    ----------
    n_threads : int
        The number of threads that may be used.
    operations : float
        The floating-point operations in each unit of the work.
    regions : int
        The number of times that the threads wait for each other in a unit. Each wait takes about as long as a region.
    machine : Machine
        The measured times.
    """

    SHORTEST_PAUSE, LONGEST_PAUSE = 16, 256

    def __init__(self, n_threads: int, operations: float, regions: int, machine: Machine) -> None:
        serial = operations * machine.seconds_per_operation / USUAL_SHARE
        self.n_threads = n_threads
        self._seconds = {1: serial, n_threads: serial / n_threads + (n_threads > 1) * regions * machine.region_seconds}
        self._measured: dict[int, list[float]] = {1: [], n_threads: []}
        self._pause = self._calls_until_trial = self.SHORTEST_PAUSE

    def choose(self) -> tuple[int, bool]:
        """The number of threads for the next call, and whether this call is a trial, which should be short."""
        faster = min(self._seconds, key=self._seconds.__getitem__)
        if self._calls_until_trial <= 0 and self.n_threads > 1:
            return 1 + self.n_threads - faster, True
        return faster, len(self._measured[faster]) < 2

    def record(self, threads: int, seconds: float) -> None:
        """Note the seconds that a call on this number of threads took for each unit of its work."""
        measured = self._measured[threads]
        measured.append(seconds)
        if len(measured) == 1:  # it compiled, or its data wasn't in the processor's cache yet
            return
        self._seconds[threads] = min(measured[-2:])
        if self._calls_until_trial <= 0:
            lost = seconds > min(self._seconds.values())
            self._pause = min(2 * self._pause, self.LONGEST_PAUSE) if lost else self.SHORTEST_PAUSE
            self._calls_until_trial = self._pause
        self._calls_until_trial -= 1
