"""Which files a path, a folder or a pattern stands for, and which columns the names of their folders make."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NoReturn

import pyarrow as pa

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.source import as_data_errors


@dataclass(frozen=True, order=True)
class Found:
    """A file's path, and the folders between the path that was asked for and the file."""

    path: str
    folders: str


def find_files(path: str) -> list[Found]:
    """The files that a path stands for, sorted.

    Parameters
    ----------
    path : str
        A file; a folder, which stands for all files in it and in its subfolders; or a pattern of files and folders
        with ``*``, ``**``, ``?`` or ``[...]``. In folders and patterns, hidden files and those that begin with ``_``,
        such as ``_SUCCESS``, are left out.

    Raises
    ------
    DataError
        If there is no such file.
    """
    with as_data_errors(path):
        if os.path.isdir(path):
            found = set(_below(path, path))
            missing = f"{path}: there are no files in this folder."
        elif os.path.lexists(path) or not glob.has_magic(path):
            return [Found(path, "")]  # opening the file will tell what is wrong
        else:
            base = path
            while glob.has_magic(base):
                base = os.path.dirname(base)
            found = {file for match in glob.iglob(path, recursive=True) for file in _below(match, base or ".")}
            missing = f"{path}: no file matches this pattern."
    if not found:
        raise DataError(missing)
    return sorted(found)


def _below(start: str, base: str) -> Iterator[Found]:
    """The file `start`, or all files below the folder `start`."""
    for path in _walk(start) if os.path.isdir(start) else [start]:
        parts = PurePath(os.path.relpath(path, base)).parts
        if not any(map(_is_hidden, parts)):
            yield Found(path, "/".join(parts[:-1]))


def _walk(start: str) -> Iterator[str]:
    seen = set()
    for folder, _, names in os.walk(start, onerror=_fail, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            raise DataError(f"{folder} leads to a folder that is read already.")
        seen.add(real)
        for name in names:
            yield os.path.join(folder, name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _fail(error: OSError) -> NoReturn:
    raise error


def partitions(files: Sequence[Found]) -> list[Mapping[str, pa.Scalar]]:
    """The columns of each file that folders called ``key=value`` make (Hive's partitions).

    Arrow infers their types from the folders of all files: int32 if all values are such integers, otherwise strings.
    """
    if not any("=" in file.folders for file in files):
        return [{} for _ in files]
    import pyarrow.dataset
    import pyarrow.fs

    dataset = pyarrow.dataset
    paths = [f"/{file.folders}/file" for file in files]
    # Arrow looks at the names only, so the files needn't exist.
    schema = dataset.FileSystemDatasetFactory(
        pyarrow.fs.LocalFileSystem(),
        paths,
        dataset.ParquetFileFormat(),
        dataset.FileSystemFactoryOptions(partitioning=dataset.HivePartitioning.discover()),
    ).inspect(fragments=0)
    partitioning = dataset.HivePartitioning(schema)
    found = [dataset.get_partition_keys(partitioning.parse(path)) for path in paths]
    return [
        {field.name: pa.scalar(keys[field.name], field.type) for field in schema if field.name in keys}
        for keys in found
    ]
