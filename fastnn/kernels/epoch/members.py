"""Many networks at once: each thread trains one after the other, and they share the samples.

A member is trained as it would be alone, by the bodies of its program and to the same bits. No thread waits for another
within a call, so more threads pay even where a single network is too small for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.epoch import team
from fastnn.kernels.epoch.frame import Program
from fastnn.kernels.epoch.run import Run, member_of, share_of
from fastnn.kernels.epoch.team import Phases, work_of
from fastnn.kernels.forward.sparse import Transposed
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import kernel, share
from fastnn.runtime.template import instance


class Members(NamedTuple):
    """The phases `first` to `last` - 1 of each member, each phase in `chunks` chunks.

    Every array of `run` that training changes holds the arrays of all members, one after the other. Every array of
    memory to work in holds the memory of `workers` threads, one after the other.
    """

    run: Run
    seeds: NDArray[np.uint64]
    workers: int
    first: int
    last: int
    chunks: int


def _member_of(run: Run, member: int, n_members: int, seed: np.uint64, worker: int, workers: int) -> Any:
    """A placeholder, like the next two functions: `instance` replaces them by bodies in the template below."""


def _begin(run: Run, phase: int) -> None: ...


def _work(args: Phases, worker: int, workers: int) -> None: ...


def _train_members(args: Members, part: int, parts: int) -> None:
    n_members = args.seeds.size
    first, last = share(n_members, 1, part, parts)
    for member in range(first, last):
        run = _member_of(args.run, member, n_members, args.seeds[member], part, args.workers)
        run.team[:] = 0
        run.team[team.REACHED] = args.first
        _begin(run, args.first)
        _work(Phases(run, args.first, args.last, args.chunks), 0, 1)


def _none(transposed: Any, worker: int, workers: int) -> Any:
    return ()


def _of_sparse(transposed: Any, worker: int, workers: int) -> Any:
    return Transposed(
        values=share_of(transposed.values, worker, workers),
        rows=share_of(transposed.rows, worker, workers),
        starts=share_of(transposed.starts, worker, workers),
        counts=share_of(transposed.counts, worker, workers),
    )


def of_members(program: Program, sparse: bool) -> Program:
    """The program that trains each of `Members` as `program` trains one network; `sparse` is its kind of samples."""
    bodies = program.bodies
    run = member_of(_of_sparse if sparse else _none)
    parts = {"_begin": bodies.begin, "_work": work_of(bodies), "_member_of": run}
    return replace(program, kernel=kernel(jit(instance(_train_members, bodies.chunk.__name__, **parts))))
