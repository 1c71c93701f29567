"""Where compiled kernels are kept on disk, and when a kept one may run.

Numba keys a cached function on its own source file. A kernel here calls functions of other files, so an edit
there would leave stale machine code running. Our cache files carry a hash of every kernel source instead, live in a
directory of the user's own (mode 0700: they are pickles), and a file that can't be read is a reason to
compile again, never an error.

This is the only file that touches Numba's private caching classes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator

_PACKAGE = Path(__file__).resolve().parent.parent
# The folders of all files that compiled code comes from.
STAMPED = ("kernels", "runtime")


def user_cache_root() -> Path:
    """The directory that a user's caches belong in, by the platform's convention."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def cache_directory() -> Path | None:
    """The directory of compiled kernels, made private to this user, or None where no directory can be had.

    It is ``kernels`` (of our own making: nobody else's directory changes its mode) in ``FASTNN_CACHE_DIR``; otherwise
    in ``fastnn`` in the user's cache directory, or, where that can't be written, in a directory of this user's
    below the system's temporary one.
    """
    configured = os.environ.get("FASTNN_CACHE_DIR")
    if configured:
        candidates = [Path(configured)]
    else:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        candidates = [Path(tempfile.gettempdir()) / f"fastnn-cache-{user}"]
        with contextlib.suppress(RuntimeError):  # no home directory
            candidates.insert(0, user_cache_root() / "fastnn")
    for candidate in candidates:
        directory = candidate / "kernels"
        if _make_private(directory) or _is_filled(directory):
            return directory
    warnings.warn(
        f"fastnn can't keep compiled kernels in {candidates[0]}: each process will compile them anew. "
        "Set FASTNN_CACHE_DIR to a writable directory of your own.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _make_private(directory: Path) -> bool:
    """Make `directory` with mode 0700; False if it can't be written or belongs to somebody else."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            status = directory.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                return False
            if stat.S_IMODE(status.st_mode) != 0o700:
                directory.chmod(0o700)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _is_filled(directory: Path) -> bool:
    """Whether a directory that can't be written is a private one with our kernels, as in a read-only container."""
    try:
        private = not hasattr(os, "getuid") or (
            stat.S_IMODE(directory.lstat().st_mode) == 0o700 and directory.lstat().st_uid == os.getuid()
        )
        return private and any((directory / source_stamp()[:16]).glob("*.nbi"))
    except OSError:
        return False


@functools.cache
def source_stamp() -> str:
    """A hash of everything that decides what a kernel compiles to, the processor aside (Numba adds that)."""
    options = (numba.config.BOUNDSCHECK, numba.config.OPT, numba.config.DEBUGINFO_DEFAULT)
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {options}".encode())
    for folder in STAMPED:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _Locator(_CacheLocator):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any], directory: Path) -> None:
        self._directory = directory
        self._py_file = function.__code__.co_filename  # named in Numba's warning that a function can't be cached
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        # A stamp of its own per folder: two versions side by side don't overwrite each other's index.
        return str(self._directory / source_stamp()[:16])

    def get_source_stamp(self) -> str:
        return source_stamp()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Impl(CompileResultCacheImpl):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        directory = cache_directory()
        assert directory is not None
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, directory)
        name = f"{function.__module__}.{function.__qualname__}"
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class _CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's cache file with a SHA-256 before the code: damaged code would end the process."""

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


class KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's function cache in our directory, with our stamp, that never raises."""

    _impl_class = _Impl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # truncated, foreign or unreadable: whatever it is, compile instead
            self._discard()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception:  # a full disk, or an index that can't be read back
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()


Dispatcher = TypeVar("Dispatcher")


def keep_on_disk(dispatcher: Dispatcher) -> Dispatcher:
    """Give a Numba dispatcher our cache; returns the dispatcher (under NUMBA_DISABLE_JIT a plain function)."""
    if hasattr(dispatcher, "py_func") and cache_directory() is not None:
        compiled: Any = dispatcher
        compiled._cache = KernelCache(compiled.py_func)
    return dispatcher
