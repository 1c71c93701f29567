"""What may be called after each epoch: a progress bar, a log, a condition to stop; and any function."""

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
    """One finished epoch: its number, from 1, its mean loss, and what the held-out samples say, if there are any."""

    number: int
    loss: float
    validation_loss: float | None = None
    validation_score: float | None = None

    @property
    def measures(self) -> str:
        """Loss and score in words."""
        score = "" if self.validation_score is None else f"  held-out accuracy {self.validation_score:.4f}"
        return f"loss {self.loss:.4f}{score}"


@contextmanager
def called(callbacks: Iterable[Callable[[Epoch], Any]], n_epochs: int) -> Iterator[Callable[[Epoch], bool]]:
    """Begin and end the callbacks around a training of at most so many epochs.

    Yields
    ------
    callable
        Calls all of them with an epoch; says whether one of them returned something true: training shall stop.
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
    """A progress bar on the terminal that stderr is.

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
        """Leave the bar as it is."""
        self._progress.stop()


class ProgressBar:
    """A bar on a terminal, some lines in a log; on stderr."""

    def __init__(self) -> None:
        self._bar: TerminalBar | None = None
        self._total = 0

    def begin(self, n_epochs: int) -> None:
        """Show an empty bar."""
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
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class EpochLog:
    """A line for each epoch in a file: its number, losses and score, and the seconds since training began.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.csv`` or ``.jsonl``. Each training writes it anew, a resumed one with the epochs done before.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".jsonl"):
            raise ValueError(f"{path}: a log's name ends in .csv or .jsonl.")
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
        self._file.flush()  # for who watches it

    def end(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class StopWhen:
    """Stop training when ``condition(epoch)`` is true.

    Parameters
    ----------
    condition : callable
        Is given an `Epoch`.
    """

    def __init__(self, condition: Callable[[Epoch], Any]) -> None:
        self.condition = condition

    def __call__(self, epoch: Epoch) -> bool:
        """Whether to stop."""
        return bool(self.condition(epoch))
