"""The only file that touches Numba's internals, and what fastnn does where one of them is missing.

Each function below builds on one group of internals. Its docstring says what the internals do for fastnn, and what
happens without them. All of them were run with the versions in `TESTED`. If a group is missing, or a name in it has
changed, fastnn goes on in a slower way through Numba's public interface, with the same bits, and a process warns once.

Not counted as internal is what Numba documents for extensions: ``numba.extending``, ``numba.types``, ``numba.config``,
and, in the code generators of intrinsics, ``llvmlite.ir``, ``numba.core.cgutils`` and the context's ``make_array``,
``get_value_type`` and ``get_dummy_value``. These stay where they are used.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba import types

# The oldest and the newest version that the tests were run with: `tools/numba_versions.py` runs them.
TESTED = ("0.66.0", "0.68.1")

_warned: list[str] = []


def _do_without(consequences: list[str]) -> None:
    """Warn that internals are missing, unless this process has already warned."""
    if consequences and not _warned:
        _warned.extend(consequences)
        warnings.warn(
            f"fastnn was tested with Numba {TESTED[0]} to {TESTED[1]}. Numba {numba.__version__} lacks internals that "
            f"fastnn relies on, so fastnn works more slowly: {'; '.join(consequences)}. The results are the same.",
            RuntimeWarning,
            stacklevel=3,
        )


def _need(owner: Any, *names: str) -> None:
    for name in names:
        getattr(owner, name)


def _part_compiler() -> Any:
    """The compiler of parts, which are neither optimised nor translated by themselves, only in their callers.

    Numba optimises and translates each function by itself, and again in each function that calls it. Without this
    compiler the first fit takes twice as long.
    """
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler

    _need(JITCodeLibrary, "_optimize_final_module", "_finalize_final_module", "get_pointer_to_function", "codegen")
    _need(Compiler, "compile_extra")

    class NoEnvironment:
        """Stands for the code generator, which Numba tells the address of Python objects: parts have none."""

        def set_env(self, name: str, environment: Any) -> None:
            pass

    class Part(JITCodeLibrary):  # type: ignore[misc]
        def _optimize_final_module(self) -> None:
            pass

        def _finalize_final_module(self) -> None:
            self._finalized = True

        def get_pointer_to_function(self, name: str) -> int:
            return 0

        @property
        def codegen(self) -> Any:
            return NoEnvironment()

    class PartCompiler(Compiler):  # type: ignore[misc]
        def compile_extra(self, function: Callable[..., Any]) -> Any:
            try:
                _need(self.state, "library")
                library = Part(self.state.targetctx.codegen(), function.__qualname__)
            except (AttributeError, KeyError, TypeError):
                _do_without([_SLOW_COMPILE])
            else:
                self.state.library = library
            return super().compile_extra(function)

    return PartCompiler


def _options() -> dict[str, Any]:
    """Options of ``njit`` that Numba doesn't document.

    ``_nrt=False`` leaves out reference counting: its atomic additions, in two threads at once, made an epoch of
    784-128-10 forty times slower. The others leave out wrappers that nobody calls, which saves time in compiling.
    """
    from numba.core.cpu import CPUTargetOptions

    _need(CPUTargetOptions, "_nrt", "no_cpython_wrapper", "no_cfunc_wrapper")
    return {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _located() -> Any:
    """Numba's finder of a function's cache file, which looks in a given directory."""
    from numba.core.caching import CompileResultCacheImpl, _CacheLocator

    _need(CompileResultCacheImpl, "get_filename_base", "filename_base", "locator")

    class Locator(_CacheLocator):  # type: ignore[misc]
        def __init__(self, function: Callable[..., Any], directory: Path, stamp: str) -> None:
            self._directory, self._stamp = directory, stamp
            self._py_file = function.__code__.co_filename  # Numba names this file if the function can't be cached
            self._line = function.__code__.co_firstlineno

        def get_cache_path(self) -> str:
            # Each stamp has a folder of its own: two versions side by side don't overwrite each other's index.
            return str(self._directory / self._stamp[:16])

        def get_source_stamp(self) -> str:
            return self._stamp

        def get_disambiguator(self) -> str:
            return str(self._line)

    class Impl(CompileResultCacheImpl):  # type: ignore[misc]
        def __init__(self, directory: Path, stamp: str, function: Callable[..., Any]) -> None:
            self._lineno = function.__code__.co_firstlineno
            self._locator = Locator(function, directory, stamp)
            name = f"{function.__module__}.{function.__qualname__}"
            self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))

    return Impl


def _checked_file() -> Any:
    """Numba's cache file with a SHA-256 before the code, because damaged code would end the process."""
    from numba.core.caching import IndexDataCacheFile

    _need(IndexDataCacheFile, "_save_data", "_load_data", "_dump", "_open_for_write", "_data_path")

    class CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
        def _save_data(self, name: str, data: Any) -> None:
            content = self._dump(data)
            with self._open_for_write(self._data_path(name)) as file:
                file.write(hashlib.sha256(content).digest() + content)

        def _load_data(self, name: str) -> Any:
            stored = Path(self._data_path(name)).read_bytes()
            size = hashlib.sha256().digest_size
            if hashlib.sha256(stored[size:]).digest() != stored[:size]:
                raise ValueError(f"{name} is damaged")
            return pickle.loads(stored[size:])

    return CheckedFile


