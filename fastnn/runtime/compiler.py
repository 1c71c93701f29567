"""How Numba compiles fastnn's functions: `jit` if compiled code calls them, `jit_entry` if Python calls them.

Numba optimises and translates each function by itself, and again in every function that calls it: with six levels
of calls, the tile was translated six times. What `jit` compiles stays unoptimised code, which is optimised once, where
an entry takes it in. A first fit on digits took 11.8 s before, and 4.7 s with this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from numba import config, extending, njit

from fastnn.errors import CompilerError
from fastnn.runtime.numba_private import entry_options, make_callable, part_options, region_options

Function = TypeVar("Function", bound=Callable[..., Any])

# error_model="numpy": under the default one division in a loop stops its vectorisation. There is no fastmath: nothing
# may be reassociated, and NaN must survive. The kernels' arrays are held by the Python frame that launches, and no
# kernel may allocate: `numba_private` turns reference counting off.
_OPTIONS = {"error_model": "numpy", "nogil": True}


def refuse(setting: str) -> NoReturn:
    """Raise the error for one of Numba's settings, by its name in `numba.config`, with which no kernel runs."""
    raise CompilerError(
        f"fastnn's kernels can't be compiled with Numba's setting NUMBA_{setting}: unset this environment variable, or "
        f"{setting.lower()} in the file .numba_config.yaml."
    )


def jit(function: Function) -> Function:
    """Compile a function that compiled code calls, on first use."""
    part = njit(**_OPTIONS, **part_options())(function)
    make_callable(part)
    return cast(Function, part)


def jit_entry(function: Function) -> Function:
    """Compile a function that Python calls, for one thread, on first use."""
    if config.DISABLE_JIT:  # the plain function would end deep inside: what is written in LLVM's language has no other
        return cast(Function, functools.wraps(function)(lambda *args: refuse("DISABLE_JIT")))
    return cast(Function, njit(**_OPTIONS, **entry_options())(function))


def jit_parallel(function: Function) -> Function:
    """Compile a function with parallel regions, on first use."""
    return cast(Function, njit(**_OPTIONS, **region_options(), parallel=True)(function))


def inline(function: Function) -> Function:
    """Compile a function together with each function that calls it, under the caller's options.

    This is Numba's ``register_jitable`` with type annotations.
    """
    return cast(Function, extending.register_jitable(function))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an intrinsic of a function that writes LLVM code: Numba's ``intrinsic`` with type annotations."""
    return cast(Callable[..., Any], extending.intrinsic(function))
