"""The state of a process: what was measured, and what a fork's child forgets."""

from fastnn.runtime import process as processes
from fastnn.runtime.cost import Machine


def test_a_machine_is_measured_again_after_a_while(monkeypatch):
    """The first time it may have been busy."""
    now, found = [0.0], [Machine(1.0, 1.0)]
    process = processes.Process()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(processes, "measure", lambda n_threads: found[0])
    assert process.machine(2) == found[0]
    found[0] = Machine(1e-6, 1.0)
    assert process.machine(2) == Machine(1.0, 1.0)
    now[0] = 1.1
    process.launching["by"] = "another thread"
    assert process.machine(2) == Machine(1.0, 1.0)
    assert process.machine(3) is None
    del process.launching["by"]
    assert process.machine(2) == found[0]
    measured = process.measured[2]
    assert measured.until == 1.1 + 2 and measured.pause == 2


def test_a_forks_child_forgets_what_its_parent_was_doing():
    process, training = processes.Process(), lambda: None
    process.launching["by"] = "the parent"
    process.sharing.add(training)
    process.after_fork()
    assert process.forked and not process.launching and not process.sharing
