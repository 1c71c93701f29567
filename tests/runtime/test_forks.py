"""A fork waits for other threads that compile. (`test_hosts.py` tests forks of whole programs.)"""

import time
from pathlib import Path

from fastnn.runtime import forks


def test_a_fork_waits_no_longer_than_it_must(monkeypatch):
    """The thread that compiles may itself wait for the thread that forks."""

    class Taken:
        def acquire(self, timeout):
            time.sleep(timeout)
            return False

    guard = forks._ForkGuard()
    monkeypatch.setattr(forks, "_LONGEST_WAIT", 0.01)
    monkeypatch.setattr(guard, "_lock", Taken())
    guard.before()
    guard.after()  # releases nothing, since `before` didn't get the lock


def test_a_fork_that_waits_goes_on_waiting_when_interrupted(monkeypatch):
    """Python drops what a fork's hook raises, so the interrupt can't end the wait."""
    answers = [KeyboardInterrupt(), True]

    class Interrupted:
        held = 0

        def acquire(self, timeout):
            answer = answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            self.held += 1
            return answer

        def release(self):
            self.held -= 1

    guard = forks._ForkGuard()
    lock = Interrupted()
    monkeypatch.setattr(guard, "_lock", lock)
    guard.before()
    assert lock.held == 1
    guard.after()
    assert lock.held == 0


def test_nothing_is_cached_behind_a_lock_of_python():
    """In Python 3.11 a `cached_property` has one lock, which a fork's child may find taken for ever."""
    sources = [path.read_text() for path in Path(forks.__file__).parents[1].rglob("*.py")]
    assert not any("import cached_property" in source or "@cached_property" in source for source in sources)


def test_late_imports_run_once_for_each_argument():
    calls = []
    loaded = forks.late(lambda name: calls.append(name) or [name])
    assert loaded("a") is loaded("a") and loaded("b") == ["b"]
    assert calls == ["a", "b"]
