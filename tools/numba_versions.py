"""Run the core tests with the oldest and with the newest Numba that was tested, each in a fresh virtual environment.

    python tools/numba_versions.py [--keep FOLDER] [TESTS ...]

The versions are `TESTED` of `fastnn/runtime/numba_private.py`. Each environment has the package with its test extra. By
default all tests run, except those of the benchmarks, of the notebook, and of the sources' form (lint and types), which
don't depend on Numba's version. The exit status is 0 if the tests pass with both versions.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("tests/benchmarks", "tests/test_notebook.py", "tests/test_checks.py")


def tested() -> tuple[str, ...]:
    """The versions, read from the source: to import it would need a Numba."""
    tree = ast.parse((ROOT / "fastnn/runtime/numba_private.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TESTED":
            versions: tuple[str, ...] = ast.literal_eval(node.value)
            return versions
    raise ValueError("numba_private.py doesn't say which versions were tested.")


def passes(version: str, folder: Path, tests: list[str]) -> bool:
    """Whether the tests pass in a fresh environment with this version of Numba."""
    venv.create(folder, clear=True, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", f"numba=={version}", "-e", f"{ROOT}[test]"], check=True)
    # A cache of its own: the first fit of each version compiles.
    environment = {**os.environ, "FASTNN_CACHE_DIR": str(folder / "cache")}
    left_out = [] if tests else [f"--ignore={path}" for path in LEFT_OUT]
    finished = subprocess.run([python, "-m", "pytest", "-q", *left_out, *tests], cwd=ROOT, env=environment, check=False)
    print(f"Numba {version}: the tests {'pass' if finished.returncode == 0 else 'fail'}.", flush=True)
    return finished.returncode == 0


def main() -> int:
    """Test each version and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the environments here, and leave them")
    parser.add_argument("tests", nargs="*", help="files or folders of tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        results = [passes(version, (folder / version).resolve(), options.tests) for version in tested()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
