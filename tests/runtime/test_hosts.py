"""Hosts with threads, processes and pools: fastnn never ends the host's process, and never changes a bit of a result.

Each test runs its host in a process of its own, since an abort can't be caught, and under each threading layer that
Numba has here.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from child import run

TESTS = Path(__file__).parent.parent
START = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import hosts
regions = hosts.always_parallel()
alone = hosts.fit(1) + hosts.score(1)
assert hosts.fit_and_score() == alone and regions
"""
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")


@cache
def loads(layer: str) -> bool:
    """Whether Numba has this layer here."""
    found = subprocess.run(
        [sys.executable, "-c", "import numba; numba.get_num_threads(); print(numba.threading_layer())"],
        env={**os.environ, "NUMBA_THREADING_LAYER": layer},
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() == layer


@pytest.fixture(params=["omp", "workqueue", "tbb"])
def host(request):
    """A function that runs code in a host with two threads of a layer."""
    if not loads(request.param):
        pytest.skip(f"Numba has no {request.param} here")

    def run_in_host(code: str, timeout: float = 120, **environment: str) -> str:
        layer = {"NUMBA_THREADING_LAYER": request.param, "NUMBA_NUM_THREADS": "2"}
        return run(START + code, timeout=timeout, **layer, **environment)

    return run_in_host


AT_ONCE = "print(hosts.at_once({seconds}, n_scoring=8, n_fitting=2), len(regions))"


def test_ten_threads_at_once_for_a_moment(host):
    host(AT_ONCE.format(seconds=3))


@pytest.mark.slow
def test_ten_threads_at_once_for_a_minute(host):
    print(host(AT_ONCE.format(seconds=60), timeout=200))


def test_ten_thousand_launches_from_four_threads(host):
    """Two launches of workqueue's at the same time would abort the process."""
    host(
        """
import threading
import numpy as np
from fastnn.kernels import tanh
from fastnn.kernels.functions.layers import Elementwise, _tanh
from fastnn.runtime.launch import launch
z = np.linspace(-3, 3, 400, dtype=np.float32)
expected = tanh(z).tobytes()
start, strange = threading.Barrier(4), []
def work():
    start.wait()
    out = np.empty_like(z)
    for _ in range(2500):
        out[:] = 0
        launch(_tanh, Elementwise(z, out), threads=2)
        if out.tobytes() != expected:
            strange.append(1)
before = len(regions)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not strange and len(regions) > before + 100, (len(strange), len(regions) - before)
"""
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools_of_processes(host, method):
    """Workers give the parent's bits after a parallel fit in the parent, and so do the workers' own children."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system doesn't fork")
    tasks = "hosts.fit_and_score" + ("_in_a_fork" if hasattr(os, "fork") else "")
    host(
        f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
context = multiprocessing.get_context({method!r})
with context.Pool(2) as pool:
    assert pool.map(hosts.fit_and_score, [2, 2, 1, 2]) == [alone] * 4
with ProcessPoolExecutor(1, mp_context=context) as pool:
    assert pool.submit({tasks}, 2).result() == alone
assert hosts.fit_and_score() == alone
"""
    )


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(host, backend):
    host(
        f"""
from joblib import Parallel, delayed
tasks = [delayed(hosts.fit_and_score)(n_threads) for n_threads in (2, 2, 1, 2)]
assert Parallel(n_jobs=2, backend={backend!r})(tasks) == [alone] * 4
assert hosts.fit_and_score() == alone
"""
    )


def test_a_grid_search_in_parallel(host):
    host(
        """
import warnings
from sklearn.model_selection import GridSearchCV
import fastnn
warnings.simplefilter("ignore")
search = GridSearchCV(fastnn.MLPClassifier(max_iter=3, random_state=0), {"hidden_layer_sizes": [(4,), (9,)]}, cv=2)
alone = search.fit(hosts.X, hosts.y).cv_results_["mean_test_score"].tolist()
assert search.set_params(n_jobs=2).fit(hosts.X, hosts.y).cv_results_["mean_test_score"].tolist() == alone
""",
        PYTHONWARNINGS="ignore",
    )


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is nothing to share")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_the_workers_of_a_grid_search_have_no_more_threads_than_there_are_processors(backend, layer):
    """Unless `n_threads` is given, the workers together have no more threads than there are processors.

    joblib limits the threads of its processes, a forked child has one thread, and trainings in Python threads share the
    process's threads: no two launches are split at the same moment. (`tests/training/test_calls.py` tests trainings
    that run at the same time.)
    """
    if not loads(layer):
        pytest.skip(f"Numba has no {layer} here")
    found = run(
        f"""
import os, sys
sys.path.insert(0, {str(TESTS)!r})
import joblib, numba
import hosts, fastnn
from fastnn.runtime import launch
from sklearn.model_selection import GridSearchCV
split, most_split = 0, 0
if {backend!r} == "threading":
    hosts.always_parallel()
    class Counting:  # the kernels as `launch` calls them
        def __init__(self, run): self.run = run
        def __call__(self, args, region, n_threads):
            global split, most_split
            split += n_threads > 1
            most_split = max(most_split, split)
            try:
                self.run(args, region, n_threads)
            finally:
                split -= n_threads > 1
    entry = launch.Kernel.entry
    launch.Kernel.entry = lambda kernel, dtype: Counting(entry(kernel, dtype))
grid = {{"hidden_layer_sizes": [(20,), (40,)], "learning_rate_init": [1e-3, 1e-2]}}
network = fastnn.MLPClassifier(max_iter=20, random_state=0)
search = GridSearchCV(network, grid, cv=2, scoring=hosts.score_and_threads, refit=False)
alone = search.fit(hosts.X, hosts.y).cv_results_
with joblib.parallel_backend({backend!r}):
    found = search.set_params(n_jobs=2).fit(hosts.X, hosts.y).cv_results_
def of(results, name): return [value for fold in (0, 1) for value in results[f"split{{fold}}_test_{{name}}"].tolist()]
assert of(found, "score") == of(alone, "score")
expected = 1 if {layer!r} == "workqueue" else min(numba.config.NUMBA_NUM_THREADS, joblib.cpu_count())
assert set(of(alone, "threads")) == {{expected}}
processes, threads = set(of(found, "process")), of(found, "threads")
if {backend!r} == "threading":
    assert processes == {{os.getpid()}} and most_split == (expected > 1)
else:
    assert os.getpid() not in processes
    assert 2 * max(threads) <= joblib.cpu_count(), threads
""",
        NUMBA_THREADING_LAYER=layer,
        PYTHONWARNINGS="ignore",
        warnings="ignore",
    )
    assert found == ""


@forks
def test_a_server_that_loads_before_it_forks(host):
    """As with ``gunicorn --preload``: the model is loaded and used, then workers with threads are forked."""
    host(
        """
import threading
def serve():
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(hosts.score())) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(set(answers)) == 1
    return answers[0]
expected = serve()
for _ in range(4):
    assert hosts.forked(serve) == expected
"""
    )


@forks
def test_a_fork_while_another_thread_launches(host):
    host(
        """
import threading
stop = threading.Event()
def work():
    while not stop.is_set():
        assert hosts.fit() + hosts.score() == alone
thread = threading.Thread(target=work)
thread.start()
for _ in range(20):
    assert hosts.forked(hosts.fit_and_score) == alone
for _ in range(200):  # child and thread have networks of their own: no lock may be shared by networks
    assert hosts.forked(hosts.score) == alone[64:]
stop.set()
thread.join()
"""
    )


@forks
def test_a_fork_while_another_thread_compiles(tmp_path):
    """The child would wait for the compiler's lock for ever: the fork waits until nothing is being compiled."""
    code = f"""
import sys, threading, time
sys.path.insert(0, {str(TESTS)!r})
import hosts, signal
thread = threading.Thread(target=hosts.score)
thread.start()
from numba.core.compiler_lock import global_compiler_lock
lock = global_compiler_lock._lock
while lock.acquire(blocking=False):
    lock.release()
    time.sleep(0.001)
def child():
    signal.alarm(60)
    return hosts.score()
assert hosts.forked(child) == hosts.score()
thread.join()
"""
    run(code, timeout=120, FASTNN_CACHE_DIR=str(tmp_path))


@forks
@pytest.mark.parametrize("module", ["fastnn.kernels.layout", "fastnn.training.state"])
def test_a_fork_while_another_thread_imports_a_part_of_the_package(module):
    code = f"""
import importlib, importlib.machinery, signal, sys, threading, time
sys.path.insert(0, {str(TESTS)!r})
import fastnn
from hosts import forked
importing = threading.Event()
execute = importlib.machinery.SourceFileLoader.exec_module
def slowly(loader, module):
    if module.__name__ == {module!r}:
        importing.set()
        time.sleep(0.3)
    execute(loader, module)
importlib.machinery.SourceFileLoader.exec_module = slowly
thread = threading.Thread(target=lambda: importlib.import_module("fastnn.warmup"))
thread.start()
assert importing.wait(30)
def child():
    signal.alarm(30)
    return f"{{fastnn.Network.create([2, 2])}} {{fastnn.train.__name__}}"
assert forked(child).endswith(" train")
thread.join()
"""
    run(code, timeout=120)


@forks
@pytest.mark.parametrize(
    ("module", "work"),
    [
        ("fastnn.kernels.forward.normalised", "network.outputs(X)"),
        ("fastnn.kernels.epoch.normalised", "fastnn.train(network, X, np.array([0, 1]), epochs=1)"),
        ("numpy.ma", "network.outputs(X)"),
        ("numpy.ma", "network.outputs(X.tolist())"),
    ],
)
def test_a_fork_while_another_thread_imports_what_its_first_call_needs(module, work):
    """The child would wait for the module's lock for ever."""
    code = f"""
import importlib.machinery, signal, sys, threading, time
sys.path.insert(0, {str(TESTS)!r})
import hosts
import numpy as np
import fastnn
network, X = fastnn.Network.create([3, 5, 2], layer_norm=True), np.ones((2, 3), np.float32)
importing = threading.Event()
execute = importlib.machinery.SourceFileLoader.exec_module
def slowly(loader, module):
    if module.__name__ == {module!r}:
        importing.set()
        time.sleep(0.3)
    execute(loader, module)
importlib.machinery.SourceFileLoader.exec_module = slowly
thread = threading.Thread(target=lambda: {work})
thread.start()
assert importing.wait(30)
def child():
    signal.alarm(30)
    {work}
    return "done"
assert hosts.forked(child) == "done"
thread.join()
"""
    run(code, timeout=120)


@forks
@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can a process see that it was forked")
def test_an_import_in_a_fork_of_a_process_with_threads():
    """No hook told fastnn of a fork before its import. GNU omp would kill a child that launches in parallel."""
    code = f"""
import os, sys
import numba
import numpy as np
sys.path.insert(0, {str(TESTS)!r})
@numba.njit(parallel=True)
def count(n):
    total = 0
    for i in numba.prange(n):
        total += 1
    return total
assert count(1000) == 1000
child = os.fork()
if child == 0:
    import hosts
    assert hosts.fit_and_score() == hosts.fit_and_score(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
import hosts
regions = hosts.always_parallel()
hosts.score()
assert regions
"""
    run(code, NUMBA_NUM_THREADS="2", NUMBA_THREADING_LAYER="omp" if loads("omp") else "default")


def test_a_signal_handler_may_score_in_the_midst_of_a_fit(host):
    host(
        """
import signal
answers = []
signal.signal(signal.SIGALRM, lambda *_: answers.append(hosts.score()))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
for _ in range(30):
    assert hosts.fit() + hosts.score() == alone
signal.setitimer(signal.ITIMER_REAL, 0)
assert answers and set(answers) == {hosts.score(1)}
"""
    )
