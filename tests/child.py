"""Python code in a process of its own: what may abort, hang or need another environment fails a test only."""

import os
import subprocess
import sys
from textwrap import dedent

# What decides threads and the cache: a child inherits none of it.
_DECIDING = ("NUMBA_", "FASTNN_", "OMP_NUM_THREADS")

# Any work pays on two threads, however small; `REGIONS` has an entry for each launch that was split.
ALWAYS_PARALLEL = """
from fastnn.runtime import launch, process, threads
from fastnn.runtime.cost import Machine
threads.LEAST_OPERATIONS = 0
process.measure = lambda n_threads: Machine(region_seconds=0.0, seconds_per_operation=1.0)
REGIONS = []
address = launch.region_address
launch.region_address = lambda: REGIONS.append(1) or address()
"""


def run(code: str, *arguments: str, warnings: str = "error", timeout: float = 300, **environment: str) -> str:
    """What `code` prints; fails with its stderr if it doesn't exit with 0.

    Parameters
    ----------
    code : str
        Indented as one likes.
    *arguments : str
        Become ``sys.argv[1:]``.
    warnings : str
        What to do with warnings, as of Python's ``-W``.
    timeout : float
        Seconds.
    **environment : str
        Variables on top of the test's own; those of Numba, OpenMP and fastnn are taken out first.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_DECIDING)}
    kept = {name: os.environ[name] for name in ("FASTNN_CACHE_DIR",) if name in os.environ}
    finished = subprocess.run(
        [sys.executable, "-P", "-W", warnings, "-c", dedent(code), *arguments],
        env=inherited | kept | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert finished.returncode == 0, f"exit code {finished.returncode}:\n{finished.stderr}\n{finished.stdout}"
    return finished.stdout
