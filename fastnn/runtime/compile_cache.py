"""Where compiled kernels are kept on disk, and when a kept one may run.

Numba keys a cached function on its own source file. A kernel here calls functions of other files, so an edit
there would leave stale machine code running. fastnn's cache files carry a hash of every kernel source instead. They lie
in a directory of the user's own, of mode 0700, because they are pickles. A file that can't be read is a reason to
compile again, never an error.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TypeVar

import llvmlite
import numba

from fastnn.runtime import numba_private

_PACKAGE = Path(__file__).resolve().parent.parent
# The folders of all files that compiled code comes from.
STAMPED = ("kernels", "runtime")

# Numba's settings that change machine code. The environment sets each one by its name with NUMBA_ in front, except:
# NUMBA_DEBUGINFO sets DEBUGINFO_DEFAULT, NUMBA_DISABLE_INTEL_SVML decides USING_SVML, and MACHINE_BITS is the
# interpreter's. Numba's other settings change what is printed, checked or measured, not the code.
SETTINGS = (
    "BOUNDSCHECK",
    "CPU_FEATURES",
    "CPU_NAME",
    "DEBUG_ARRAY_OPT_RUNTIME",
    "DEBUG_NRT",
    "DEBUGINFO_DEFAULT",
    "ENABLE_AVX",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "MACHINE_BITS",
    "OPT",
    "PARFOR_MAX_TUPLE_SIZE",
    "SLP_VECTORIZE",
    "USING_SVML",
)


def user_cache_root() -> Path:
    """The directory for a user's caches, by the platform's convention."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def cache_directory() -> Path | None:
    """The directory of compiled kernels, made private to this user, or None where no directory can be made.

    The directory is ``kernels`` in ``FASTNN_CACHE_DIR``, if that is set. Otherwise it is ``fastnn/kernels`` in the
    user's cache directory, or, where that can't be written, ``kernels`` in a directory of this user's in the system's
    temporary directory. Only ``kernels``, which fastnn makes itself, changes its mode.
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
    """Make `directory` with mode 0700. The result is False if it can't be written or belongs to somebody else."""
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
    """Whether a directory that can't be written, as in a read-only container, is private and holds these kernels."""
    try:
        private = not hasattr(os, "getuid") or (
            stat.S_IMODE(directory.lstat().st_mode) == 0o700 and directory.lstat().st_uid == os.getuid()
        )
        return private and any((directory / source_stamp()[:16]).glob("*.nbi"))
    except OSError:
        return False


@functools.cache
def source_stamp() -> str:
    """A hash of everything that decides what a kernel compiles to."""
    settings = {name: getattr(numba.config, name, None) for name in SETTINGS}
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {settings} {numba_private.CODE}".encode())
    for folder in STAMPED:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


Dispatcher = TypeVar("Dispatcher")


def keep_on_disk(dispatcher: Dispatcher) -> Dispatcher:
    """Give a Numba dispatcher fastnn's cache, and return the dispatcher."""
    if hasattr(dispatcher, "py_func"):  # under NUMBA_DISABLE_JIT it is a plain function
        directory = cache_directory()
        if directory is not None:
            numba_private.keep_on_disk(dispatcher, directory, source_stamp())
    return dispatcher
