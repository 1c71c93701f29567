"""Launches: serial or parallel, and that none ends the process or leaves a trace in it."""

import dataclasses
import importlib
import os
import signal
import threading

import numpy as np
import pytest
from child import ALWAYS_PARALLEL, run

import fastnn
from fastnn.runtime import launch as launching
from fastnn.runtime.launch import Kernel, launch, share
from fastnn.runtime.process import process
from fastnn.runtime.threads import threads_for

ENOUGH = 1e15  # operations that pay on any number of threads

# In a child: `digest(n_threads)` trains and scores, `launched()` counts the launches that were split.
WORK = (
    ALWAYS_PARALLEL
    + """
import hashlib, os, sys, threading
import numba
import numpy as np
import fastnn

X = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
y = np.arange(300) % 3

def digest(n_threads):
    net = fastnn.Network.create([20, 33, 3], seed=0)
    fastnn.train(net, X, y, epochs=2, batch_size=64, n_threads=n_threads)
    return hashlib.sha256(net.params.tobytes() + net.predict_proba(X, n_threads=n_threads).tobytes()).hexdigest()

def launched():
    return len(REGIONS)
"""
)
TWO = {"NUMBA_NUM_THREADS": "2"}
each_layer = pytest.mark.parametrize("layer", ["omp", "workqueue"])


def run_on(layer: str, code: str) -> str:
    """Run `WORK` and more code in a child with two threads of this layer."""
    return run(WORK + code, NUMBA_THREADING_LAYER=layer, timeout=120, **TWO)


