"""Start-up, in fresh processes."""

from __future__ import annotations

import tempfile

from benchmarks import child

IMPORT = """
import time
start = time.perf_counter()
import fastnn
print(time.perf_counter() - start)
"""

FIRST_FIT = """
import time
import numpy as np
from fastnn import MLPClassifier
X, y = np.random.default_rng(0).standard_normal((200, 20), np.float32), np.arange(200) % 3
start = time.perf_counter()
MLPClassifier(max_iter=1, tol=0.5, n_iter_no_change=1, random_state=0).fit(X, y)
print(time.perf_counter() - start)
"""


class StartUp:
    """Seconds until the first result."""

    version = "1"
    timeout = 300.0
    unit = "s"

    def track_import(self) -> float:
        """`import fastnn`, with NumPy and Numba; the best of five."""
        return min(float(child.run(IMPORT)) for _ in range(5))

    def track_first_fit_cold(self) -> float:
        """The first fit of a machine: everything is compiled. Once, since it takes ten seconds."""
        with tempfile.TemporaryDirectory() as folder:
            return float(child.run(FIRST_FIT, FASTNN_CACHE_DIR=folder))

    def track_first_fit_warm(self) -> float:
        """The first fit of a process: compiled code is on disk; the best of three, after one that compiles."""
        child.run(FIRST_FIT)
        return min(float(child.run(FIRST_FIT)) for _ in range(3))
