"""How Numba compiles our functions: `jit` for those that compiled code calls, `jit_entry` for those that Python calls.

Numba optimises and translates each function by itself, and again in every function that calls it: with six levels
of calls, the tile was translated six times. What `jit` compiles stays unoptimised code, which is optimised once, where
an entry takes it in. A first fit on digits took 11.8 s before, and 4.7 s with this.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

Function = TypeVar("Function", bound=Callable[..., Any])
Found = TypeVar("Found")

# error_model="numpy": under the default one division in a loop stops its vectorisation. No fastmath: nothing may be
# reassociated, and NaN must survive. _nrt=False: no reference counting. The launching Python frame holds every
# array, and the counters' atomic additions, in two threads at once, made an epoch of 784-128-10 forty times slower. So
# no kernel may allocate.
_OPTIONS = {"error_model": "numpy", "nogil": True, "_nrt": False}


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """Code to be taken into other code: neither optimised nor translated by itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        return _NoEnvironment()


class _NoEnvironment:
    """What Numba tells of a function's environment: the address of Python objects, of which ours have none."""

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _PartCompiler(Compiler):  # type: ignore[misc]
    def compile_extra(self, function: Callable[..., Any]) -> Any:
        self.state.library = _Part(self.state.targetctx.codegen(), function.__qualname__)
        return super().compile_extra(function)


class _PartDispatcher(CPUDispatcher):  # type: ignore[misc]
    """A part has no code that Python could call: it gets an entry for that when it is called, as the tests do."""

    def __call__(self, *args: Any) -> Any:
        entry = self.__dict__.get("_entry")
        if entry is None:
            entry = self.__dict__["_entry"] = jit_entry(self.py_func)
        return entry(*args)


def jit(function: Function) -> Function:
    """Compile a function that compiled code calls, on first use."""
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}
    dispatcher = njit(**_OPTIONS, **options)(function)
    if isinstance(dispatcher, CPUDispatcher):  # under NUMBA_DISABLE_JIT it is the function itself
        dispatcher.__class__ = _PartDispatcher
    return cast(Function, dispatcher)


def jit_entry(function: Function) -> Function:
    """Compile a function that Python calls, for one thread, on first use."""
    return cast(Function, njit(**_OPTIONS, no_cfunc_wrapper=True)(function))


def jit_parallel(function: Function) -> Function:
    """Compile a function with parallel regions, on first use."""
    return cast(Function, njit(**_OPTIONS, parallel=True)(function))


def late(load: Callable[[], Found]) -> Callable[[], Found]:
    """A function that imports what few need, and gives it: it runs once, and no process forks meanwhile."""
    return functools.cache(global_compiler_lock(load))


# A fork waits for what is being compiled, longer than any of it takes, but not for ever: whoever compiles may wait for
# the thread that forks.
_LONGEST_WAIT = 60.0


class _ForkGuard:
    """Lets no process fork while another thread compiles, or imports what a kernel's first call does.

    The child would find the compiler's locks, or a module's, taken by a thread that it doesn't have, and wait for it
    at its first kernel, for ever.
    """

    def __init__(self) -> None:
        self._lock: Any = global_compiler_lock._lock
        self._held = threading.local()  # two threads may fork at once

    def before(self) -> None:
        self._held.here = False
        # NumPy loads it when Numba, or we, first ask whether an array is masked.
        with suppress(BaseException):
            importlib.import_module("numpy.ma")
        end = time.monotonic() + _LONGEST_WAIT
        while not self._held.here and time.monotonic() < end:
            # What is raised here, by Ctrl-C for instance, goes nowhere: the fork comes in any case.
            with suppress(BaseException):
                self._held.here = self._lock.acquire(timeout=max(0.0, end - time.monotonic()))

    def after(self) -> None:
        if self._held.here:
            self._lock.release()


if hasattr(os, "register_at_fork"):
    _guard = _ForkGuard()
    os.register_at_fork(before=_guard.before, after_in_parent=_guard.after, after_in_child=_guard.after)
