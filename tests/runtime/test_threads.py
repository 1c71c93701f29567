"""How many threads a launch may use: the least of all limits, and what a caller may ask for."""

import os

import numba
import numpy as np
import pytest
from child import run

import fastnn
from fastnn.runtime import threads
from fastnn.runtime.threads import available_threads, check_n_threads, threads_for

NUMBA_THREADS = int(numba.config.NUMBA_NUM_THREADS)
ENOUGH = 1e15  # operations that pay on any number of threads


@pytest.fixture
def no_limits(monkeypatch):
    """Neither variables nor processors nor a container limit the threads; Numba has eight."""
    for variable in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(threads, "_process_limit", lambda: 1000)
    monkeypatch.setattr(threads, "_numba_threads", lambda: 8)


@pytest.mark.parametrize("variable", ["FASTNN_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize(
    ("value", "limit"),
    [("3", 3), (" 2 ", 2), ("5,3,1", 5), ("64", 8), ("", 8), ("0", 8), ("-2", 8), ("many", 8), ("²", 8), (",3", 8)],
)
def test_variables_limit_the_threads(no_limits, monkeypatch, variable, value, limit):
    monkeypatch.setenv(variable, value)
    assert available_threads() == limit


def test_the_least_of_all_limits_holds(no_limits, monkeypatch):
    assert available_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    monkeypatch.setenv("FASTNN_NUM_THREADS", "5")
    assert available_threads() == 5
    monkeypatch.setattr(threads, "_process_limit", lambda: 4)
    assert available_threads() == 4
    monkeypatch.setattr(threads, "_numba_threads", lambda: 3)
    assert available_threads() == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system doesn't pin processes")
def test_a_process_on_one_processor_has_one_thread():
    code = """
    import os
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from fastnn.runtime.threads import available_threads
    assert available_threads() == 1, available_threads()
    """
    run(code, NUMBA_NUM_THREADS="4")


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_may_limit_the_processors(monkeypatch, tmp_path, files, processors):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(threads, "Path", lambda path: tmp_path)
    quota = threads._container_quota()
    assert quota == processors if processors else quota > 10_000


def test_more_threads_than_numba_has_are_as_many_as_it_has():
    assert threads_for(ENOUGH, n_threads=10**6) == NUMBA_THREADS
    assert threads_for(ENOUGH, n_threads=1) == 1
    assert threads_for(0.0, n_threads=10**6) == 1
    net = fastnn.Network.create([3, 4, 2])
    X = np.ones((5, 3), np.float32)
    assert net.predict_proba(X, n_threads=10**6).tobytes() == net.predict_proba(X, n_threads=np.int64(1)).tobytes()


@pytest.mark.parametrize(
    ("n_threads", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_a_senseless_number_of_threads_is_refused(n_threads, error):
    net = fastnn.Network.create([3, 4, 2])
    X, y = np.ones((5, 3), np.float32), np.zeros(5, int)
    for call in (
        lambda: check_n_threads(n_threads),
        lambda: net.predict_proba(X, n_threads=n_threads),
        lambda: fastnn.train(net, X, y, n_threads=n_threads),
    ):
        with pytest.raises(error, match="n_threads must be"):
            call()
