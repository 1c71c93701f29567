"""Samples: as a caller gives them, as the kernels read them, and in parts where memory doesn't hold all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """Samples as a caller gives them: `Network.checked` makes `Checked` samples of these.

    Parameters
    ----------
    X : array_like or sparse matrix of shape (n, n_features)
    y : array_like of shape (n,)
        Labels if the network has classes, otherwise class indices. Of shape (n, n_outputs) where the network's output
        isn't softmax.
    sample_weight : array_like of shape (n,), optional
        Each sample's weight in the mean loss.
    """

    X: Any
    y: Any
    sample_weight: Any = None


class Checked(NamedTuple):
    """Samples as the kernels read them: they fit the network, and every number is finite.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), or Csr
        C-contiguous rows, or compressed sparse rows, of the network's dtype.
    y : ndarray
        Class indices, of shape (n,) and dtype int64, where the network's output is softmax; otherwise the outputs'
        targets, of shape (n, n_outputs) and the network's dtype.
    sample_weight : ndarray of shape (n,) or (0,)
        Each sample's weight, in the network's dtype; empty if all weigh the same.
    """

    X: Any
    y: Array
    sample_weight: Array


class Parts(ABC):
    """Samples that memory doesn't hold at once: each epoch gets them anew, part by part."""

    @abstractmethod
    def parts(self, epoch: int) -> Generator[Checked, None, None]:
        """The samples of an epoch; epochs are counted from 0.

        A mini-batch doesn't reach into the next part: all parts but the last should consist of whole batches.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A text that differs for different samples: a checkpoint recognises its samples by it."""
