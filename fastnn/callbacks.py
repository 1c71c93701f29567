"""Callbacks, which training calls after each epoch: a progress bar, a log, a condition to stop.

Any function that takes an `Epoch` can be a callback.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

_LINES_IN_A_LOG = 20


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Attributes
    ----------
    number : int
        The first epoch has number 1.
    loss : float
        The mean loss of the training samples.
    validation_loss, validation_score : float or None
        The loss and the score of the held-out samples, if there are any.
    """

    number: int
    loss: float
    validation_loss: float | None = None
    validation_score: float | None = None

    @property
    def measures(self) -> str:
        """The loss and the held-out score (the accuracy, or R² of a regression) as text."""
        score = "" if self.validation_score is None else f"  held-out score {self.validation_score:.4f}"
        return f"loss {self.loss:.4f}{score}"


@contextmanager
def called(callbacks: Iterable[Callable[[Epoch], Any]], n_epochs: int) -> Iterator[Callable[[Epoch], bool]]:
    """Begin the callbacks of a training of at most `n_epochs` epochs, and end them when it is over.

    Yields
    ------
    callable
        A function that calls each callback with an epoch. It returns True if one of them returned something true,
        which means that training shall stop.
    """
    each = list(callbacks)
    with ExitStack() as stack:
        for callback in each:
            if hasattr(callback, "begin"):
                callback.begin(n_epochs)
            if hasattr(callback, "end"):
                stack.callback(callback.end)
        yield lambda epoch: any([bool(callback(epoch)) for callback in each])


class TerminalBar:
    """A progress bar on the terminal that stderr is connected to.

    Parameters
    ----------
    total : int or None
        The number at which the bar is full, if it is known.
    before, after : str
        What stands before and after the bar, as formats of Rich: ``{task.completed}``, ``{task.total}``, and
        ``{task.fields[measures]}`` for what `update` is given.
    """

    def __init__(self, total: int | None, before: str, after: str = "") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn(before), BarColumn(), *([TextColumn(after)] if after else []), TimeRemainingColumn()]
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=total, measures="")
        self._progress.start()

    def update(self, completed: int, measures: str) -> None:
        """Show how much is done."""
        self._progress.update(self._task, completed=completed, measures=measures)

    def stop(self) -> None:
        """Stop the bar, which stays on the terminal as it is."""
        self._progress.stop()


class ProgressBar:
    """Shows progress on stderr: as a bar on a terminal, otherwise in about twenty lines."""

    def __init__(self) -> None:
        self._bar: TerminalBar | None = None
        self._total = 0

    def begin(self, n_epochs: int) -> None:
        """Show an empty bar, if stderr is a terminal."""
        self._total = n_epochs
        if sys.stderr.isatty():
            self._bar = TerminalBar(n_epochs, "epoch {task.completed}/{task.total}", "{task.fields[measures]}")

    def __call__(self, epoch: Epoch) -> None:
        """Show an epoch."""
        if self._bar is not None:
            self._bar.update(epoch.number, epoch.measures)
        elif epoch.number == 1 or epoch.number % -(-self._total // _LINES_IN_A_LOG) == 0:
            print(f"epoch {epoch.number}/{self._total}  {epoch.measures}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Stop the bar, which stays on the terminal as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class EpochLog:
    """Writes a line for each epoch to a file: its number, losses and score, and the seconds since training began.

    Parameters
    ----------
    path : str or path-like
        A name that ends in ``.csv`` or ``.jsonl``. Each training begins the file anew. A training that goes on from a
        checkpoint writes the epochs before the checkpoint, too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".jsonl"):
            raise ValueError(f"{path}: the name of a log must end in .csv or .jsonl.")
        self._file: TextIO | None = None
        self._began = 0.0

    def begin(self, n_epochs: int) -> None:
        """Open the file."""
        self._began = time.perf_counter()
        self._file = self.path.open("w", newline="")

    def __call__(self, epoch: Epoch) -> None:
        """Write an epoch."""
        assert self._file is not None
        entry = {**asdict(epoch), "seconds": round(time.perf_counter() - self._began, 6)}
        if self.path.suffix == ".csv":
            writer = csv.DictWriter(self._file, list(entry), lineterminator="\n")
            if epoch.number == 1:
                writer.writeheader()
            writer.writerow(entry)
        else:
            print(json.dumps(entry), file=self._file)
        self._file.flush()  # so that the file can be watched

    def end(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class StopWhen:
    """Stops training when ``condition(epoch)`` is true.

    Parameters
    ----------
    condition : callable
        A function of an `Epoch`.
    """

    def __init__(self, condition: Callable[[Epoch], Any]) -> None:
        self.condition = condition

    def __call__(self, epoch: Epoch) -> bool:
        """Whether to stop."""
        return bool(self.condition(epoch))
