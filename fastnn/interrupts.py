"""Ctrl-C, held back to moments when nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Take note of Ctrl-C in the ``with`` block instead of raising KeyboardInterrupt wherever the program is.

    Whoever works in the block asks between two pieces of work, and raises. What nobody raised is raised at the end of
    the block; a second Ctrl-C doesn't wait. Where Ctrl-C is somebody else's (in another thread than the main one,
    or with a handler of the host's), nothing is changed.

    Yields
    ------
    callable
        True once Ctrl-C was pressed; asked once, the answer is False again.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            signal.default_int_handler(number, frame)
        pressed.append(number)

    def asked() -> bool:
        answer = bool(pressed)
        pressed.clear()
        return answer

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    except GeneratorExit:  # the block belongs to a generator that nobody wants more of
        _give_back(note)
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        _give_back(note)
    if pressed:
        raise KeyboardInterrupt


def _give_back(note: Callable[..., None]) -> None:
    """Restore Python's handler, if ours is still there."""
    if signal.getsignal(signal.SIGINT) is note:
        with suppress(ValueError):  # a generator may be closed in another thread
            signal.signal(signal.SIGINT, signal.default_int_handler)
