"""What a user sees: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from fastnn.callbacks import TerminalBar
from fastnn.errors import DataWarning

COMPILING = "compiling (once per machine)"
_MOMENT = 1.0  # seconds
_LOG_SECONDS = 30.0


def complain(message: str) -> None:
    """Print an error on stderr, as one line. What it quotes from data or names of files can't command the terminal."""
    print(f"fastnn: {printable(' '.join(message.split()))}", file=sys.stderr)


def printable(text: str) -> str:
    """A text with escapes in the place of characters that aren't printable."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(message: str) -> None:
    """Print what is going on, on stderr."""
    print(printable(message), file=sys.stderr, flush=True)


@contextmanager
def notes() -> Iterator[None]:
    """Print what is to be known about the data as a note, in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        others = warnings.showwarning

        def show_note(message: Warning | str, category: type[Warning], *further: Any, **named: Any) -> None:
            if issubclass(category, DataWarning):
                complain(f"note: {message}")
            else:
                others(message, category, *further, **named)

        warnings.showwarning = show_note
        yield


def show(summary: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a command's result on stdout: as one JSON object, or as text for people."""
    print(json.dumps(_finite(summary)) if as_json else "\n".join(map(printable, text.split("\n"))))


def _finite(value: Any) -> Any:
    """The value with None in the place of NaN and infinities, which JSON doesn't have."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def said_when_slow(what: str) -> Iterator[None]:
    """If the ``with`` block takes more than a moment, print what it does, and at its end how long it took."""
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
def progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how many rows are done, how many a second, and how long the others will take, on stderr.

    On a terminal there is a bar, in a log a line now and then, and one at the end.

    Parameters
    ----------
    total : int or None
        The number of all rows, if that is known.

    Yields
    ------
    callable
        A function to call with the number of rows that were done since the last call.
    """
    with _bar(total) if sys.stderr.isatty() else _log(total) as advance:
        yield advance


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[[int], None]]:
    bar = TerminalBar(total, "{task.fields[measures]}")
    began, done = perf_counter(), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        bar.update(done, _measures(done, total, perf_counter() - began))

    try:
        yield advance
    finally:
        bar.stop()


@contextmanager
def _log(total: int | None) -> Iterator[Callable[[int], None]]:
    began, done = perf_counter(), 0
    said = began

    def advance(rows: int) -> None:
        nonlocal done, said
        done += rows
        now = perf_counter()
        if now - said >= _LOG_SECONDS:
            left = "" if not total or not done else f", about {(total - done) * (now - began) / done:.0f} s left"
            say(f"{_measures(done, total, now - began)}{left}")
            said = now

    yield advance
    say(_measures(done, total, perf_counter() - began))


def _measures(done: int, total: int | None, seconds: float) -> str:
    of = "" if total is None else f" of {total:,}"
    return f"{done:,}{of} rows, {done / max(seconds, 1e-9):,.0f} a second"
