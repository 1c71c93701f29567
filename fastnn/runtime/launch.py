"""The one place that decides how a kernel runs: on how many threads, serial or parallel.

Numba's threading layers can end the host process: workqueue aborts when two Python threads launch at once, GNU omp
kills a forked child at its first parallel kernel, and neither can be caught. So parallel launches are taken one
at a time behind a lock that nobody waits for (whoever finds it taken runs the serial twin, with the same bits),
a forked child stays serial for good, and under workqueue, where another library's launch can't be
guarded, we stay serial unless the caller names a number of threads. Trainings in several Python threads share the
threads of the process.
"""

from __future__ import annotations

import functools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakSet

import numba
import numpy as np
from numba import get_num_threads

from fastnn.errors import check_whole
from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import jit, jit_entry
from fastnn.runtime.cost import LEAST_OPERATIONS, Machine, Pace, threads_that_pay
from fastnn.runtime.machine import measure
from fastnn.runtime.region import region_address, run_parts


@dataclass(frozen=True)
class Kernel:
    """A kernel, compiled once: ``compiled(args, region, n_threads)``, on one thread where the region's address is 0."""

    name: str
    compiled: Any
    _entries: dict[str, Any] = field(default_factory=dict)

    def entry(self, dtype: np.dtype[Any] | None) -> Any:
        """What to call: the machine code for `dtype` once that is there, otherwise Numba's dispatcher.

        The dispatcher looks at the type of each argument first: 0.8 µs of the 0.97 that an empty call takes.
        """
        return self.compiled if dtype is None else self._entries.get(dtype.char, self.compiled)

    def remember(self, dtype: np.dtype[Any]) -> None:
        """Find the machine code for `dtype`, which is there now."""
        for (args, *_), compiled in getattr(self.compiled, "overloads", {}).items():
            if args[0].dtype.name == dtype.name:
                self._entries[dtype.char] = compiled.entry_point


def kernel(body: Callable[[Any, int, int], None]) -> Kernel:
    """The kernel of a block body ``body(args, part, parts)``, which writes only what its part of the work owns."""
    return Kernel(body.__name__, keep_on_disk(jit_entry(instance(_entry, _body=body))))


def _body(args: Any, part: int, parts: int) -> None:
    """Stands for the block body in the template below."""


def _entry(args: Any, region: int, n_threads: int) -> None:
    run_parts(_body, args, region, n_threads)


@jit
def share(n_items: int, unit: int, part: int, parts: int) -> tuple[int, int]:
    """The items, first to last but one, that `part` of `parts` owns: whole units, as even as can be."""
    n_units = (n_items + unit - 1) // unit
    first = n_units * part // parts * unit
    last = n_units * (part + 1) // parts * unit
    return min(first, n_items), min(last, n_items)


def instance(template: Callable[..., Any], name: str = "", **bodies: Any) -> Callable[..., Any]:
    """A copy of a template with bodies of its own in the place of the functions of these names, and a name of its own.

    That begins with `name`, or with the first body's. It tells the twins' cache files apart (Numba's key has neither
    `parallel` nor the bodies in it), and a global, unlike a closure over a dispatcher, has the same hash in every
    process.
    """
    assert isinstance(template, FunctionType)
    first = next(iter(bodies.values()))
    name = f"{name or first.__name__}{template.__name__}"
    copy = FunctionType(template.__code__, {**template.__globals__, **bodies}, name)
    copy.__qualname__ = f"{first.__module__.rpartition('.')[2]}.{name}"
    return copy


class _Measured(NamedTuple):
    """A machine, and when (by `time.monotonic`) it is measured again, after a pause that has doubled."""

    machine: Machine
    until: float
    pause: float


# Seconds for which a measurement holds: the first one soon ends, for the machine may have been busy just then.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 64.0


class _Process:
    """Who launches in parallel in this process, whether it is a fork's child, and what it has measured."""

    def __init__(self, forked: bool = False) -> None:
        self.launching: dict[str, object] = {}
        self.sharing: WeakSet[object] = WeakSet()  # weak: what nobody has any more is under way no more
        self.forked = forked
        self.measured: dict[int, _Measured] = {}

    def after_fork(self) -> None:
        self.launching, self.sharing = {}, WeakSet()
        self.forked = True


def _is_child_of_threads() -> bool:
    """Whether this process was forked, before it imported us, from one that had started Numba's threads."""
    if not getattr(numba.np.ufunc.parallel, "_is_initialized", False):
        return False
    try:
        flags = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[6])
    except (OSError, ValueError, IndexError):  # not Linux
        return False
    return bool(flags & 0x40)  # PF_FORKNOEXEC


