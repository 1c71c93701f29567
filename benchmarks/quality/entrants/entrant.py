"""What an entrant is: a way to learn from a table, which gets frames as they are and prepares them as suits it best."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.quality.tables.splits import Rows

if TYPE_CHECKING:
    import pandas as pd

# The distribution whose import is fastnn.
FASTNN = "fastnn-numba"

Predict = Callable[["pd.DataFrame"], np.ndarray]


class Conditions(NamedTuple):
    """What an entrant learns with: so many threads, and the seed of its random numbers."""

    threads: int
    seed: int


Fit = Callable[[Rows, Conditions], Predict]


@dataclass(frozen=True)
class Entrant:
    """A way to learn from a table.

    Parameters
    ----------
    name : str
        What tables of results call it.
    target : str
        The function that fits it, as "module:function". It takes the rows to train on and the `Conditions`. It returns
        a function from a frame to predictions: the probabilities of the classes, shape (n, n_classes), or numbers.
    packages : tuple of str
        The distributions that it needs. Their versions are kept with its results.
    slow : bool
        Whether it takes minutes even on small tables, so that it takes part only if it is named.
    """

    name: str
    target: str
    packages: tuple[str, ...]
    slow: bool = False

    def missing(self) -> list[str]:
        """The distributions that it needs and that aren't installed."""
        return [name for name in self.packages if _version(name) is None]

    def version(self) -> str:
        """The versions of what it needs. Results of one version are never mixed with those of another.

        A change of how this package fits an entrant isn't seen: give the entrant another name then.
        """
        versions = [f"{name} {_version(name)}" for name in self.packages]
        module = self.target.partition(":")[0]
        if not module.startswith(f"{__package__}."):
            versions.append(f"{module} {_digest(module)}")
        return ", ".join(versions)

    def fit(self, rows: Rows, conditions: Conditions) -> Predict:
        """Learn from the rows."""
        module, _, name = self.target.partition(":")
        fit: Fit = getattr(importlib.import_module(module), name)
        return fit(rows, conditions)


def _version(distribution: str) -> str | None:
    """The installed version of a distribution, None if there is none. fastnn's has the digest of its sources."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    return f"{version}+{_digest('fastnn')}" if distribution == FASTNN else version


@functools.cache
def _digest(package: str) -> str:
    """The first digits of the SHA-256 of a package's or a module's sources: another text is another version."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return "unknown"
    origin = Path(found.origin)
    paths = sorted(origin.parent.rglob("*.py")) if found.submodule_search_locations else [origin]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(origin.parent)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:10]
