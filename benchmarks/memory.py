"""Peaks of memory over the baseline, in processes of their own (Linux)."""

from __future__ import annotations

from benchmarks import child

MEASURE = """
import re
from pathlib import Path
import numpy as np
from fastnn import MLPClassifier

def status(field):
    return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

rng = np.random.default_rng(0)
X, y = rng.standard_normal((20_000, 784), np.float32), np.arange(20_000) % 10
model = MLPClassifier((128,), max_iter=1, tol=10.0, n_iter_no_change=1, batch_size=256, random_state=0)
model.fit(X[:600], y[:600]).predict_proba(X[:600])  # compiled, loaded, threads started
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
before = status("VmRSS")
{work}
print(status("VmHWM") - before)
"""


class Memory:
    """784-128-10, 20,000 rows (63 MB)."""

    version = "1"
    timeout = 120.0
    unit = "bytes"

    def track_peak_over_baseline_fit(self) -> int:
        """While fitting."""
        return int(child.run(MEASURE.format(work="model.fit(X, y)")))

    def track_peak_over_baseline_predict(self) -> int:
        """While scoring."""
        return int(child.run(MEASURE.format(work="model.predict_proba(X)")))
