"""Hours of a host's life in minutes: threads that train, score, save, load and fork at once, in several processes.

``python -m benchmarks.soak --minutes 10`` reports how often each was done, errors, and how resident memory and open
handles went; it exits with 1 if there was an error, memory wandered by more than 2 %, or a handle leaked. Every result
is compared with that of one thread alone.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from fastnn import MLPClassifier, Network, train

WANDERING = 0.02
# A forked child that takes longer hangs: the signal ends it.
CHILD_SECONDS = 120
# The share of the time after which memory is warm: every thread has done everything, and the allocator has its arenas.
WARM = 0.2


class Host:
    """The work of one process, and what it should give."""

    def __init__(self, folder: Path) -> None:
        X, y = load_digits(return_X_y=True)
        self.X, self.y = X[:600].astype(np.float32) / 16, y[:600]
        self.folder = folder
        self.path = folder / "model"
        self.tasks: dict[str, Callable[[], bytes]] = {
            "train": self.train,
            "fit": self.fit,
            "score": self.score,
            "save": self.save,
            "load": self.load,
            "fork": self.fork,
        }
        self.save()
        self.expected = {name: task() for name, task in self.tasks.items()}

    def network(self) -> Network:
        """The same each time, with labels."""
        return Network.create([64, 100, 10], seed=1, classes=np.arange(10))

    def train(self) -> bytes:
        """With a checkpoint of this thread's own."""
        net, path = self.network(), self.folder / f"checkpoint-{threading.get_ident()}"
        train(net, self.X, self.y, epochs=4, n_threads=2, checkpoint=path, checkpoint_every=2)
        path.unlink()
        return net.params.tobytes()

    def fit(self) -> bytes:
        """The estimator, which holds out a part and keeps the best weights."""
        clf = MLPClassifier((20,), max_iter=5, early_stopping=True, random_state=0, n_threads=2).fit(self.X, self.y)
        return clf.network_.params.tobytes() + clf.predict_proba(self.X).tobytes()

    def score(self) -> bytes:
        """All rows, in another dtype too."""
        net = self.network()
        return net.predict_proba(self.X).tobytes() + net.predict_proba(self.X.astype(float), n_threads=2).tobytes()

    def save(self) -> bytes:
        """Over the file that others load."""
        self.network().save(self.path)
        return b""

    def load(self) -> bytes:
        """What somebody saved."""
        return Network.load(self.path).params.tobytes()

    def fork(self) -> bytes:
        """A child that trains and scores."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(CHILD_SECONDS)
            try:
                with open(writing, "wb") as answer:
                    answer.write(self.train() + self.score())
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb") as answer:
            result = answer.read()
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"a forked child ended with status {status}")
        return result


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles() -> int:
    """Open files of this process."""
    return len(os.listdir("/proc/self/fd"))


def work(seconds: float, n_threads: int) -> dict[str, object]:
    """Soak this process."""
    warnings.filterwarnings("ignore", "Stochastic Optimizer")
    counts: collections.Counter[str] = collections.Counter()
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder))
        gc.collect()
        open_before = handles()
        began = time.monotonic()
        end = began + seconds

        def live(seed: int) -> None:
            chance = random.Random(seed)
            while time.monotonic() < end:
                name = chance.choice(list(host.tasks))
                try:
                    if host.tasks[name]() != host.expected[name]:
                        errors.append(f"{name}: another result")
                except BaseException:
                    errors.append(f"{name}: {traceback.format_exc()}")
                counts[name] += 1

        threads = [threading.Thread(target=live, args=(seed,)) for seed in range(n_threads)]
        for thread in threads:
            thread.start()
        warm: list[int] = []
        while (now := time.monotonic()) < end:
            if now > began + WARM * seconds:
                warm.append(resident())
            time.sleep(0.1)
        for thread in threads:
            thread.join()
        left = sorted(path.name for path in Path(folder).iterdir())
        for name, task in host.tasks.items():
            if task() != host.expected[name]:
                errors.append(f"{name}: another result at the end")
        gc.collect()
        open_after = handles()
    tenth = max(1, len(warm) // 10)
    first, last = (float(np.median(part)) for part in (warm[:tenth], warm[-tenth:]))
    return {
        "counts": dict(counts),
        "errors": errors,
        "resident_mb": [round(first / 1e6, 1), round(last / 1e6, 1)],
        "wandered": last / first - 1,
        "handles": [open_before, open_after],
        "files_left": left,
    }


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(60 * options.minutes, options.threads)))
        return 0
    command = [sys.executable, "-m", "benchmarks.soak", "--worker", "--threads", str(options.threads)]
    command += ["--minutes", str(options.minutes)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(options.processes)]
    failed = False
    for number, worker in enumerate(workers, 1):
        out, _ = worker.communicate()
        if worker.returncode:
            print(f"process {number} ended with exit code {worker.returncode}")
            failed = True
            continue
        found = json.loads(out)
        bad = found["errors"] or abs(found["wandered"]) > WANDERING or found["handles"][0] != found["handles"][1]
        failed = failed or bool(bad) or found["files_left"] != ["model"]
        done = ", ".join(f"{name} {count}" for name, count in sorted(found["counts"].items()))
        first, last = found["resident_mb"]
        print(f"process {number}: {done}; {len(found['errors'])} errors")
        print(f"  resident {first} MB once warm, {last} MB at the end ({100 * found['wandered']:+.2f} %)")
        print(f"  open handles {found['handles'][0]} before, {found['handles'][1]} after")
        print(*found["errors"][:3], sep="\n", end="\n" if found["errors"] else "")
    print("failed" if failed else "passed")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
