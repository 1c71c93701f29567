"""Kernels, and the one place that runs them, on one thread or on several.

Numba's threading layers can end the host process: workqueue aborts when two Python threads launch at once, GNU omp
kills a forked child at its first parallel kernel, and neither can be caught. So parallel launches are taken one at a
time, and nobody waits: a launch that finds another one under way runs on its own thread alone, with the same bits. A
forked child stays on one thread for good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import jit, jit_entry
from fastnn.runtime.numba_private import entry_points
from fastnn.runtime.process import process
from fastnn.runtime.region import region_address, run_parts
from fastnn.runtime.template import instance


@dataclass(frozen=True)
class Kernel:
    """A kernel, compiled once: ``compiled(args, region, n_threads)``, on one thread where the region's address is 0."""

    name: str
    compiled: Any
    _entries: dict[str, Any] = field(default_factory=dict)

    def entry(self, dtype: np.dtype[Any] | None) -> Any:
        """What to call: the machine code for `dtype` if it is known, otherwise Numba's dispatcher, which is slower."""
        return self.compiled if dtype is None else self._entries.get(dtype.char, self.compiled)

    def remember(self, dtype: np.dtype[Any]) -> None:
        """Find the machine code for `dtype`, once it is compiled."""
        for (args, *_), code in entry_points(self.compiled):
            if args[0].dtype.name == dtype.name:
                self._entries[dtype.char] = code


def kernel(body: Callable[[Any, int, int], None]) -> Kernel:
    """The kernel of a block body ``body(args, part, parts)``, which writes only what its part of the work owns."""
    return Kernel(body.__name__, keep_on_disk(jit_entry(instance(_entry, _body=body))))


def _body(args: Any, part: int, parts: int) -> None:
    """A placeholder for the block body, which `instance` puts into the template below."""


def _entry(args: Any, region: int, n_threads: int) -> None:
    run_parts(_body, args, region, n_threads)


@jit
def share(n_items: int, unit: int, part: int, parts: int) -> tuple[int, int]:
    """The items, from the first up to and without the last, that `part` of `parts` owns: whole units, evenly shared."""
    n_units = (n_items + unit - 1) // unit
    first = n_units * part // parts * unit
    last = n_units * (part + 1) // parts * unit
    return min(first, n_items), min(last, n_items)


def launch(kernel: Kernel, args: Any, threads: int, dtype: np.dtype[Any] | None = None) -> int:
    """Run `kernel` on this many threads (see `threads_for`), or on one if it must be; return how many were used.

    A caller that names the dtype of the first array in `args` promises that all arguments have the types that the
    kernel is compiled for with this dtype, and so saves Numba's look at them.
    """
    run = kernel.entry(dtype)
    ran = 1
    # The number of threads may have been chosen before a fork.
    if threads > 1 and not process.forked:
        busy, token = process.launching, object()  # not a lock, see `Process`
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
