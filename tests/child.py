"""Python code in a process of its own. If the code aborts or hangs there, only the test that runs it fails."""

import os
import subprocess
import sys
from textwrap import dedent

# Variables that decide threads and compiling. A child inherits none of them but FASTNN_CACHE_DIR (see `run`).
_DECIDING = ("NUMBA_", "FASTNN_", "OMP_NUM_THREADS")

# Lets any work pay on two threads, however small. `REGIONS` gets an entry for each launch that was split.
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
    """What `code` prints. If it doesn't exit with 0, the test fails with its stderr.

    Parameters
    ----------
    code : str
        The code, indented in any way.
    *arguments : str
        The code's ``sys.argv[1:]``.
    warnings : str
        What to do with warnings, as for Python's option ``-W``.
    timeout : float
        Seconds.
    **environment : str
        Variables in addition to the test's own, of which those of Numba, OpenMP and fastnn are left out, except for
        FASTNN_CACHE_DIR.
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
