"""Code that needs a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
# They make OpenBLAS run another processor's kernels, at a fraction of its speed.
CRIPPLING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# Imports this package as `benchmarks`, but makes nothing else in the folder around it importable: the fastnn in that
# folder needn't be the one that is installed and measured.
_IMPORT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("benchmarks", {path!r})
sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["benchmarks"])
"""


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints when it runs `code`. If it fails, RuntimeError is raised with its stderr."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def run_with_benchmarks(code: str) -> str:
    """What `run` returns, for code that imports from `benchmarks`."""
    return run(_IMPORT.format(path=str(Path(__file__).with_name("__init__.py"))) + code)


@contextlib.contextmanager
def surroundings(threads: int) -> Iterator[None]:
    """The environment and the processors that a process started now inherits.

    Libraries read both while they load. JAX has no number of threads to set; it counts its processors.
    """
    environment = dict(os.environ)
    processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        for name in CRIPPLING_VARIABLES:
            os.environ.pop(name, None)
        if processors:
            os.sched_setaffinity(0, sorted(processors)[:threads])
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        if processors:
            os.sched_setaffinity(0, processors)
