"""Ctrl-C and SIGTERM, held back until nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_terminations: list[int] = []


def _terminate(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does, and note that it was SIGTERM."""
    _terminations.append(number)
    raise KeyboardInterrupt


# The handlers that raise KeyboardInterrupt at once. Only these are replaced; any other handler is the host's own.
_OURS: dict[int, Callable[[int, Any], None]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: _terminate,
}


@contextmanager
def terminable() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM raise KeyboardInterrupt in the ``with`` block, as Ctrl-C does. `held_back` holds it back, too.

    Nothing changes outside the main thread, or if the host program has set its own handler for SIGTERM.

    Yields
    ------
    callable
        Returns whether there was a SIGTERM.
    """
    _terminations.clear()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield lambda: False
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield lambda: bool(_terminations)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C in the ``with`` block, instead of raising KeyboardInterrupt wherever the program is.

    The code in the block asks between two pieces of work whether Ctrl-C was pressed, and raises KeyboardInterrupt
    itself. A Ctrl-C that it didn't ask about is raised at the end of the block. A second Ctrl-C is raised at once.
    Nothing changes outside the main thread, or if the host program has set its own handler for Ctrl-C. Within a
    `terminable` block, all of this holds for SIGTERM, too.

    Yields
    ------
    callable
        Returns whether Ctrl-C was pressed since it was last called.
    """
    is_main = threading.current_thread() is threading.main_thread()
    held = [number for number, handler in _OURS.items() if is_main and signal.getsignal(number) is handler]
    if not held:
        yield lambda: False
        return
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            _OURS[number](number, frame)
        pressed.append(number)
        if number == signal.SIGTERM:
            _terminations.append(number)

    def asked() -> bool:
        answer = bool(pressed)
        pressed.clear()
        return answer

    for number in held:
        signal.signal(number, note)
    try:
        yield asked
    except GeneratorExit:  # the block is part of a generator that is being closed
        _give_back(held, note)
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        _give_back(held, note)
    if pressed:
        raise KeyboardInterrupt


def _give_back(held: list[int], note: Callable[..., None]) -> None:
    """Restore the former handlers of the signals whose handler is still `note`."""
    for number in held:
        if signal.getsignal(number) is note:
            with suppress(ValueError):  # a generator may be closed in another thread
                signal.signal(number, _OURS[number])
