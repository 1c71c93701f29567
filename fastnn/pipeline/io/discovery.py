"""Which files a path, a folder or a pattern stands for, and which columns the names of their folders make."""

from __future__ import annotations

import fnmatch
import glob
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath

import pyarrow as pa

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.places import Local, Place, Remote, glob_parts, has_magic, is_uri, place_of, without_secrets
from fastnn.pipeline.io.source import as_data_errors

# How Hive spells a missing value in a folder's name.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Found:
    """A file.

    Attributes
    ----------
    place : Place
        Where the file is.
    inner : str
        The folders between the path that was asked for and the file.
    outer : str
        The folders called ``key=value`` at the end of the path that was asked for.
    """

    place: Place
    inner: str = ""
    outer: str = ""

    @property
    def path(self) -> str:
        """The file's name in messages."""
        return self.place.name


def find_files(path: str | os.PathLike[str]) -> list[Found]:
    """The files that a path stands for, sorted.

    Parameters
    ----------
    path : str or path-like
        A file; a folder, which stands for all files in it and in its subfolders; or a pattern of files and folders
        with ``*``, ``**``, ``?`` or ``[...]``. In folders and patterns, hidden files and those that begin with ``_``,
        such as ``_SUCCESS``, are left out. In a URI, a question mark begins the options of the file system.

    Raises
    ------
    DataError
        If there is no such file.
    """
    path = os.fspath(path)
    with as_data_errors(without_secrets(path) if is_uri(path) else path):
        if is_uri(path) and isinstance(place_of(path), Remote):
            found, missing = _find_remote(path)
        else:
            found, missing = _find_local(Local(place_of(path).name) if is_uri(path) else Local(path))
    if not found:
        raise DataError(missing)
    return sorted(found, key=lambda file: file.path)


def _find_local(place: Local) -> tuple[list[Found], str]:
    path = place.path
    if place.kind == "folder":
        return list(_below(place, path)), f"{path}: there are no files in this folder."
    if os.path.lexists(path) or not glob.has_magic(path):
        return [Found(place, "", _outer(os.path.dirname(path)))], ""  # opening the file will tell what is wrong
    base = path
    while glob.has_magic(base):
        base = os.path.dirname(base)
    matches = (Local(match) for match in glob.iglob(path, recursive=True))
    found = {file.path: file for match in matches for file in _below(match, base or ".")}
    return list(found.values()), f"{path}: no file matches this pattern."


def _below(start: Local, base: str) -> Iterator[Found]:
    """The file `start`, or all files below the folder `start`, with their folders below `base`."""
    places = [start / os.path.join(*parts) for parts in start.below()] if start.kind == "folder" else [start]
    outer = _outer(base)
    for place in places:
        parts = PurePath(os.path.relpath(place.path, base)).parts
        if not any(map(_is_hidden, parts)):
            yield Found(place, "/".join(parts[:-1]), outer)


def _find_remote(uri: str) -> tuple[list[Found], str]:
    place = place_of(uri)
    assert isinstance(place, Remote)
    if not glob_parts(uri):
        if place.kind != "folder":
            return [Found(place, "", _outer(os.path.dirname(place.name)))], ""
        base, pattern = place, ["**"]
        missing = f"{place.name}: there are no files in this folder."
    else:
        parts = place.path.split("/")
        first = next(i for i, part in enumerate(parts) if has_magic(part))
        pattern = parts[first:]
        cut = len("/".join(pattern)) + 1
        base = Remote(place.file_system, place.path[:-cut], place.name[:-cut])
        missing = f"{place.name}: no file matches this pattern."
    outer = _outer(base.name)
    return [
        Found(base / "/".join(parts), "/".join(parts[:-1]), outer)
        for parts in base.below()
        if _matches(parts, pattern) and not any(map(_is_hidden, parts))
    ], missing


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern matches a path or one of the folders that it lies in; ``**`` matches any number of parts."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _outer(path: str) -> str:
    """The folders called ``key=value`` that a path ends in."""
    parts = path.rstrip("/").split("/")
    first = len(parts)
    while first and "=" in parts[first - 1]:
        first -= 1
    return "/".join(parts[first:])


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def partitions(files: Sequence[Found], *, typed: bool = True) -> list[tuple[dict[str, pa.Scalar], frozenset[str]]]:
    """The columns of each file that folders called ``key=value`` make (Hive's partitions).

    Parameters
    ----------
    files : sequence of Found
        All files.
    typed : bool
        Whether a column is int32 if all of its values are different integers of that size. Otherwise columns are text,
        dictionary-encoded, since a file's rows all have the same.

    Returns
    -------
    list of tuple
        For each file its columns with their values, and which of them come from above the path that was asked for.
        These are there for whoever asks for them, but a training doesn't learn from them unasked.
    """
    texts = [{**_keys(file.outer), **_keys(file.inner)} for file in files]
    names = {name for each in texts for name in each}
    values = {name: _values({each[name] for each in texts if name in each}, typed) for name in sorted(names)}
    return [
        ({name: values[name][value] for name, value in each.items()}, frozenset({*each} - {*_keys(file.inner)}))
        for file, each in zip(files, texts, strict=True)
    ]


def _keys(folders: str) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in folders.split("/") if "=" in folder)
    unquote = urllib.parse.unquote
    return {unquote(key): None if value == _NO_VALUE else unquote(value) for key, _, value in pairs}


def _values(texts: set[str | None], typed: bool) -> dict[str | None, pa.Scalar]:
    """The value of each text of a column."""
    ordered = sorted(texts, key=str)
    column = pa.array(ordered, pa.string())
    if not typed:
        # A dictionary for each value, since all of a dictionary is parsed for each batch of rows.
        return {text: pa.array([text], pa.string()).dictionary_encode()[0] for text in ordered}
    with suppress(pa.ArrowInvalid):
        numbers = column.cast(pa.int32())
        # 01 to 12 are numbers, but 7 and 007 are two ids.
        if numbers.null_count < len(column) == len(numbers.unique()):
            column = numbers
    return dict(zip(ordered, column, strict=True))
