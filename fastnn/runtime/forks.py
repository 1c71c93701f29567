"""A fork waits until no other thread compiles.

Otherwise the child would find the compiler's locks, or a module's lock, taken by a thread that the child doesn't have,
and would wait for ever at its first kernel.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from fastnn.runtime.numba_private import compiler_lock

Found = TypeVar("Found")

# Seconds that a fork waits for another thread's compiling: longer than any compiling takes, but not for ever, because
# the thread that compiles may itself wait for the thread that forks.
_LONGEST_WAIT = 60.0


class _ForkGuard:
    """Takes the compiler's lock before a fork, and gives it back after the fork in both processes."""

    def __init__(self) -> None:
        self._lock: Any = compiler_lock
        self._held = threading.local()  # two threads may fork at once

    def before(self) -> None:
        self._held.here = False
        # Numba or fastnn imports this module at the first question whether an array is masked. The import has to be
        # over before the fork.
        with suppress(BaseException):
            importlib.import_module("numpy.ma")
        end = time.monotonic() + _LONGEST_WAIT
        while not self._held.here and time.monotonic() < end:
            # Python drops what is raised here, by Ctrl-C for instance, and forks in any case.
            with suppress(BaseException):
                self._held.here = self._lock.acquire(timeout=max(0.0, end - time.monotonic()))

    def after(self) -> None:
        if self._held.here:
            self._lock.release()


if hasattr(os, "register_at_fork"):
    _guard = _ForkGuard()
    os.register_at_fork(before=_guard.before, after_in_parent=_guard.after, after_in_child=_guard.after)


def late(load: Callable[[], Found]) -> Callable[[], Found]:
    """Make a function that imports what few need, and returns it: it runs once, and no process forks meanwhile."""

    @functools.wraps(load)
    def alone() -> Found:
        with compiler_lock:
            return load()

    return functools.cache(alone)
