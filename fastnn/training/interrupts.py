"""Ctrl-C and SIGTERM, held back to moments when nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_terminations: list[int] = []


def _terminate(number: int, frame: Any) -> None:
    """SIGTERM does what Ctrl-C does, and is taken note of."""
    _terminations.append(number)
    raise KeyboardInterrupt


# The handlers that mean "raise KeyboardInterrupt now": whoever has others is left alone.
_OURS: dict[int, Callable[[int, Any], None]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: _terminate,
}


@contextmanager
def terminable() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM end the ``with`` block as Ctrl-C does: by KeyboardInterrupt, which `held_back` holds back.

    Nothing is changed in another thread than the main one, or where the host has a handler for SIGTERM.

    Yields
    ------
    callable
        Whether it was SIGTERM.
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
    """Take note of Ctrl-C in the ``with`` block instead of raising KeyboardInterrupt wherever the program is.

    Whoever works in the block asks between two pieces of work, and raises. What nobody raised is raised at the end of
    the block; a second Ctrl-C doesn't wait. Where Ctrl-C is somebody else's (in another thread than the main one,
    or with a handler of the host's), nothing is changed. In a `terminable` block all of that holds for SIGTERM, too.

    Yields
    ------
    callable
        True once Ctrl-C was pressed; asked once, the answer is False again.
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
    except GeneratorExit:  # the block belongs to a generator that nobody wants more of
        _give_back(held, note)
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        _give_back(held, note)
    if pressed:
        raise KeyboardInterrupt


def _give_back(held: list[int], note: Callable[..., None]) -> None:
    """Restore the handlers from before, where `note` is still there."""
    for number in held:
        if signal.getsignal(number) is note:
            with suppress(ValueError):  # a generator may be closed in another thread
                signal.signal(number, _OURS[number])
