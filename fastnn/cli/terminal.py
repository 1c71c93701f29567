"""What a user sees: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.trainer import Epoch

COMPILING = "compiling (once per machine)"
_LINES_IN_A_LOG = 20
_MOMENT = 1.0  # seconds


def complain(message: str) -> None:
    """Print an error on stderr, as one line."""
    print(f"fastnn: {' '.join(message.split())}", file=sys.stderr)


def say(message: str) -> None:
    """Print what is going on, on stderr."""
    print(message, file=sys.stderr, flush=True)


def show(summary: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a command's result on stdout: as one JSON object, or as text for people."""
    print(json.dumps(summary) if as_json else text)


@contextmanager
def said_when_slow(what: str) -> Iterator[None]:
    """Say what is going on in the ``with`` block, and at its end how long it took, if it takes more than a moment."""
    began = perf_counter()
    timer = threading.Timer(_MOMENT, say, [f"{what} ..."])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    seconds = perf_counter() - began
    if seconds > _MOMENT:
        say(f"{what}: {seconds:.1f} s")


@contextmanager
def epoch_progress(total: int) -> Iterator[Callable[[Epoch], None]]:
    """Show the epochs of a training: a bar on a terminal, some lines in a log.

    Yields
    ------
    callable
        To be called with each finished epoch.
    """
    if not sys.stderr.isatty():
        step = -(-total // _LINES_IN_A_LOG)

        def report(epoch: Epoch) -> None:
            if epoch.number == 1 or epoch.number % step == 0:
                say(f"epoch {epoch.number}/{total}  {_measures(epoch)}")

        yield report
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("epoch {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.fields[measures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, measures="")
        yield lambda epoch: progress.update(task, completed=epoch.number, measures=_measures(epoch))


def _measures(epoch: Epoch) -> str:
    score = "" if epoch.validation_score is None else f"  held-out accuracy {epoch.validation_score:.4f}"
    return f"loss {epoch.loss:.4f}{score}"
