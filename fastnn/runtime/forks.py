"""A fork waits until no other thread compiles.

Otherwise the child would find the compiler's locks, or a module's lock, taken by a thread that the child doesn't have,
and would wait for ever at its first kernel.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from fastnn.runtime.numba_private import compiler_lock

Arguments = ParamSpec("Arguments")
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
        # Numba and fastnn import `numpy.ma` when they first ask whether an array is masked. Another thread may be doing
        # that, and its import has to be over before the fork.
        with suppress(BaseException):
            importlib.import_module("numpy.ma")
        # The same goes for fastnn's own modules that another thread is importing.
        for name in [name for name in sys.modules if name.startswith("fastnn.")]:
            if getattr(getattr(sys.modules[name], "__spec__", None), "_initializing", False):
                with suppress(BaseException):
                    importlib.import_module(name)
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


def late(load: Callable[Arguments, Found]) -> Callable[Arguments, Found]:
    """Wrap a function that imports what is rarely needed.

    `load` runs once for the same arguments, and its result is kept. No process forks while it runs.
    """
    found: dict[tuple[Any, ...], Found] = {}

    @functools.wraps(load)
    def once(*args: Arguments.args, **keywords: Arguments.kwargs) -> Found:
        assert not keywords
        if args not in found:
            with compiler_lock:
                if args not in found:
                    found[args] = load(*args, **keywords)
        return found[args]

    return once
