"""What a process that embeds fastnn asks of it, as functions that any kind of worker can import."""

import hashlib
import os
import sys
import threading
import time
import warnings

import numpy as np

import fastnn

warnings.filterwarnings("ignore", "Stochastic Optimizer")  # here, since `catch_warnings` isn't for threads

X = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
y = np.arange(300) % 3


def always_parallel() -> list[int]:
    """Let any work pay on two threads, however small; the list gets an entry for each launch that is split."""
    from fastnn.runtime import launch, process, threads
    from fastnn.runtime.cost import Machine

    threads.LEAST_OPERATIONS = 0
    process.measure = lambda n_threads: Machine(region_seconds=0.0, seconds_per_operation=1.0)
    regions: list[int] = []
    address = launch.region_address
    launch.region_address = lambda: regions.append(1) or address()
    return regions


def fit(n_threads=2) -> str:
    """Train a network and an estimator; a digest of all weights."""
    net = fastnn.Network.create([20, 33, 3], seed=0)
    fastnn.train(net, X, y, epochs=2, batch_size=64, n_threads=n_threads)
    clf = fastnn.MLPClassifier((9,), max_iter=2, random_state=0, n_threads=n_threads).fit(X, y)
    return hashlib.sha256(net.params.tobytes() + clf.network_.params.tobytes()).hexdigest()


def score(n_threads=2) -> str:
    """A digest of a new network's probabilities."""
    net = fastnn.Network.create([20, 33, 3], seed=0)
    return hashlib.sha256(net.predict_proba(X, n_threads=n_threads).tobytes()).hexdigest()


def score_and_threads(estimator, rows, labels) -> dict[str, float]:
    """A scorer for a search: how good, in which process, and how many threads a launch of it may use now."""
    from fastnn.runtime.threads import usable_threads

    return {"score": estimator.score(rows, labels), "process": os.getpid(), "threads": usable_threads()}


def fit_and_score(n_threads=2) -> str:
    """Both, as a worker's task."""
    always_parallel()
    return fit(n_threads) + score(n_threads)


def fit_and_score_in_a_fork(n_threads=2) -> str:
    """Both, in a child of the process that is asked, and in that child's child."""
    assert forked(lambda: forked(fit_and_score)) == forked(fit_and_score)
    return forked(fit_and_score)


def forked(task):
    """What `task` returns in a forked child, a string."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, task().encode())
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status}"
    with open(reading) as answer:
        return answer.read()


def at_once(seconds: float, n_scoring: int, n_fitting: int) -> tuple[int, int]:
    """Score and fit from so many threads; how often each was done. Every result must be the serial one."""
    counts = {score: 0, fit: 0}
    alone = {task: task(1) for task in counts}
    strange, end = [], time.monotonic() + seconds
    start = threading.Barrier(n_scoring + n_fitting)

    def work(task) -> None:
        start.wait()
        done = 0
        while time.monotonic() < end or not done:
            try:
                result = task(2)
            except BaseException as error:
                result = repr(error)
            if result != alone[task]:
                strange.append(result)
            done += 1
        counts[task] += done

    threads = [threading.Thread(target=work, args=(task,)) for task in [score] * n_scoring + [fit] * n_fitting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not strange, strange[:3]
    return counts[score], counts[fit]
