"""Where files lie: on the local disk, or in a file system or an object store that a URI names.

``s3://``, ``gs://``, ``abfs://``, ``hdfs://`` and ``file://`` are file systems of Arrow; any other scheme is looked up
in fsspec, if it is installed.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import stat
import tempfile
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs

from fastnn.files.atomic import check_replaceable, replacing
from fastnn.pipeline.columns.schema import DataError

# At least two letters, because "C:" is a drive of Windows.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# In these, a file appears when its last byte has been sent, so that no other name is needed until then.
_STORES = tuple(
    getattr(pyarrow.fs, name)
    for name in ("S3FileSystem", "GcsFileSystem", "AzureFileSystem")
    if hasattr(pyarrow.fs, name)
)


def is_uri(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URI, such as ``s3://bucket/key``, and not one of the local disk."""
    return _URI.match(os.fspath(path)) is not None


class Place(ABC):
    """A file or a folder, which may not be there yet.

    Attributes
    ----------
    name : str
        The path as the user gave it, without secrets, for messages and manifests.
    """

    name: str

    @property
    @abstractmethod
    def kind(self) -> str | None:
        """What is there: "file", "folder" or "other"; None if there is nothing."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """The file's size and time of change (`mtime_ns`), which tell whether it is still the same."""

    @abstractmethod
    def open(self) -> pa.NativeFile:
        """Open the file for reading anywhere in it."""

    @abstractmethod
    def below(self) -> Iterator[tuple[str, ...]]:
        """The paths of all files in this folder and in its subfolders, relative to it, as their parts."""

    @abstractmethod
    def __truediv__(self, relative: str) -> Place:
        """The place with this path relative to this folder."""

    @abstractmethod
    def beside(self, name: str) -> Place:
        """The place of another name in the same folder."""

    @abstractmethod
    def check_replaceable(self) -> None:
        """Raise the OSError that `replacing` would raise, as far as it can be foreseen without writing."""

    @abstractmethod
    def replacing(self) -> AbstractContextManager[BinaryIO]:
        """Open a file of the local disk whose content takes this place when the ``with`` block ends without an error.

        A local file is replaced by a rename. A file of an object store is replaced when the last of its bytes has been
        sent. In other file systems the file is sent under another name, and renamed.
        """

    @abstractmethod
    def remove(self) -> None:
        """Remove the file, if it is there."""

    @abstractmethod
    def make_folders(self) -> list[Place]:
        """Make the folders that the file needs; the result are the new ones, the innermost first."""

    @abstractmethod
    def remove_folder(self) -> None:
        """Remove this folder, if it is empty."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A text that is the same for two places if these are the same."""

    def read(self) -> bytes:
        """The file's content."""
        with self.open() as file:
            content: bytes = file.read()
        return content


def place_of(path: str | os.PathLike[str] | Place) -> Place:
    """The place that a path or a URI names.

    Raises
    ------
    DataError
        If there is no file system for the URI.
    """
    if isinstance(path, Place):
        return path
    path = os.fspath(path)
    if not is_uri(path):
        return Local(path)
    if path.startswith("file://"):
        inner = re.sub("^file://(localhost)?", "", path)
        if not inner.startswith("/"):
            raise DataError(f"{path}: a file URI names no other machine. A path begins with three slashes: file:///")
        return Local(urllib.parse.unquote(inner))
    root, relative = path, ""
    if glob_parts(path):
        # Only the folder before the pattern is a URI; a pattern may hold anything.
        root, relative = _split_at_pattern(path)
    found = Remote(*_file_system(root), without_secrets(root))
    return found / relative if relative else found


def _split_at_pattern(uri: str) -> tuple[str, str]:
    path, mark, options = uri.partition("?")
    parts = path.split("/")
    first = next(i for i, part in enumerate(parts) if has_magic(part))
    return "/".join(parts[:first]) + mark + options, "/".join(parts[first:])


def has_magic(part: str) -> bool:
    """Whether a part of a URI's path is a pattern."""
    return "*" in part or "[" in part


def glob_parts(uri: str) -> bool:
    """Whether a URI is a pattern: in URIs, a question mark begins the options and matches nothing."""
    return any(map(has_magic, uri.partition("?")[0].split("/")[3:]))


def without_secrets(uri: str) -> str:
    """A URI without user, password and options."""
    # A secret may hold a slash, as those of S3 do; a colon before a port or within a path is none.
    return re.sub(r"://[^/@:]*:(?!\d+(/|$))[^@]*@", "://", uri.partition("?")[0])