_process = _Process(_is_child_of_threads())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def launch(kernel: Kernel, args: Any, threads: int, dtype: np.dtype[Any] | None = None) -> int:
    """Run `kernel` with this many threads (see `threads_for`), or on one if need be; returns how many it were.

    Who names the dtype of the first array in `args` promises that all are of the one type that the kernel is compiled
    for, and spares Numba's look at them.
    """
    run = kernel.entry(dtype)
    ran = 1
    # The number may be older than the fork.
    if threads > 1 and not _process.forked:
        # A lock that a signal handler's exception can't leave taken: between a lock's `acquire` and the `try` after it
        # there is always a moment for that. Whoever writes the name first has it.
        busy, token = _process.launching, object()
        try:
            if busy.setdefault("by", token) is token:
                ran = threads
                run(args, region_address(), threads)
        finally:
            if "by" in busy and busy["by"] is token:
                del busy["by"]
    if ran == 1:
        run(args, 0, 1)
    if dtype is not None and run is kernel.compiled:
        kernel.remember(dtype)
    return ran


def threads_for(operations: float, n_threads: int | None = None) -> int:
    """The number of threads that pays for one launch; 1 means no region.

    Parameters
    ----------
    operations : float
        Floating-point operations of the launch (a multiply-add is two).
    n_threads : int, optional
        The most threads to use; by default `available_threads`. Naming it allows parallel launches under workqueue.
    """
    if n_threads is not None:
        n_threads = check_n_threads(n_threads)
    if operations < LEAST_OPERATIONS:
        return 1
    most = usable_threads(n_threads)
    if most == 1:
        return 1
    measured = machine(most)
    return 1 if measured is None else threads_that_pay(operations, most, measured)


def pace(operations: float, regions: int, total: float, parts: int, n_threads: int | None = None) -> Pace:
    """The `Pace` of `total` operations in units of `operations`, in so many parts (see `threads_for`)."""
    most = 1 if total < 100 * LEAST_OPERATIONS else min(parts, usable_threads(n_threads))
    measured = machine(most) if most > 1 else None
    if measured is None:
        most, measured = 1, Machine(0.0, 0.0)
    return Pace(most, operations, regions, measured)


@contextmanager
def sharing(work: object) -> Iterator[None]:
    """Until the end, `work` is among those between which the process's threads are shared.

    As in a grid search in threads: two trainings of two threads each on two processors, or one of two beside one of
    one, took 1.1 times as long as two of one.
    """
    _process.sharing.add(work)
    try:
        yield
    finally:
        _process.sharing.discard(work)


def each_share(n_threads: int) -> int:
    """What each `sharing` work has of so many threads."""
    return max(1, n_threads // max(1, len(_process.sharing)))


def machine(n_threads: int) -> Machine | None:
    """What `measure` found, now or not long ago; None if somebody else launches just now."""
    found = _process.measured.get(n_threads)
    now = time.monotonic()
    if found is not None and now < found.until:
        return found.machine
    busy, token = _process.launching, object()
    try:
        if busy.setdefault("by", token) is token:
            pause = _FIRST_PAUSE if found is None else min(2 * found.pause, _LONGEST_PAUSE)
            found = _process.measured[n_threads] = _Measured(measure(n_threads), now + pause, pause)
    finally:
        if "by" in busy and busy["by"] is token:
            del busy["by"]
    return None if found is None else found.machine


def usable_threads(n_threads: int | None = None) -> int:
    """The most threads that a launch may use now; 1 where parallel launches aren't safe or can't be had."""
    most = available_threads() if n_threads is None else min(check_n_threads(n_threads), _numba_threads())
    if most == 1 or _process.forked:
        return 1
    layer = _threading_layer()
    if layer is None or (layer == "workqueue" and n_threads is None):
        return 1
    if n_threads is None:
        most = min(most, get_num_threads())  # what numba.set_num_threads said, if anybody called it
    return most


def check_n_threads(n_threads: int) -> int:
    """`n_threads` itself, if it is a whole number of at least 1."""
    return check_whole("n_threads", n_threads, 1, " or None")


def available_threads() -> int:
    """The threads to use where nobody says: the least of all limits that this process lives under.

    These are Numba's own (``NUMBA_NUM_THREADS``), ``FASTNN_NUM_THREADS``, ``OMP_NUM_THREADS``, the
    processors that the process may run on, and the container's quota.
    """
    limits = [_numba_threads(), _process_limit()]
    for variable in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one number for each level of nesting.
        first = os.environ.get(variable, "").split(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            limits.append(int(first))
    return min(limits)


def _numba_threads() -> int:
    return int(numba.config.NUMBA_NUM_THREADS)


@functools.cache
def _process_limit() -> int:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, _container_quota()))


def _container_quota() -> int:
    """Whole processors that the container's CPU quota allows (Linux cgroups, version 2, then 1)."""
    root = Path("/sys/fs/cgroup")
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 1_000_000
    if quota in ("max", "-1"):
        return 1_000_000
    return max(1, math.ceil(int(quota) / int(period)))


@functools.cache
def _threading_layer() -> str | None:
    """The name of Numba's threading layer, or None if the one that is asked for can't be had."""
    try:
        get_num_threads()  # starts Numba's threads: the layer has no name before
        return str(numba.threading_layer())
    except ValueError as error:
        warnings.warn(f"Numba has no threads for fastnn, which goes on with one: {error}", RuntimeWarning, stacklevel=2)
        return None
