"""The file of results: a JSON line for each trial, which is only ever appended to.

A trial is known by its data set, entrant, split and number of threads, and by the version of the entrant. So a run that
was killed goes on where it was, and a change of fastnn makes its own trials new but nobody else's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.quality.trial import Trial


class Key(NamedTuple):
    """What makes two results those of the same trial."""

    data_set: str
    entrant: str
    split: int
    threads: int
    version: str


def key(trial: Trial, version: str) -> Key:
    """The key of a trial by an entrant of a version."""
    return Key(trial.data_set, trial.entrant, trial.split, trial.threads, version)


def key_of(result: dict[str, Any]) -> Key:
    """The key of a line."""
    return Key(*(result[name] for name in Key._fields))


def read(path: Path) -> list[dict[str, Any]]:
    """All results of a file, in the order in which they came; none if there is no file.

    What a kill left of a last line is no result.
    """
    if not path.exists():
        return []
    results = []
    for line in path.read_text().splitlines():
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return results


def append(path: Path, result: dict[str, Any]) -> None:
    """Write a line at the end, to the disk before this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a kill cut the last line off
                file.write(b"\n")
        file.write(json.dumps(result).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def latest(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest version's results of each entrant, the last one of each trial.

    The newest version is that of the entrant's last line.
    """
    kept = list(results)
    newest = {result["entrant"]: result["version"] for result in kept}
    by_key = {key_of(result): result for result in kept if result["version"] == newest[result["entrant"]]}
    return list(by_key.values())