@pytest.mark.parametrize("unit", [1, 6, 8])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_share_all_items_in_whole_units(unit, parts):
    for n_items in (0, 1, 5, 6, 7, 48, 100):
        bounds = [share(n_items, unit, part, parts) for part in range(parts)]
        assert [bounds[0][0], *(last for _, last in bounds)] == [*(first for first, _ in bounds), n_items]
        assert all(first <= last and (first % unit == 0 or first == n_items) for first, last in bounds)
        units = [-(-(last - first) // unit) for first, last in bounds]
        assert max(units) - min(units) <= 1


@pytest.fixture
def recorder(monkeypatch) -> tuple[Kernel, list[tuple[object, ...]]]:
    """A kernel that isn't compiled, and a list of what it was called with. The region is at 4711."""
    monkeypatch.setattr(launching, "region_address", lambda: 4711)
    calls: list[tuple[object, ...]] = []
    return Kernel("recorder", lambda *args: calls.append(args)), calls


def test_launch_chooses_the_region(recorder):
    kernel, calls = recorder
    launch(kernel, "a", threads=1)
    launch(kernel, "a", threads=2)
    process.launching["by"] = "another thread"
    assert launch(kernel, "a", threads=2) == 1
    del process.launching["by"]
    assert launch(kernel, "a", threads=2) == 2
    assert calls == [("a", 0, 1), ("a", 4711, 2), ("a", 0, 1), ("a", 4711, 2)]


def test_a_launch_that_raises_lets_the_next_one_in(recorder):
    def fails(*args: object) -> None:
        assert process.launching
        raise ZeroDivisionError

    kernel, _ = recorder
    with pytest.raises(ZeroDivisionError):
        launch(dataclasses.replace(kernel, compiled=fails), "a", threads=2)
    assert not process.launching


def test_an_interrupt_never_leaves_a_launch_taken(monkeypatch):
    """Wherever a signal handler raises, the next launch can start. (A lock, with `try`, soon stayed taken for ever.)"""
    monkeypatch.setattr(launching, "region_address", lambda: 4711)
    kernel = Kernel("nothing", lambda *args: None)
    raised = 0

    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    random = np.random.default_rng(0)
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
                for _ in range(100_000):  # a limit: Python drops what is raised in a garbage collector's callback
                    launch(kernel, "a", threads=2)
            except InterruptedError:
                raised += 1
            assert not process.launching
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised > 200


def test_a_forked_child_launches_nothing_in_parallel(recorder, monkeypatch):
    """Even work whose threads were counted before the fork."""
    kernel, calls = recorder
    monkeypatch.setattr(process, "forked", True)
    assert threads_for(ENOUGH, n_threads=8) == 1
    launch(kernel, "a", threads=2)
    assert calls == [("a", 0, 1)]


@each_layer
def test_python_threads_may_launch_at_once(layer):
    """Under workqueue, two launches at once would abort the process."""
    run_on(
        layer,
        """
alone = digest(1)
together, start = [], threading.Barrier(4)
def work():
    start.wait()
    together.extend(digest(2) for _ in range(20))
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert together == [alone] * 80
assert launched() >= 2
""",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@each_layer
def test_a_fork_after_a_parallel_launch_trains_and_scores(layer):
    """GNU omp would kill the child; the bits are the parent's. The child's own child, and the parent, go on too."""
    run_on(
        layer,
        """
parent = digest(2)
assert launched() == 2
def forked(then):
    child = os.fork()
    if child == 0:
        try:
            then()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"status {status}: killed by signal {os.WTERMSIG(status)}"
def child():
    assert digest(2) == parent
    assert digest(None) == parent
    forked(grandchild)
def grandchild():
    assert digest(2) == parent
forked(child)
assert digest(2) == parent
""",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_fork_in_the_midst_of_training_may_go_on_with_it():
    run_on(
        "omp",
        """
net = fastnn.Network.create([20, 33, 3], seed=0)
from fastnn.network.samples import Samples
from fastnn.training.stopping import Stopping
from fastnn.training.trainer import TrainOptions, Trainer
options = TrainOptions(n_threads=2, batch_size=64)
epochs = Trainer(net, options).epochs(Samples(X, y), 3, Stopping())
next(epochs)
assert launched() == 1
child = os.fork()
if child == 0:
    list(epochs)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, f"status {status}"
list(epochs)
""",
    )


def test_workqueue_stays_serial_unless_threads_are_named():
    run_on(
        "workqueue",
        """
os.environ.pop("OMP_NUM_THREADS", None)
from fastnn.runtime import threads
threads._process_limit = lambda: 2
serial = digest(None)
assert numba.threading_layer() == "workqueue"
assert launched() == 0
assert digest(2) == serial
assert launched() == 2
""",
    )


@each_layer
def test_the_callers_thread_mask_is_left_alone(layer):
    run_on(
        layer,
        """
for mask in (1, 2):
    numba.set_num_threads(mask)
    digest(2)
    fastnn.kernels.tanh(X.copy())
    assert numba.get_num_threads() == mask
assert launched() >= 4
# In another Python thread, whose mask is its own.
def work():
    numba.set_num_threads(1)
    digest(2)
    masks.append(numba.get_num_threads())
masks = []
thread = threading.Thread(target=work)
thread.start(); thread.join()
assert masks == [1]
assert numba.get_num_threads() == 2
""",
    )


def test_numbas_own_limit_holds_unless_threads_are_named():
    """``numba.set_num_threads`` is the limit that users know, and that joblib and notebooks set."""
    run_on(
        "omp",
        """
from fastnn.runtime import threads
threads._process_limit = lambda: 2
numba.set_num_threads(1)
serial = digest(None)
assert launched() == 0
numba.set_num_threads(2)
assert digest(None) == serial
assert launched() == 2
""",
    )


def test_an_estimator_of_one_thread_launches_nothing_in_parallel():
    """Fitting, scoring the samples that early stopping holds out, and predicting all run on one thread."""
    run_on(
        "omp",
        """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    clf = fastnn.MLPClassifier((33,), max_iter=3, early_stopping=True, n_threads=1).fit(X, y)
clf.predict_proba(X), clf.predict(X.astype(float)), clf.score(X, y)
assert launched() == 0
clf.set_params(n_threads=2).predict(X)
assert launched() == 1
""",
    )


def has_tbb() -> bool:
    try:
        importlib.import_module("numba.np.ufunc.tbbpool")
    except ImportError:
        return False
    return True


@pytest.mark.skipif(has_tbb(), reason="this Numba has tbb, and the test needs a layer that is missing")
def test_a_missing_layer_means_one_thread_and_one_warning():
    run_on(
        "tbb",
        """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert digest(2) == digest(None) == digest(1)
[warned] = caught
assert warned.category is RuntimeWarning and "goes on with one" in str(warned.message)
assert launched() == 0
""",
    )


def test_a_long_launch_lets_other_python_threads_run():
    """The kernels release the GIL: the main thread counts while another one trains."""
    net = fastnn.Network.create([64, 256, 10], seed=0)
    X = np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32)
    fastnn.train(net, X[:10], np.arange(10), epochs=1, n_threads=1)  # compiled
    thread = threading.Thread(
        target=fastnn.train, args=(net, X, np.arange(5000) % 10), kwargs={"epochs": 20, "n_threads": 1}
    )
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        thread.join(0.001)
    assert turns > 20
