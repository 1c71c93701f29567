"""Files that appear whole or not at all: written to a temporary file beside the target, synchronised, renamed."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the ``with`` block ends without an exception.

    Until then `path` stays absent, or the old file. If the block raises, the temporary file is removed.

    Parameters
    ----------
    path : str or path-like
        If it is a symbolic link, the file that the link points to is replaced.

    Yields
    ------
    BinaryIO
        The temporary file, in the same directory, open for writing.

    Raises
    ------
    OSError
        If the directory doesn't exist or can't be written, or `path` isn't an ordinary file.
    """
    target = Path(os.path.realpath(path))
    check_replaceable(target)
    _remove_orphans(target)
    descriptor, temporary = _create_temporary(target)
    try:
        _take_over(target, descriptor)
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                temporary.replace(target)  # while it is locked: another process would take a closed file for an orphan
        if fcntl is None:
            temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(target.parent)


def _temporary_prefix(target: Path) -> str:
    # Not the target's name, for that may have the greatest length that a name can have.
    return f".fastnn-{hashlib.sha256(target.name.encode(errors='surrogateescape')).hexdigest()[:8]}-"


def _create_temporary(target: Path) -> tuple[int, Path]:
    """A new file beside the target. While this process has it open it is locked, so nobody takes it for an orphan."""
    while True:
        temporary = target.with_name(f"{_temporary_prefix(target)}{secrets.token_hex(8)}.tmp")
        # Not `tempfile`: its files are readable by the user only (0600), and the renamed file would stay so.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # another process took the file for an orphan before it was locked


def _take_over(target: Path, descriptor: int) -> None:
    """Give a new file the group and the permissions of the file that it will replace, as far as this user may."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    if hasattr(os, "fchown"):
        with suppress(PermissionError):
            os.fchown(descriptor, -1, old.st_gid)
        # After the group: a change of the group takes away what the group had been given.
        with suppress(PermissionError):
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


@functools.cache
def _remove_orphans(target: Path) -> None:
    """Remove temporary files of the target whose writers were killed. Each process does this once for a target."""
    for path in target.parent.glob(f"{_temporary_prefix(target)}*.tmp"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                if _lock(descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the file could be locked: then no other process has locked it. None where files can't be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError that `replacing` would raise, as far as it can be foreseen without writing.

    A program that works for an hour before it writes calls this first.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}.")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder.")
    # A rename would put an ordinary file in the place of a device or a pipe.
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(f"{path} is no ordinary file and can't be replaced by one.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: no right to write in the folder {target.parent}.")


def _sync_directory(directory: Path) -> None:
    """Make the rename survive a power failure, where the system can synchronise a directory."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
