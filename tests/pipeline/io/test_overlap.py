"""Reading ahead and writing behind: order, bounds, errors, and threads that end."""

import gc
import signal
import subprocess
import sys
import threading
import time

import child
import pytest

from fastnn.pipeline.io.overlap import read_ahead, write_behind


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastnn-")]


def soon(condition):
    """Whether the condition holds within a few seconds."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


class Made:
    """A stream that records how many items were made and which thread closed it."""

    def __init__(self, n, error=None):
        self.n, self.error = n, error
        self.made = 0
        self.closed_in = None

    def __iter__(self):
        try:
            for i in range(self.n):
                self.made += 1
                yield i
            if self.error is not None:
                raise self.error
        finally:
            self.closed_in = threading.current_thread().name


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_same_items_in_order_made_elsewhere(n):
    made = Made(1000)
    assert list(read_ahead(made, n)) == list(range(1000))
    assert made.closed_in == "fastnn-ahead"
    assert not threads()
    assert list(read_ahead([], n)) == [] and list(read_ahead("abc", n)) == ["a", "b", "c"]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_at_most_n_wait(n):
    made = Made(1000)
    stream = read_ahead(made, n)
    assert made.made == 0  # nothing is made before the first item is asked for
    for taken in range(1, 4):
        next(stream)
        assert soon(lambda taken=taken: made.made == taken + n)
        time.sleep(0.01)
        assert made.made == taken + n
    stream.close()


def test_making_goes_on_while_the_caller_works():
    asked = threading.Event()

    def items():
        yield 1
        asked.set()
        yield 2

    stream = read_ahead(items())
    assert next(stream) == 1
    assert asked.wait(5)
    assert list(stream) == [2]


@pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt(), StopIteration()])
def test_errors_come_in_their_turn(error):
    stream = read_ahead(Made(5, error), 3)
    assert [next(stream) for _ in range(5)] == list(range(5))
    # A generator can't raise StopIteration: Python turns it into a RuntimeError.
    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
        next(stream)
    assert not threads()


def test_what_is_no_iterable():
    with pytest.raises(TypeError):
        next(read_ahead(3))
    with pytest.raises(ValueError, match="at least 1"):
        next(read_ahead([], 0))


@pytest.mark.parametrize("leave", ["close", "forget", "raise"])
@pytest.mark.parametrize("n", [1, 3])
def test_leaving_ends_the_thread_and_closes_the_stream_in_it(leave, n):
    made = Made(10**9)
    stream = read_ahead(made, n)
    next(stream)
    if leave == "close":
        stream.close()
    elif leave == "forget":
        del stream
        gc.collect()
    else:

        def consume():
            for _ in read_ahead(made, n):
                raise KeyboardInterrupt

        stream.close()
        with pytest.raises(KeyboardInterrupt):
            consume()
        gc.collect()
    assert soon(lambda: not threads())
    assert made.closed_in == "fastnn-ahead"
    assert made.made <= 2 * (n + 1)


def test_leaving_does_not_wait_for_an_item_that_never_comes(monkeypatch):
    monkeypatch.setattr("fastnn.pipeline.io.overlap._PATIENCE", 0.01)
    never = threading.Event()

    def items():
        yield 1
        never.wait()

    stream = read_ahead(items())
    next(stream)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 1
    never.set()
    assert soon(lambda: not threads())


def test_a_stream_that_never_began_leaves_nothing():
    read_ahead(Made(3)).close()
    assert not threads()


INTERRUPTED = """
import time
from fastnn.pipeline.io.overlap import read_ahead
def items():
    yield 1
    print("waiting", flush=True)
    time.sleep({seconds})
    while True:
        yield 2
for item in read_ahead(items()):
    pass
"""


@pytest.mark.parametrize("seconds", [0, 3600])
def test_ctrl_c(seconds):
    """Ctrl-C ends the caller, whether it waits for an item or works on one; the thread doesn't hold it up."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(seconds=seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


FORKED = """
import os, sys
from fastnn.pipeline.io.overlap import read_ahead
stream = read_ahead(range(10**9))
next(stream)
child = os.fork()
if child == 0:
    assert list(read_ahead([1, 2])) == [1, 2]
    try:
        next(stream)
    except RuntimeError as error:
        assert "before a fork" in str(error)
        del stream
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert next(stream) == 1
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_is_told():
    child.run(FORKED, warnings="ignore", timeout=60)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_behind_uses_all_items_in_order(n):
    used = []
    where = set()

    def use(items):
        for item in items:
            used.append(item)
            where.add(threading.current_thread().name)
        used.append("end")

    with write_behind(use, n) as hand_over:
        for i in range(1000):
            hand_over(i)
    assert used == [*range(1000), "end"]
    assert where == {"fastnn-behind"}
    assert not threads()


def test_at_most_n_wait_to_be_used():
    handed = []
    go_on = threading.Event()

    def hand_all():
        with write_behind(lambda items: [go_on.wait() for _ in items], 2) as hand_over:
            for i in range(100):
                hand_over(i)
                handed.append(i)

    caller = threading.Thread(target=hand_all)
    caller.start()
    assert soon(lambda: len(handed) == 3)  # one is being used
    time.sleep(0.01)
    assert len(handed) == 3
    go_on.set()
    caller.join()
    assert len(handed) == 100


@pytest.mark.parametrize("after", [0, 1, 50, 99, 100])
def test_what_use_raises_is_raised_where_items_are_handed_over(after):
    def use(items):
        for i, _ in enumerate(items):
            if i == after:
                raise OSError("full")
        if after == 100:
            raise OSError("full")

    handed = 0
    with pytest.raises(OSError, match="full"), write_behind(use, 2) as hand_over:
        for i in range(100):
            hand_over(i)
            handed += 1
    assert after <= handed <= after + 4
    assert not threads()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_use_is_told_that_the_items_ended_early(error):
    outcome = []

    def use(items):
        try:
            list(items)
            outcome.append("whole")
        except RuntimeError:
            outcome.append("left")
            raise

    with pytest.raises(error), write_behind(use) as hand_over:
        hand_over(1)
        raise error
    assert outcome == ["left"]
    assert not threads()
