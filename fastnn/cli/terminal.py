"""What a user sees: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

COMPILING = "compiling (once per machine)"
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
