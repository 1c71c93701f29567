"""Parts, which compiled code calls, and entries, which Python calls. A part is translated only within an entry."""

import gc
import re

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

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