@functools.lru_cache(maxsize=64)
def _file_system(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system that a URI names, and the path in it."""
    path, mark, options = uri.partition("?")
    encoded = urllib.parse.quote(path, safe="%/:@=+,~$&'()!*;-._") + mark + options
    try:
        return pyarrow.fs.FileSystem.from_uri(encoded)  # type: ignore[no-any-return]
    except OSError as error:  # a library or the network that a file system needs isn't there
        raise DataError(f"{without_secrets(uri)} can't be read: {str(error).partition(chr(10))[0]}") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).partition("\n")[0] if "@" not in uri and "?" not in uri else "the URI can't be used"
        reason = "Unrecognized filesystem type" if "Unrecognized filesystem" in str(error) else reason
        if "Unrecognized filesystem" not in reason:
            raise DataError(f"{without_secrets(uri)} can't be read: {reason}") from None
    try:
        import fsspec

        file_system, inner = fsspec.core.url_to_fs(uri)
    except ModuleNotFoundError as error:
        raise DataError(
            f"{without_secrets(uri)}: Arrow has no such file system ({reason}), and fsspec can't open it ({error})."
        ) from None
    except (ValueError, ImportError, OSError) as error:
        raise DataError(f"{without_secrets(uri)}: there is no such file system: {error}") from None
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(file_system)), inner


class Local(Place):
    """A path of the local disk, whose name needn't be valid UTF-8."""

    def __init__(self, path: str) -> None:
        self.path = self.name = path

    @property
    def kind(self) -> str | None:
        try:
            mode = os.stat(self.path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:  # a NUL in the path
            raise OSError(str(error)) from None
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"

    def status(self) -> dict[str, Any]:
        found = os.stat(self.path)
        return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}

    def open(self) -> pa.NativeFile:
        return pa.OSFile(os.fsencode(self.path))

    def below(self) -> Iterator[tuple[str, ...]]:
        seen = set()
        for folder, _, names in os.walk(self.path, onerror=_fail, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                raise DataError(f"{folder} leads to a folder that is read already.")
            seen.add(real)
            inner = os.path.relpath(folder, self.path)
            parts = () if inner == os.curdir else tuple(inner.split(os.sep))
            for name in names:
                yield (*parts, name)

    def __truediv__(self, relative: str) -> Local:
        return Local(os.path.join(self.path, relative))

    def beside(self, name: str) -> Local:
        return Local(os.path.join(os.path.dirname(self.path), name))

    def check_replaceable(self) -> None:
        check_replaceable(self.path)

    def replacing(self) -> AbstractContextManager[BinaryIO]:
        return replacing(self.path)

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def make_folders(self) -> list[Place]:
        made: list[Place] = []
        folder = os.path.dirname(os.path.abspath(self.path))
        while not os.path.exists(folder):
            made.append(Local(folder))
            folder = os.path.dirname(folder)
        for new in reversed(made):
            os.makedirs(new.name, exist_ok=True)
        return made

    def remove_folder(self) -> None:
        with suppress(OSError):
            os.rmdir(self.path)

    @property
    def identity(self) -> str:
        return os.path.realpath(self.path)


class Remote(Place):
    """A path in one of Arrow's file systems."""

    def __init__(self, file_system: pyarrow.fs.FileSystem, path: str, name: str) -> None:
        self.file_system, self.path, self.name = file_system, path.rstrip("/"), re.sub("(?<=[^/:])/+$", "", name)

    def _info(self) -> pyarrow.fs.FileInfo:
        return self.file_system.get_file_info(self.path)

    @property
    def kind(self) -> str | None:
        types = pyarrow.fs.FileType
        return {types.File: "file", types.Directory: "folder", types.NotFound: None}.get(self._info().type, "other")

    def status(self) -> dict[str, Any]:
        found = self._info()
        return {"size": found.size, "mtime_ns": found.mtime_ns}

    def open(self) -> pa.NativeFile:
        return self.file_system.open_input_file(self.path)

    def below(self) -> Iterator[tuple[str, ...]]:
        base = PurePosixPath(self.path)
        for found in self.file_system.get_file_info(
            pyarrow.fs.FileSelector(self.path, allow_not_found=True, recursive=True)
        ):
            if found.type == pyarrow.fs.FileType.File:
                yield PurePosixPath(found.path).relative_to(base).parts

    def __truediv__(self, relative: str) -> Remote:
        return Remote(self.file_system, f"{self.path}/{relative}", f"{self.name}/{relative}")

    def beside(self, name: str) -> Remote:
        parent = self.path.rpartition("/")[0]
        return Remote(self.file_system, f"{parent}/{name}", f"{self.name.rpartition('/')[0]}/{name}")

    def check_replaceable(self) -> None:
        if self.kind not in ("file", None):
            raise IsADirectoryError(f"{self.name} is a folder.")

    @contextmanager
    def replacing(self) -> Iterator[BinaryIO]:
        self.check_replaceable()
        with tempfile.NamedTemporaryFile() as file:
            yield file  # type: ignore[misc]
            file.flush()
            self._send(file.name)

    def _send(self, local: str) -> None:
        """Copy a local file to this place. No signal interrupts a copy: half of a file would count as a whole one."""
        here = pyarrow.fs.LocalFileSystem()
        if isinstance(self.file_system, _STORES):
            pyarrow.fs.copy_files(local, self.path, here, self.file_system)
            return
        folder, _, name = self.path.rpartition("/")
        temporary = f"{folder}/.fastnn-{secrets.token_hex(8)}-{name}.tmp"
        try:
            pyarrow.fs.copy_files(local, temporary, here, self.file_system)
            self.remove()  # since not every file system's rename replaces a file
            self.file_system.move(temporary, self.path)
        except BaseException:
            with suppress(OSError):
                self.file_system.delete_file(temporary)
            raise

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self.file_system.delete_file(self.path)

    def make_folders(self) -> list[Place]:
        if not isinstance(self.file_system, _STORES):  # which have no folders
            self.file_system.create_dir(self.path.rpartition("/")[0], recursive=True)
        return []

    def remove_folder(self) -> None:
        """Nothing: `make_folders` says that it made none."""

    @property
    def identity(self) -> str:
        return f"{self.file_system.type_name}:{self.path}"


def _fail(error: OSError) -> None:
    raise error
