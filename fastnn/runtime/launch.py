"""The one place that decides how a kernel runs: on how many threads, serial or parallel.

Numba's threading layers can end the host process: workqueue aborts when two Python threads launch at once, GNU omp
kills a forked child at its first parallel kernel, and neither can be caught. So parallel launches are taken one
at a time behind a lock that nobody waits for (whoever finds it taken runs the serial twin, with the same bits),
a forked child stays serial for good, and under workqueue, where another library's launch can't be
guarded, we stay serial unless the caller names a number of threads.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import get_num_threads, njit, prange, types

from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.cost import threads_that_pay

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile a kernel for one thread, on first use.

    ``error_model="numpy"``: under the default one division in a loop stops its vectorisation. No fastmath: nothing may
    be reassociated, and NaN must survive. ``_nrt=False``: no reference counting. The launching Python frame holds every
    array, and the counters' atomic additions, in two threads at once, made an epoch of 784-128-10 forty times
    slower. So no kernel may allocate.
    """
    return cast(Function, njit(error_model="numpy", nogil=True, _nrt=False)(function))


def jit_parallel(function: Function) -> Function:
    """`jit` with parallel regions."""
    return cast(Function, njit(error_model="numpy", nogil=True, _nrt=False, parallel=True)(function))


# The threading layer's own functions: Numba's get_num_threads and set_num_threads hold a process's addresses, and a
# kernel that calls them can't be kept on disk. The types are those that Numba's own parallel code declares for
# them.
get_mask: Any = types.ExternalFunction("get_num_threads", types.intp())
set_mask: Any = types.ExternalFunction("set_num_threads", types.void(types.intp))


all_twins: list[Twins] = []


@dataclass(frozen=True)
class Twins:
    """One kernel compiled twice, with the same bits: ``serial(args)`` and ``parallel(args, n_threads)``."""

    name: str
    serial: Any
    parallel: Any

    def __post_init__(self) -> None:
        all_twins.append(self)

    def compile_parallel(self) -> None:
        """Compile the parallel twin, or load it from disk, for each dtype that the serial one has run with."""
        get_num_threads()  # parallel code refers to the threading layer's symbols
        for signature in self.serial.signatures:
            self.parallel.compile((*signature, types.int64))


def twins(body: Callable[[Any, int, int], None]) -> Twins:
    """The twins of a block body ``body(args, part, parts)``, which writes only what its part of the work owns."""
    return Twins(
        name=body.__name__,
        serial=keep_on_disk(jit(_instance(_serial, body))),
        parallel=keep_on_disk(jit_parallel(_instance(_parallel, body))),
    )


def _body(args: Any, part: int, parts: int) -> None:
    """Stands for the block body in the two templates below."""


def _serial(args: Any) -> None:
    _body(args, 0, 1)


def _parallel(args: Any, n_threads: int) -> None:
    # The caller's thread mask is restored in compiled code: from Python that costs 1.5 µs.
    caller = get_mask()
    set_mask(n_threads)
    for part in prange(n_threads):
        # prange counts unsigned, and unsigned with signed makes a float.
        _body(args, np.int64(part), n_threads)  # type: ignore[arg-type]
    set_mask(caller)


@jit
def share(n_items: int, unit: int, part: int, parts: int) -> tuple[int, int]:
    """The items, first to last but one, that `part` of `parts` owns: whole units, as even as can be."""
    n_units = (n_items + unit - 1) // unit
    first = n_units * part // parts * unit
    last = n_units * (part + 1) // parts * unit
    return min(first, n_items), min(last, n_items)


def _instance(template: Callable[..., Any], body: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a template with its own body and name.

    The name tells the twins' cache files apart (Numba's key has neither `parallel` nor the body in it), and a global,
    unlike a closure over a dispatcher, has the same hash in every process.
    """
    assert isinstance(template, FunctionType)
    copy = FunctionType(template.__code__, {**template.__globals__, "_body": body}, template.__name__)
    copy.__qualname__ = f"{body.__module__.rpartition('.')[2]}.{body.__name__}{template.__name__}"
    return copy


class _Process:
    """What this process may do: the lock around parallel launches, and whether it is a fork's child."""

    def __init__(self) -> None:
        self.launching = threading.Lock()
        self.forked = False

    def after_fork(self) -> None:
        self.launching = threading.Lock()
        self.forked = True


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def launch(kernel: Twins, *args: Any, threads: int) -> Any:
    """Run `kernel` on `args` (the serial twin's) with this many threads (see `threads_for`), or on one if need be."""
    # The number may be older than the fork.
    if threads > 1 and not _process.forked and _process.launching.acquire(blocking=False):
        try:
            return kernel.parallel(*args, threads)
        finally:
            _process.launching.release()
    return kernel.serial(*args)


def threads_for(operations: float, regions: int = 1, n_threads: int | None = None) -> int:
    """The number of threads that pays; 1 means the serial twin.

    Parameters
    ----------
    operations : float
        Floating-point operations of the launch (a multiply-add is two).
    regions : int
        Parallel regions that they are cut into.
    n_threads : int, optional
        The most threads to use; by default `available_threads`. Naming it allows parallel launches under workqueue.
    """
    most = available_threads() if n_threads is None else min(check_n_threads(n_threads), _numba_threads())
    if most == 1 or _process.forked:
        return 1
    # Asked for the cheapest layer before the true one: to name its layer, Numba must start its threads.
    if threads_that_pay(operations, regions, most, "omp") == 1:
        return 1
    layer = _threading_layer()
    if layer is None or (layer == "workqueue" and n_threads is None):
        return 1
    if n_threads is None:
        most = min(most, get_num_threads())  # what numba.set_num_threads said, if anybody called it
    return threads_that_pay(operations, regions, most, layer)


def check_n_threads(n_threads: int) -> int:
    """`n_threads` itself, if it is a whole number of at least 1."""
    if isinstance(n_threads, bool) or not isinstance(n_threads, (int, np.integer)):
        raise TypeError(f"n_threads must be a whole number or None, got {n_threads!r}.")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1 or None, got {n_threads}.")
    return int(n_threads)


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
