"""How many threads a launch may use, and how many of them pay.

The number of threads is the least of all limits that the process lives under. Under workqueue, where another library's
launch can't be guarded against, fastnn stays on one thread unless the caller names a number. Trainings in several
Python threads share the threads of the process.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
from numba import get_num_threads

from fastnn.errors import check_whole
from fastnn.runtime.cost import LEAST_OPERATIONS, Machine, Pace, threads_that_pay
from fastnn.runtime.numba_private import HAS_PARTS
from fastnn.runtime.process import process


def threads_for(operations: float, n_threads: int | None = None) -> int:
    """The number of threads that pays for one launch; 1 means no parallel region.

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
    measured = process.machine(most)
    return 1 if measured is None else threads_that_pay(operations, most, measured)


def pace(operations: float, regions: int, total: float, parts: int, n_threads: int | None = None) -> Pace:
    """The `Pace` of `total` operations, in units of `operations`, on at most `parts` threads (see `threads_for`)."""
    most = 1 if total < 100 * LEAST_OPERATIONS else min(parts, usable_threads(n_threads))
    measured = process.machine(most) if most > 1 else None
    if measured is None:
        most, measured = 1, Machine(0.0, 0.0)
    return Pace(most, operations, regions, measured)


@contextmanager
def sharing(work: object) -> Iterator[None]:
    """Within the context, `work` is one of the trainings that share the process's threads.

    A grid search in threads runs several trainings at once. On two processors, two trainings with two threads each took
    1.1 times as long as two trainings with one thread each. So did a training with two threads beside one with one.
    """
    process.sharing.add(work)
    try:
        yield
    finally:
        process.sharing.discard(work)


def each_share(n_threads: int) -> int:
    """How many of `n_threads` threads each training has that is `sharing` them."""
    return max(1, n_threads // max(1, len(process.sharing)))


def usable_threads(n_threads: int | None = None) -> int:
    """The most threads that a launch may use now; 1 where parallel launches are unsafe or impossible."""
    most = available_threads() if n_threads is None else min(check_n_threads(n_threads), _numba_threads())
    if most == 1 or process.forked:
        return 1
    layer = _threading_layer()
    if layer is None or not HAS_PARTS or (layer == "workqueue" and n_threads is None):
        return 1
    if n_threads is None:
        most = min(most, get_num_threads())  # what was given to numba.set_num_threads, if it was called
    return most


def check_n_threads(n_threads: int) -> int:
    """`n_threads` itself, if it is a whole number of at least 1."""
    return check_whole("n_threads", n_threads, 1, " or None")


def available_threads() -> int:
    """The number of threads to use where the caller names none: the least of this process's limits.

    The limits are Numba's own (``NUMBA_NUM_THREADS``), ``FASTNN_NUM_THREADS``, ``OMP_NUM_THREADS``, the
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
    """The name of Numba's threading layer, or None if the layer that the user asks for is missing."""
    try:
        get_num_threads()  # starts Numba's threads: the layer has no name before
        return str(numba.threading_layer())
    except ValueError as error:
        warnings.warn(f"Numba has no threads for fastnn, which goes on with one: {error}", RuntimeWarning, stacklevel=2)
        return None
