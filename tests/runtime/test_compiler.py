"""Parts, which compiled code calls, and entries, which Python calls. A part is translated only within an entry."""

import ast
import gc
import re
from pathlib import Path

import numba
import numpy as np
import pytest
from child import ALWAYS_PARALLEL, run
from numba.core.errors import TypingError

import fastnn
from fastnn.runtime.compiler import jit, jit_entry


@jit
def halve(a: np.ndarray) -> None:
    for i in range(a.size):
        a[i] /= 2


@jit
def halve_twice(a: np.ndarray) -> None:
    halve(a)
    halve(a)


@jit_entry
def quarter(a: np.ndarray) -> int:
    halve_twice(a)
    return a.size


def test_an_entry_takes_its_parts_in():
    a = np.array([4.0, np.inf, -1.0])
    assert quarter(a) == 3
    assert a.tolist() == [1.0, np.inf, -0.25]
    [signature] = quarter.signatures
    assert halve.signatures == halve_twice.signatures == [signature]
    assert not re.search(r"\bcall\w*\s.*halve", quarter.inspect_asm(signature))


def test_a_part_that_python_calls_gets_an_entry():
    """A part's own code has no entry, and calling it from Python would end the process."""
    a = np.array([4.0, 8.0])
    quarter(a)
    halve(a)
    assert a.tolist() == [0.5, 1.0]
    assert isinstance(halve, type(numba.njit(lambda: None)))


def test_a_part_that_can_not_be_compiled_is_an_error_and_nothing_worse():
    @jit
    def wrong(a: np.ndarray) -> None:
        a.nonsense()

    @jit_entry
    def entry(a: np.ndarray) -> None:
        wrong(a)

    for _ in range(3):
        with pytest.raises(TypingError, match="nonsense"):
            entry(np.ones(3))
        gc.collect()


# Each way to a kernel. Model files are read and written without one.
USES = """
import tempfile
import numpy as np
import fastnn
from fastnn import MLPClassifier, Network, kernels
from fastnn.errors import CompilerError

X, y = np.zeros((4, 2), np.float32), [0, 1, 2, 0]
net = Network.create([2, 3])
with tempfile.TemporaryDirectory() as folder:
    net.save(folder + "/model")
    assert Network.load(folder + "/model").sizes == (2, 3)
for use in (
    lambda: net.predict(X),
    lambda: net.predict(X, n_threads=2),
    lambda: fastnn.train(net, X, y),
    lambda: fastnn.train(fastnn.Ensemble.create(2, [2, 3, 3], layer_norm=True), X, y),
    lambda: MLPClassifier((3,)).fit(X, y),
    lambda: kernels.softmax(X),
    lambda: kernels.cross_entropy(X, np.array([0, 1, 0, 1])),
    lambda: kernels.bias_gradient(X),
):
    try:
        use()
    except CompilerError as error:
        print(error)
"""
REFUSED = "fastnn's kernels can't be compiled with Numba's setting NUMBA_{0}: unset this environment variable, or {1}"


def test_without_numbas_compiler_a_sentence_says_so():
    lines = run(USES, NUMBA_DISABLE_JIT="1").splitlines()
    expected = REFUSED.format("DISABLE_JIT", "disable_jit in the file .numba_config.yaml.")
    assert lines == [expected] * 8


def test_the_compiler_may_be_turned_off_in_a_file(tmp_path, monkeypatch):
    pytest.importorskip("yaml")
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1")
    monkeypatch.chdir(tmp_path)
    assert len(run(USES).splitlines()) == 8


def test_a_setting_that_parallel_code_can_not_be_compiled_with():
    code = ALWAYS_PARALLEL + "import fastnn\nfastnn.kernels.softmax(__import__('numpy').zeros((900, 9)))"
    with pytest.raises(AssertionError, match=r"CompilerError: .* NUMBA_DEBUG_ARRAY_OPT_RUNTIME: unset"):
        run(code, NUMBA_DEBUG_ARRAY_OPT_RUNTIME="1", NUMBA_NUM_THREADS="2")


def test_commands_that_need_no_kernel_work_without_the_compiler():
    code = "import sys\nfrom fastnn import cli\nsys.exit(cli.main(sys.argv[1:]))"
    assert "threads" in run(code, "info", NUMBA_DISABLE_JIT="1")
    assert "predict" in run(code, "--help", NUMBA_DISABLE_JIT="1")


def test_no_compiled_function_is_a_docstring_alone():
    """With NUMBA_DEBUGINFO=1 Numba looks for the first statement after the docstring."""
    for path in Path(fastnn.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(each) for each in node.decorator_list):
                assert len(node.body) > 1 or not ast.get_docstring(node), f"{path}: {node.name}"
