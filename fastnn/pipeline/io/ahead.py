"""Overlap in a stream: items made ahead in a thread of their own, and items used behind in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Semaphore, Thread, current_thread
from typing import Generic, TypeVar

T = TypeVar("T")

# Who closes a stream waits for the item that is being made, but no longer than this: it may never come.
_PATIENCE = 2.0  # seconds


def ahead(items: Iterable[T], n: int = 2) -> Generator[T, None, None]:
    """The same items, made in a thread of their own while the caller works on those before.

    Parameters
    ----------
    items : iterable
        Iterated over, and closed if it can be, in a daemon thread that starts when the first item is asked for.
    n : int
        At most so many items wait or are being made.

    Yields
    ------
    object
        The items in their order. What `items` raises is raised after the items before it. Closing the generator, or
        forgetting it, ends the thread.

    Raises
    ------
    RuntimeError
        In a forked child that goes on with its parent's stream: the thread stayed behind.
    """
    lane: _Lane[T] = _Lane(n)
    thread = Thread(target=_make, args=(items, lane), name="fastnn-ahead", daemon=True)
    process = os.getpid()
    thread.start()
    try:
        while True:
            if os.getpid() != process:
                raise RuntimeError("A stream that was begun before a fork can't be read in the child.")
            found = lane.get()
            if found is None:
                return
            yield found[0]
            del found  # while the next one is waited for
    finally:
        if os.getpid() == process:  # a forked child has copies of locks that nobody will release
            lane.close()
            if thread is not current_thread():  # the garbage collector works anywhere
                thread.join(_PATIENCE)


def _make(items: Iterable[T], lane: _Lane[T]) -> None:
    try:
        iterator = iter(items)
        try:
            while lane.has_room():
                lane.put(next(iterator))
        except StopIteration:
            pass
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
    except BaseException as error:
        lane.end(error)
    else:
        lane.end()


@contextmanager
def behind(use: Callable[[Iterator[T]], object], n: int = 2) -> Iterator[Callable[[T], None]]:
    """Hand items over to a function that works on them in a thread of its own.

    Parameters
    ----------
    use : callable
        Called once, with an iterator over the items. It ends where the ``with`` block does; if the block raises,
        the iterator raises too.
    n : int
        At most so many items wait.

    Yields
    ------
    callable
        Hands over an item. It waits while there is no room, and raises what `use` raised; so does the end of the block.
    """
    lane: _Lane[T] = _Lane(n)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            use(_until_end(lane))
        except BaseException as error:
            failures.append(error)
            lane.close()

    def hand_over(item: T) -> None:
        if not lane.has_room():
            raise failures[0]
        lane.put(item)

    thread = Thread(target=work, name="fastnn-behind", daemon=True)
    thread.start()
    try:
        yield hand_over
        lane.end()
        thread.join()
    except BaseException:
        lane.close()
        lane.end()
        thread.join()
        raise
    if failures:
        raise failures[0]


def _until_end(lane: _Lane[T]) -> Iterator[T]:
    while True:
        found = lane.get()
        if lane.closed:
            raise RuntimeError("Whoever made the items has left before the end.")
        if found is None:
            return
        yield found[0]
        del found


class _Lane(Generic[T]):
    """A bounded queue with an end, which either side may close."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"At least one item waits, got {n}.")
        self._room = Semaphore(n)
        self._queue: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
        self.closed = False

    def has_room(self) -> bool:
        """Wait for room for one item: it is the caller's. False if the lane is closed."""
        self._room.acquire()
        return not self.closed

    def put(self, item: T) -> None:
        """An item into the room that was waited for."""
        self._queue.put((item,))

    def end(self, error: BaseException | None = None) -> None:
        """There are no more items, because of an error or without one."""
        self._queue.put(error)

    def get(self) -> tuple[T] | None:
        """Wait for the next item, None after the last; or the error that came in its place, raised."""
        found = self._queue.get()
        if isinstance(found, BaseException):
            raise found
        self._room.release()
        return found

    def close(self) -> None:
        """No more items: whoever waits for room is told."""
        self.closed = True
        self._room.release()
