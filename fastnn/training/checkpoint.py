"""Checkpoints: the progress of a training in a file, from which it can go on after a kill, to the same bits."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.files import modelfile
from fastnn.files.atomic import check_replaceable
from fastnn.files.kinds import CHECKPOINT, check_kind
from fastnn.files.modelfile import ModelFileError
from fastnn.kernels.forward.sparse import Csr
from fastnn.network.conversion import is_sparse
from fastnn.network.trainable import Trainable
from fastnn.training.option_table import checked

Array = NDArray[Any]


@dataclass
class Progress:
    """The progress of a training.

    Parameters
    ----------
    identity : dict of str to JSON-able
        Everything that decides how the training goes: options, data, initial weights. A training may go on from this
        progress only if its own identity is the same.
    vectors : dict of str to ndarray
        The parameters (``params``), the solver's memory (``state.0``, ...) and the best parameters so far (``best``).
        Each is laid out as ``Network.params``.
    numbers : dict of str to ndarray of float64
        The solver's numbers, the curves of losses and scores, and what the stopping rule has seen.
    finished : bool
        Whether the training ended.
    """

    identity: dict[str, Any]
    vectors: dict[str, Array]
    numbers: dict[str, NDArray[np.float64]]
    finished: bool


class Checkpoint:
    """The file that holds a training's progress, and how often it is written.

    Parameters
    ----------
    path : str or path-like
        The file. It is always replaced as a whole, so that there is a good checkpoint at any time.
    every : int
        The number of epochs from one checkpoint to the next.

    Raises
    ------
    OSError
        If the file couldn't be written.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.every: int = checked("checkpoint_every", every)
        check_replaceable(path)
        self.path = Path(path)

    def save(self, net: Trainable, progress: Progress) -> None:
        """Write the progress of training `net`."""
        tensors = {f"numbers.{name}": array for name, array in progress.numbers.items()}
        for vector, flat in progress.vectors.items():
            tensors |= {f"{vector}.{name}": array for name, array in net.named(flat).items()}
        description = {
            "kind": CHECKPOINT,
            "network": net.description(),
            "identity": progress.identity,
            "vectors": sorted(progress.vectors),
            "finished": progress.finished,
        }
        modelfile.save(self.path, tensors, description)

    def load(self, net: Trainable) -> Progress | None:
        """The progress of training `net` that the file holds.

        None if there is no file, or if the file holds the finished training of another network, which nobody needs.

        Raises
        ------
        ModelFileError
            If the file is damaged, or isn't a checkpoint of such a network.
        """
        found = self._read()
        if found is None:
            return None
        tensors, description = found
        try:
            if description["network"] != net.description():
                if description["finished"] is True:
                    return None
                self.refuse("another network")
            vectors = {name: self._vector(net, name, tensors) for name in description["vectors"]}
            numbers = modelfile.with_prefix("numbers.", tensors)
            if any(array.dtype != np.float64 or array.ndim != 1 for array in numbers.values()):
                raise ValueError("its numbers aren't float64")
            return Progress(dict(description["identity"]), vectors, numbers, bool(description["finished"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"{self.path} is no checkpoint that can be used ({error}): {_ADVICE}") from None

    def seed(self) -> int | None:
        """The seed of the training in the file; None if there is no file, or no seed in it."""
        found = self._read()
        try:
            seed = None if found is None else found[1]["identity"]["options"]["seed"]
        except (KeyError, TypeError):
            return None
        return seed if isinstance(seed, int) and 0 <= seed < 2**64 else None

    def refuse(self, differing: str) -> None:
        """Raise the error for a file that holds the unfinished progress of another training."""
        raise ModelFileError(f"{self.path} holds an unfinished training with {differing}: {_ADVICE}")

    def _read(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        if not self.path.exists():
            return None
        tensors, description = modelfile.load(self.path)
        check_kind(description, CHECKPOINT, self.path)
        return tensors, description

    def _vector(self, net: Trainable, name: str, tensors: dict[str, Array]) -> Array:
        parts = modelfile.with_prefix(f"{name}.", tensors)
        vector = np.zeros(net.params.size, net.dtype)
        if any(array.dtype != net.dtype for array in parts.values()):
            raise ValueError(f"{name} holds something else than {net.dtype}")
        # The solver's memory may overflow while all weights are finite, so only the weights are checked.
        if name in ("params", "best") and not all(np.isfinite(array).all() for array in parts.values()):
            raise ValueError(f"{name} holds NaN or infinity")
        net.fill(vector, parts)
        return vector


_ADVICE = "to begin anew, delete it or name another file."


def fingerprint(*arrays: Any) -> str:
    """A SHA-256 of arrays: of their dtypes, their shapes and their values.

    An argument may be anything that NumPy makes an array of, None, or sparse rows, which count as the arrays that they
    consist of.
    """
    digest = hashlib.sha256()
    for each in chain.from_iterable(_parts(array) for array in arrays):
        array = np.ascontiguousarray(each)
        if array.dtype.kind == "O":
            array = array.astype(str)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _parts(array: Any) -> tuple[Any, ...]:
    if is_sparse(array):
        rows = array.tocsr()
        return rows.data, rows.indices, rows.indptr
    return array if isinstance(array, Csr) else (array,)


def differing(earlier: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What differs between two identities, in words; None if nothing does."""
    for name, value in now.items():
        other = earlier.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            found = differing(other, value)
            if found is not None:
                return found
        elif other != value:
            told = isinstance(value, (int, float, bool)) or (isinstance(value, str) and len(value) < 64)
            return f"{name} {other} (here {value})" if told else f"other {name}"
    return None
