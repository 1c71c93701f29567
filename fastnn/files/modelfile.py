"""Model files: named arrays and a description, as safetensors, written atomically.

The description is one JSON document in the file's metadata, with the format version, the version of fastnn that wrote
it and a SHA-256 over everything else. What arrays and description mean is up to the caller: this module knows nothing
of networks.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.files.atomic import replacing

FORMAT_VERSION = 1

# One metadata key for everything: safetensors writes several in an order that changes from process to process, and the
# same model must give the same bytes.
_METADATA_KEY = "fastnn"
_DTYPES = frozenset(
    ["float64", "float32", "float16", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
)
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # what the safetensors library itself accepts


class ModelFileError(ValueError):
    """A model file that can't be used; the message names the file and says what is wrong with it."""


def save(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write a model file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists. The same arrays and description give the same bytes.
    tensors : dict of str to ndarray
        Arrays of any shape, empty ones included, of a float (16 to 64 bits), integer or bool dtype.
    description : dict
        Anything that JSON can hold, except NaN and infinity.

    Raises
    ------
    TypeError
        If a dtype can't be stored, or the description holds something that JSON can't.
    ValueError
        If the description holds NaN or infinity, or a tensor's name is empty, not printable or reserved.
    OSError
        If the file can't be written. An earlier file stays as it was, and no temporary file is left.
    """
    content = to_bytes(tensors, description)
    with replacing(path) as file:
        file.write(content)


def to_bytes(tensors: dict[str, np.ndarray], description: dict[str, Any]) -> bytes:
    """The content of the file that `save` would write, with its errors except the OSError."""
    import safetensors.numpy  # `import fastnn` loads numpy and numba only

    arrays = {name: _storable(name, array) for name, array in tensors.items()}
    document = {"format_version": FORMAT_VERSION, "fastnn_version": _fastnn_version(), "description": description}
    # Through JSON once, so that the hash is that of what a reader will see: tuples become lists.
    document = json.loads(_canonical(document))
    document["sha256"] = _checksum(document, arrays)
    content: bytes = safetensors.numpy.save(arrays, metadata={_METADATA_KEY: _canonical(document)})
    return content


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a model file.

    Parameters
    ----------
    path : str or path-like
        A model file of any kind.

    Returns
    -------
    tensors : dict of str to ndarray
        Copies: the file may be replaced or removed afterwards.
    description : dict
        The description that `save` was given, with lists in place of tuples.

    Raises
    ------
    ModelFileError
        If there is no such file, or the file isn't an undamaged model file of a known format version.
    """
    return _checked(path, *_read(Path(path)))


def from_bytes(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `load` gives for a file with this content and name, with its errors."""
    _check_start(name, content[: _LENGTH_BYTES + 1], len(content))
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    return _checked(name, content[:end], content[end:])


def _checked(path: str | os.PathLike[str], header: bytes, body: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the description of a file in two parts; a ModelFileError if it is damaged."""
    import safetensors.numpy

    document, text = _document(path, header)
    try:
        tensors = {name: array.copy() for name, array in safetensors.numpy.load(header + body).items()}
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{path} is truncated or damaged: its tensors can't be read ({error}).") from None
    stored = document.pop("sha256", None)
    # Another spelling of the same JSON (1E5 for 1e5) is damage too: `save` writes each document in one way.
    try:
        undamaged = stored == _checksum(document, tensors) and text == _canonical({**document, "sha256": stored})
    except ValueError:  # a NaN or an infinity, which `save` doesn't write
        undamaged = False
    if not undamaged:
        raise ModelFileError(f"{path} is damaged: its SHA-256 doesn't match its content.")
    description: dict[str, Any] = document["description"]
    return tensors, description


def with_prefix(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(path: Path) -> tuple[bytes, bytes]:
    """The file in two parts: the length field with the header, and the bytes of the tensors."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError(f"{path} is a folder, not a model file.")
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{path} is no ordinary file: a model can't be read from it.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(_LENGTH_BYTES + 1)
            _check_start(path, start, size)
            header = start + file.read(int.from_bytes(start[:_LENGTH_BYTES], "little") - 1)
            return header, file.read()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such model file.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error  # ValueError: a NUL in the path
        raise ModelFileError(f"{path} can't be read: {reason}.") from None


def _check_start(path: str | os.PathLike[str], start: bytes, size: int) -> None:
    """Compare the header's length with the file's before memory is spent on it."""
    if size == 0:
        raise ModelFileError(f"{path} is empty: it is no model file.")
    # Even an empty safetensors file has a length field and two braces.
    if size < _LENGTH_BYTES + 2 or len(start) <= _LENGTH_BYTES:
        raise ModelFileError(f"{path} is truncated or no model file: it has {size} bytes.")
    if start[_LENGTH_BYTES:] != b"{":
        raise ModelFileError(f"{path} is not a safetensors file, so it is no model file.")
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if not 2 <= length <= min(size - _LENGTH_BYTES, _LONGEST_HEADER):
        raise ModelFileError(
            f"{path} is truncated or not a safetensors file: it has {size} bytes, and its header claims {length}."
        )


def _document(path: str | os.PathLike[str], header: bytes) -> tuple[dict[str, Any], str]:
    """The JSON document in the header's metadata, and the text that it was parsed from."""
    try:
        metadata = json.loads(header[_LENGTH_BYTES:]).get("__metadata__")
    except (ValueError, RecursionError):
        raise ModelFileError(f"{path} is damaged or not a safetensors file: its header is no JSON.") from None
    text = metadata.get(_METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(f"{path} is a safetensors file, but not one that fastnn made.")
    try:
        document = json.loads(text)
        version = document["format_version"]
        if version.__class__ is not int or version < 1 or not isinstance(document["description"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelFileError(f"{path} is damaged: its description can't be read.") from None
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version}, written by fastnn {document.get('fastnn_version')}; this "
            f"fastnn reads versions up to {FORMAT_VERSION}: pip install --upgrade fastnn-numba"
        )
    return document, text


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """The array as safetensors takes it: C-contiguous and little-endian."""
    # A name that isn't printable would be escaped, and an escape has more than one spelling.
    if not name or name == "__metadata__" or not name.isprintable():
        raise ValueError(f"A tensor can't be called {name!r}.")
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES:
        raise TypeError(f"Tensor {name!r} has dtype {array.dtype}, which a model file can't hold.")
    # np.ascontiguousarray would make a 0-d array one-dimensional.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 over the document and the tensors: names, dtypes, shapes, bytes."""
    digest = hashlib.sha256(_canonical(document).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(_canonical([name, array.dtype.name, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@functools.cache
def _fastnn_version() -> str:
    import importlib.metadata  # slow to import, and only `save` needs it

    try:
        return importlib.metadata.version("fastnn-numba")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree that isn't installed
        return "unknown"
