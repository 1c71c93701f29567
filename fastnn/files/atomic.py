"""Files that appear whole or not at all: a temporary file beside the target, fsync, rename."""

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
    """Open a file that takes the place of `path` when the ``with`` block ends well.

    Until then `path` is what it was, absent or old. When the block raises, the temporary file is removed.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed: the file that it points to is replaced.

    Yields
    ------
    BinaryIO
        The temporary file, in the same directory, open for writing.

    Raises
    ------
    OSError
        If the directory doesn't exist or can't be written, or `path` is something else than a file.
    """
    target = Path(os.path.realpath(path))
    check_replaceable(target)
    _remove_orphans(target)
    descriptor, temporary = _create_temporary(target)
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                temporary.replace(target)  # while it is locked: a closed one would pass for an orphan
        if fcntl is None:
            temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(target.parent)


def _temporary_prefix(target: Path) -> str:
    # Not the name itself, which may be as long as a name can be.
    return f".fastnn-{hashlib.sha256(target.name.encode(errors='surrogateescape')).hexdigest()[:8]}-"


def _create_temporary(target: Path) -> tuple[int, Path]:
    """A new file beside the target, locked for as long as this process has it open: it is no orphan."""
    while True:
        temporary = target.with_name(f"{_temporary_prefix(target)}{secrets.token_hex(8)}.tmp")
        # Not `tempfile`: its files are private to the user (0600), and the rename would carry that over to the target.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # another process took it for an orphan before it was locked


@functools.cache
def _remove_orphans(target: Path) -> None:
    """Remove the temporary files that writers of the target left when they were killed; once in a process."""
    for path in target.parent.glob(f"{_temporary_prefix(target)}*.tmp"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                if _lock(descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the file could be locked, which nobody else has done then; None where files can't be."""
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
    """Raise the OSError that `replacing` would end in, as far as it can be known without writing.

    A program that works for an hour before it writes asks this first.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}.")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder.")
    # A rename would put an ordinary file where a device or a pipe was.
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(f"{path} is no ordinary file and can't be replaced by one.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: no right to write in the folder {target.parent}.")


def _sync_directory(directory: Path) -> None:
    """Make the rename survive a power cut, where the system can sync a directory."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
