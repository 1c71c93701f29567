"""Numba's internals stay in one file, and fastnn goes on without each of them, with the same bits and one warning."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
from child import _DECIDING

import fastnn
from fastnn.runtime import numba_private

PACKAGE = Path(fastnn.__file__).parent
# What Numba documents for extensions, which may be used anywhere.
EXTENSIONS = {"numba.core.cgutils", "numba.core.types"}

# In a child. `hide` takes an attribute away from fastnn alone: Numba itself goes on with it.
HIDE = """
import sys
def hide(owner, name):
    missing = object()
    kept = getattr(owner, name, missing)
    class Hidden:
        def __get__(self, instance, kind):
            if sys._getframe(1).f_globals.get("__name__", "").startswith("fastnn"):
                raise AttributeError(name)
            if instance is not None and name in instance.__dict__:
                return instance.__dict__[name]
            if kept is missing:
                raise AttributeError(name)
            return kept.__get__(instance, kind) if hasattr(kept, "__get__") else kept
        def __set__(self, instance, value):
            instance.__dict__[name] = value
    setattr(owner, name, Hidden())
import numba
from numba.core import base, caching, ccallback, codegen, compiler, compiler_lock, cpu, dispatcher
"""
# Trains and scores on one thread and on two, and prints the digest of each.
WORK = """
import hashlib
import numpy as np
import fastnn
X = np.random.default_rng(0).standard_normal((150, 20)).astype(np.float32)
for n_threads in (1, 2):
    net = fastnn.Network.create([20, 33, 3], seed=0)
    fastnn.train(net, X, np.arange(150) % 3, epochs=2, batch_size=64, n_threads=n_threads)
    scores = net.predict_proba(X, n_threads=n_threads), net.predict_proba(X, n_threads=n_threads)
    print(hashlib.sha256(net.params.tobytes() + scores[0].tobytes() + scores[1].tobytes()).hexdigest())
"""
# What is taken away, and what the warning says of it.
MISSING = {
    "hide(codegen.JITCodeLibrary, '_finalize_final_module')": "compiling takes longer",
    "hide(cpu.CPUTargetOptions, '_nrt')": "arrays are counted",
    "hide(caching.IndexDataCacheFile, '_data_path')": "aren't kept on disk",
    "del compiler_lock.global_compiler_lock": "a fork doesn't wait",
    "hide(numba.types.Dispatcher, 'get_call_type')": "one thread",
    "hide(dispatcher.Dispatcher, 'overloads')": "longer",
    "hide(codegen.JITCodeLibrary, 'get_pointer_to_function')": "longer",
    """
import llvmlite.binding
address = llvmlite.binding.address_of_symbol
llvmlite.binding.address_of_symbol = lambda name: None if name.endswith("num_threads") else address(name)
""": "the parallel region is compiled in each process",
}


def digests(missing: str, cache: Path) -> tuple[set[str], list[str]]:
    """The digests that `WORK` prints in a child without this internal, and the child's warnings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_DECIDING)}
    finished = subprocess.run(
        [sys.executable, "-P", "-W", "always::RuntimeWarning", "-c", HIDE + dedent(missing) + WORK],
        env={**inherited, "FASTNN_CACHE_DIR": str(cache), "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": "omp"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.split()), re.findall(r"RuntimeWarning: (.*)", finished.stderr)


@pytest.fixture(scope="module")
def with_all(tmp_path_factory) -> tuple[Path, set[str]]:
    """A filled cache, and the digest of a process with all internals."""
    cache = tmp_path_factory.mktemp("cache")
    found, warned = digests("", cache)
    assert len(found) == 1 and not warned
    return cache, found


@pytest.mark.parametrize("missing", MISSING)
def test_without_an_internal_the_bits_are_the_same_and_one_warning_says_so(with_all, missing):
    cache, expected = with_all
    found, warned = digests(missing, cache)
    assert found == expected
    assert len(warned) == 1
    assert MISSING[missing] in warned[0]
    assert all(version in warned[0] for version in numba_private.TESTED)


def test_no_other_file_touches_the_internals():
    for path in PACKAGE.rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{name.name}" for name in node.names}
        internal = {name for name in imported if name.startswith(("numba.core", "numba.np", "numba.parfors"))}
        if path.name != "numba_private.py":
            assert internal <= EXTENSIONS, path


def test_the_requirement_allows_the_tested_versions():
    """From the oldest tested version to the newest tested series."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    oldest, newest = ([int(number) for number in version.split(".")] for version in numba_private.TESTED)
    assert f"numba>={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}" in project["dependencies"]
