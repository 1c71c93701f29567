"""Code that needs a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
