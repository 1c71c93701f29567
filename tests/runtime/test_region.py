"""The region that all kernels share: every part once, with the arguments as they are."""

from typing import NamedTuple

import numpy as np
import pytest
from cases import MOST_THREADS

from fastnn.runtime.compiler import jit, jit_entry
from fastnn.runtime.region import region_address, run_parts


class Inner(NamedTuple):
    out: np.ndarray
    scale: float


class Outer(NamedTuple):
    inner: Inner
    offset: int


@jit
def note(args: Outer, part: int, parts: int) -> None:
    args.inner.out[part] += args.inner.scale * part + args.offset * parts


@jit_entry
def run(args: Outer, region: int, n_threads: int) -> None:
    run_parts(note, args, region, n_threads)


@pytest.mark.parametrize("n_threads", range(1, MOST_THREADS + 1))
def test_every_part_runs_once_with_the_arguments(n_threads):
    out = np.zeros(n_threads + 1)
    for _ in range(100):
        run(Outer(Inner(out, 0.5), 7), region_address(), n_threads)
    assert out.tolist() == [*(100 * (0.5 * part + 7 * n_threads) for part in range(n_threads)), 0]


def test_without_a_region_there_is_one_part():
    out = np.zeros(2)
    run(Outer(Inner(out, 0.5), 7), 0, 1)
    assert out.tolist() == [7, 0]
