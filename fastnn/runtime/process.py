"""The state of the whole process: the launch under way, whether it is a fork's child, and what was measured."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import numba

from fastnn.runtime.cost import Machine
from fastnn.runtime.machine import measure


class _Measured(NamedTuple):
    """A machine, and when (by `time.monotonic`) it is measured again. Each pause is twice as long as the last."""

    machine: Machine
    until: float
    pause: float


# Seconds for which a measurement holds. The first one holds briefly, because the machine may have been busy just then.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 64.0


class Process:
    """The state that all threads of a process share.

    Attributes
    ----------
    launching : dict
        Has the key ``"by"`` while a parallel launch is under way. It is used instead of a lock, because a signal
        handler's exception can leave a lock taken: between a lock's `acquire` and the `try` after it there is always a
        moment for that. The launch belongs to whoever writes the key first.
    sharing : WeakSet
        The trainings that share the process's threads. What nobody refers to any more leaves the set by itself.
    forked : bool
        Whether the process is a fork's child, which launches nothing in parallel.
    measured : dict
        The machine's measurements, by number of threads.
    """

    def __init__(self, forked: bool = False) -> None:
        self.launching: dict[str, object] = {}
        self.sharing: WeakSet[object] = WeakSet()
        self.forked = forked
        self.measured: dict[int, _Measured] = {}

    def after_fork(self) -> None:
        """Forget, in the child, what the parent was doing."""
        self.launching, self.sharing = {}, WeakSet()
        self.forked = True

    def machine(self, n_threads: int) -> Machine | None:
        """What `measure` finds, now or not long ago; None if somebody else launches just now."""
        found = self.measured.get(n_threads)
        now = time.monotonic()
        if found is not None and now < found.until:
            return found.machine
        busy, token = self.launching, object()
        try:
            if busy.setdefault("by", token) is token:
                pause = _FIRST_PAUSE if found is None else min(2 * found.pause, _LONGEST_PAUSE)
                found = self.measured[n_threads] = _Measured(measure(n_threads), now + pause, pause)
        finally:
            if "by" in busy and busy["by"] is token:
                del busy["by"]
        return None if found is None else found.machine


def _is_child_of_threads() -> bool:
    """Whether this process was forked, before it imported fastnn, from one that had started Numba's threads."""
    try:
        numba.threading_layer()
    except ValueError:  # Numba's threads haven't started
        return False
    try:
        flags = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[6])
    except (OSError, ValueError, IndexError):  # not Linux
        return False
    return bool(flags & 0x40)  # PF_FORKNOEXEC


process = Process(_is_child_of_threads())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.after_fork)
