"""All trials of some data sets, splits and entrants, one after another."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.quality import results
from benchmarks.quality.entrants.registry import find
from benchmarks.quality.tables.sets import SETS
from benchmarks.quality.trial import Trial
from benchmarks.quality.worker import FailedError, Worker

# CatBoost needs about 20 s for 5,000 rows with ten columns of categories, on one busy processor, and its time grows
# with the rows and with the classes. What exceeds this limit is a failure, which the report names.
LIMIT_SECONDS = 900.0


class Runs(Protocol):
    """What runs trials: a `Worker`."""

    def run(self, trial: Trial, limit: float) -> dict[str, Any]:
        """The result, or `FailedError`."""

    def alive(self) -> bool:
        """Whether it can run another trial."""

    def close(self) -> None:
        """End it."""


def trials(sets: Iterable[str], entrants: Iterable[str], splits: Iterable[int], threads: int) -> list[Trial]:
    """All trials. Entrants take turns, so that what slows the machine down for a while doesn't hit only one of them."""
    names = list(entrants)
    seeds = list(splits)
    return [Trial(one, name, seed, threads) for one in sets for seed in seeds for name in names]


def run_all(
    wanted: list[Trial],
    path: Path,
    limit: float = LIMIT_SECONDS,
    retry: bool = False,
    start: Callable[[int], Runs] = Worker,
) -> int:
    """Run the trials whose results aren't in the file yet, and append each result to it.

    Parameters
    ----------
    wanted : list of Trial
        The trials, in the order in which they are run.
    path : Path
        The file of results.
    limit : float
        The most seconds that a trial may take. One that takes longer has failed.
    retry : bool
        Whether to run trials again that failed.
    start : callable
        Starts what runs an entrant's trials, with the number of threads.

    Returns
    -------
    int
        How many trials were run.
    """
    versions = {name: find(name).version() for name in {trial.entrant for trial in wanted}}
    done = {results.key_of(result) for result in results.read(path) if not (retry and "failed" in result)}
    left = [trial for trial in wanted if results.key(trial, versions[trial.entrant]) not in done]
    surroundings = about()
    workers: dict[str, Runs] = {}
    try:
        for trial in _shown(left, len(wanted)):
            worker = workers.get(trial.entrant)
            if worker is None or not worker.alive():
                worker = workers[trial.entrant] = start(trial.threads)
            line: dict[str, Any] = dict(results.key(trial, versions[trial.entrant])._asdict())
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
            try:
                line |= worker.run(trial, limit)
            except FailedError as error:
                line["failed"] = str(error)
            line["data"] = _data_version(trial.data_set)
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            results.append(path, {**line, **surroundings, "load": load, "when": now})
    finally:
        for worker in workers.values():
            worker.close()
    return len(left)


def _shown(left: list[Trial], total: int) -> Iterator[Trial]:
    """The trials, with a bar of progress while they are run."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total, completed=total - len(left))
        for trial in left:
            progress.update(bar, description=f"{trial.data_set}, split {trial.split}, {trial.entrant}")
            yield trial
            progress.advance(bar)


def about() -> dict[str, Any]:
    """Where and with which sources the trials run."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "fastnn") else ""),
        "machine": f"{_processor()}, {os.cpu_count()} processors, {platform.system()}",
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "scikit-learn")},
    }


def _data_version(name: str) -> str:
    """The package that a data set comes in, with its version."""
    package = SETS[name].package
    distribution = {"sklearn": "scikit-learn"}.get(package, package)
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return distribution


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent.parent.parent
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
