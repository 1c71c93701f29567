"""Threads that read ahead of the caller and write behind it, so that reading, scoring and writing overlap in time."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Semaphore, Thread, current_thread
from typing import Generic, TypeVar

T = TypeVar("T")

# Closing a stream waits for the item that is being made, but no longer than this, because it may never come.
_PATIENCE = 2.0  # seconds


def read_ahead(items: Iterable[T], n: int = 2) -> Generator[T, None, None]:
    """The same items, made in another thread while the caller works on earlier ones.

    Parameters
    ----------
    items : iterable
        A daemon thread iterates over it, and closes it if it has a ``close`` method. The thread starts when the first
        item is asked for.
    n : int
        The largest number of items that wait or are being made.

    Yields
    ------
    object
        The items in their order. An error that `items` raises is raised after the items that preceded it. The thread
        ends when the generator is closed or garbage-collected.

    Raises
    ------
    RuntimeError
        In a forked child that continues its parent's stream: the child doesn't have the thread.
    """
    queue: _Queue[T] = _Queue(n)
    thread = Thread(target=_make, args=(items, queue), name="fastnn-ahead", daemon=True)
    process = os.getpid()
    thread.start()
    try:
        while True:
            if os.getpid() != process:
                raise RuntimeError("A stream that was begun before a fork can't be read in the child.")
            found = queue.get()
            if found is None:
                return
            yield found[0]
            del found  # which frees the item while the next one is waited for
    finally:
        if os.getpid() == process:  # the locks that a forked child has copies of would never be released
            queue.close()
            if thread is not current_thread():  # the garbage collector may run in any thread
                thread.join(_PATIENCE)


def _make(items: Iterable[T], queue: _Queue[T]) -> None:
    try:
        iterator = iter(items)
        try:
            while queue.has_room():
                queue.put(next(iterator))
        except StopIteration:
            pass
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
    except BaseException as error:
        queue.end(error)
    else:
        queue.end()


@contextmanager
def write_behind(use: Callable[[Iterator[T]], object], n: int = 2) -> Iterator[Callable[[T], None]]:
    """Hand items over to a function that works on them in another thread.

    Parameters
    ----------
    use : callable
        Called once, with an iterator over the items. The iterator ends where the ``with`` block ends. If the block
        raises an error, the iterator raises one, too.
    n : int
        The largest number of items that wait.

    Yields
    ------
    callable
        Hands over an item. The call waits while `n` items wait already, and raises the error that `use` raised. The end
        of the block raises this error, too.
    """
    queue: _Queue[T] = _Queue(n)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            use(_until_end(queue))
        except BaseException as error:
            failures.append(error)
            queue.close()

    def hand_over(item: T) -> None:
        if not queue.has_room():
            raise failures[0]
        queue.put(item)

    thread = Thread(target=work, name="fastnn-behind", daemon=True)
    thread.start()
    try:
        yield hand_over
        queue.end()
        thread.join()
    except BaseException:
        queue.close()
        queue.end()
        thread.join()
        raise
    if failures:
        raise failures[0]


def _until_end(queue: _Queue[T]) -> Iterator[T]:
    while True:
        found = queue.get()
        if queue.closed:
            raise RuntimeError("The block that hands the items over has failed.")
        if found is None:
            return
        yield found[0]
        del found  # which frees the item while the next one is waited for


class _Queue(Generic[T]):
    """A bounded queue with an end, which the thread at either side may close."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"The number of items that wait must be at least 1, got {n}.")
        self._room = Semaphore(n)
        self._items: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
        self.closed = False

    def has_room(self) -> bool:
        """Wait until there is room for one more item, and reserve it for the caller; False if the queue is closed."""
        self._room.acquire()
        return not self.closed

    def put(self, item: T) -> None:
        """Add an item, for which `has_room` has reserved room."""
        self._items.put((item,))

    def end(self, error: BaseException | None = None) -> None:
        """Mark the end of the items, or put an error in the next item's place."""
        self._items.put(error)

    def get(self) -> tuple[T] | None:
        """Wait for the next item. After the last item the result is None; an error in an item's place is raised."""
        found = self._items.get()
        if isinstance(found, BaseException):
            raise found
        self._room.release()
        return found

    def close(self) -> None:
        """Accept no more items. A thread that waits for room goes on, and learns that the queue is closed."""
        self.closed = True
        self._room.release()