def _kernel_cache() -> Any:
    """Numba's function cache in a given directory, with a stamp of all sources and a checksum of each file.

    Numba's own cache keys a function on its own source file, so it would run old code after an edit in another file.
    Without this class nothing is kept on disk, and each process compiles its kernels.
    """
    from numba.core.caching import FunctionCache

    _need(FunctionCache, "load_overload", "save_overload", "flush", "_impl_class")
    located, checked_file = _located(), _checked_file()

    class KernelCache(FunctionCache):  # type: ignore[misc]
        """A function cache that never raises."""

        def __init__(self, function: Callable[..., Any], directory: Path, stamp: str) -> None:
            self._impl_class = functools.partial(located, directory, stamp)
            super().__init__(function)
            self._cache_file = checked_file(self._cache_path, self._impl.filename_base, stamp)

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # the file is truncated, foreign or unreadable: in each case compile instead
                self._discard()
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception:  # a full disk, or an index that can't be read back
                self._discard()

        def _discard(self) -> None:
            with suppress(OSError):
                self.flush()

    return KernelCache


def _compiler_lock() -> Any:
    """The lock that a thread holds while it compiles, which can be waited for with a timeout.

    `runtime.forks` takes this lock before a fork. Without it, a child that is forked while another thread compiles may
    wait for ever at its first kernel.
    """
    from numba.core.compiler_lock import global_compiler_lock

    _need(global_compiler_lock, "_lock")
    _need(global_compiler_lock._lock, "acquire", "release")
    return global_compiler_lock._lock


def _calls_of_parts() -> bool:
    """Whether an intrinsic can call a body from a function that the intrinsic makes itself (see `emit_call`).

    `runtime.region.run_parts` makes one such function for each kernel. Without it a kernel runs on one thread.
    """
    from numba.core.base import BaseContext
    from numba.core.codegen import CodeLibrary

    _need(types.Dispatcher, "get_call_type", "dispatcher")
    _need(BaseContext, "call_internal_no_propagate", "active_code_library")
    _need(CodeLibrary, "add_linking_library")
    if not numba.config.DISABLE_JIT:
        _need(numba.njit(lambda: None), "overloads")
    return True


_SLOW_COMPILE = "compiling takes longer"
_GROUPS: dict[Callable[[], Any], str] = {
    _part_compiler: _SLOW_COMPILE,
    _options: "arrays are reference-counted, and compiling takes longer",
    _kernel_cache: "compiled kernels aren't kept on disk",
    _compiler_lock: "a fork doesn't wait for other threads that compile",
    _calls_of_parts: "every kernel runs on one thread",
}


def _find() -> dict[Callable[[], Any], Any]:
    """What each group gives, or None where an internal of the group is missing."""
    found: dict[Callable[[], Any], Any] = {}
    for group in _GROUPS:
        try:
            found[group] = group()
        except (ImportError, AttributeError):
            found[group] = None
    _do_without([consequence for group, consequence in _GROUPS.items() if found[group] is None])
    return found


_found = _find()
HAS_PARTS = bool(_found[_calls_of_parts])
# The groups that change machine code, and whether each was found: the compile cache tells them apart.
CODE = tuple(_found[group] is not None for group in (_part_compiler, _options, _calls_of_parts))
compiler_lock: Any = _found[_compiler_lock] or threading.RLock()


def entry_options() -> dict[str, Any]:
    """The options of ``njit`` for what Python calls."""
    return {name: value for name, value in (_found[_options] or {}).items() if name != "no_cpython_wrapper"}


def region_options() -> dict[str, Any]:
    """The options of ``njit`` for what machine code calls by its address."""
    return {name: value for name, value in (_found[_options] or {}).items() if name == "_nrt"}


def part_options() -> dict[str, Any]:
    """The options of ``njit`` for what compiled code calls."""
    options, compiler = _found[_options], _found[_part_compiler]
    if options is None:
        return {}
    return options if compiler is None else {**options, "pipeline_class": compiler}


@functools.cache
def _callable_part(kind: Any) -> Any:
    class PartDispatcher(kind):  # type: ignore[misc]
        def __call__(self, *args: Any) -> Any:
            entry = self.__dict__.get("_entry")
            if entry is None:
                options = {"error_model": "numpy", "nogil": True, **entry_options()}
                entry = self.__dict__["_entry"] = numba.njit(**options)(self.py_func)
            return entry(*args)

    return PartDispatcher


def make_callable(part: Any) -> None:
    """Let Python call a part, as the tests do: the part gets an entry then.

    A part has no wrapper for Python, and to call it all the same would end the process. So its dispatcher gets another
    class. Without `part_options` a part is an ordinary function and needs nothing.
    """
    if hasattr(part, "py_func") and part_options():  # under NUMBA_DISABLE_JIT a part is a plain function
        kind: Any = type(part)
        part.__class__ = _callable_part(kind)


def keep_on_disk(dispatcher: Any, directory: Path, stamp: str) -> None:
    """Give a dispatcher the cache of `_kernel_cache`."""
    cache = _found[_kernel_cache]
    if cache is None:
        return
    try:
        _need(dispatcher, "_cache")
        dispatcher._cache = cache(dispatcher.py_func, directory, stamp)
    except (AttributeError, TypeError):
        _do_without([_GROUPS[_kernel_cache]])


def entry_points(dispatcher: Any) -> list[tuple[Any, Any]]:
    """For each signature that is compiled: the arguments' types, and the function that Numba's dispatcher would call.

    The dispatcher looks at the type of each argument first: 0.8 µs of the 0.97 that an empty call takes. Without this
    function each launch calls the dispatcher.
    """
    if not hasattr(dispatcher, "py_func"):
        return []
    try:
        return [(arguments, compiled.entry_point) for arguments, compiled in dispatcher.overloads.items()]
    except (AttributeError, TypeError):
        _do_without(["each launch takes a microsecond longer"])
        return []


def native_address(dispatcher: Any, signature: tuple[Any, ...]) -> int:
    """The address of a compiled function of three integers that returns nothing, with C's calling convention.

    The function may come from the cache on disk. Without the internals, ``numba.cfunc`` compiles it in each process.
    """
    dispatcher.compile(signature)
    try:
        compiled = dispatcher.overloads[signature]
        return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))
    except (AttributeError, KeyError, TypeError):
        _do_without(["the parallel region is compiled in each process"])

    def call(first: int, second: int, third: int) -> None:
        dispatcher(first, second, third)

    entry: Any = numba.cfunc(types.void(*signature), nopython=True)(call)
    _kept.append(entry)
    return int(entry.address)


_kept: list[Any] = []  # the code behind an address has to live as long as the process


def has_mask_symbols() -> bool:
    """Whether the threading layer has its thread mask under the names that `runtime.region` calls, once it has started.

    Numba's own ``get_num_threads`` and ``set_num_threads`` hold a process's addresses, so a function that calls them
    can't be kept on disk. Without the symbols, such a function is compiled in each process.
    """
    if all(llvmlite.binding.address_of_symbol(name) for name in ("get_num_threads", "set_num_threads")):
        return True
    _do_without(["the parallel region is compiled in each process"])
    return False


def call_of(body: Any, typingctx: Any, args: tuple[Any, ...]) -> Any:
    """In an intrinsic: the signature of a call of the function `body` with arguments of these types."""
    return body.get_call_type(typingctx, args, {})


def emit_call(context: Any, builder: Any, body: Any, call: Any, args: list[Any]) -> Any:
    """In an intrinsic's code: call the function `body`, of signature `call`; returns Numba's status of the call."""
    compiled = body.dispatcher.overloads[call.args]
    context.active_code_library.add_linking_library(compiled.library)
    status, _ = context.call_internal_no_propagate(builder, compiled.fndesc, call, args)
    return status
