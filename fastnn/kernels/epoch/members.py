"""Many networks at once: each thread trains one after the other, and they share the samples.

A member is trained as it would be alone, by the bodies of its `Method` and to the same bits. No thread waits for
another within a call, so threads pay where a network by itself is too small for them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.epoch import team
from fastnn.kernels.epoch.general import Extras
from fastnn.kernels.epoch.panels import Method, Run
from fastnn.kernels.epoch.team import Phases, work_of
from fastnn.kernels.forward.sparse import Transposed
from fastnn.runtime.compiler import jit
from fastnn.runtime.launch import Kernel, instance, kernel, share


class Members(NamedTuple):
    """The phases `first` to `last` - 1 of each member, in so many chunks.

    In `run` every array that training writes holds those of all members one after the other, but the memory to work in
    (buffer, grads, scratch, and what lies in extras), which holds that of `workers` threads.
    """

    run: Run
    seeds: NDArray[np.uint64]
    workers: int
    first: int
    last: int
    chunks: int


def _extras_of(extras: Any, worker: int, workers: int) -> Any:
    """Stand, with the next two, for the bodies in the template below."""


def _begin(run: Run, phase: int) -> None: ...


def _work(args: Phases, worker: int, workers: int) -> None: ...


def _train_members(args: Members, part: int, parts: int) -> None:
    run, n_members, workers = args.run, args.seeds.size, args.workers
    buffer = run.buffer.size // workers
    grads, scratch = run.grads.size // workers, run.scratch.size // workers
    first, last = share(n_members, 1, part, parts)
    for member in range(first, last):
        # Of an array for all members, its own part. Arrays can't be returned from a function without reference counts,
        # so this isn't one.
        n, state, numbers = run.params.size // n_members, run.state.size // n_members, run.numbers.size // n_members
        order, losses = run.order.size // n_members, run.losses.size // n_members
        squares, epochs = run.squares.size // n_members, run.epoch_losses.size // n_members
        mine = Run(
            run.X,
            run.y,
            run.sample_weight,
            run.order[member * order : (member + 1) * order],
            run.batch_size,
            run.shuffled,
            args.seeds[member],
            run.first_epoch,
            _extras_of(run.extras, part, workers),
            run.params[member * n : (member + 1) * n],
            run.table,
            run.solver,
            run.state[member * state : (member + 1) * state],
            run.numbers[member * numbers : (member + 1) * numbers],
            run.buffer[part * buffer : (part + 1) * buffer],
            run.grads[part * grads : (part + 1) * grads],
            run.scratch[part * scratch : (part + 1) * scratch],
            run.scratch_size,
            run.losses[member * losses : (member + 1) * losses],
            run.targets[member * losses : (member + 1) * losses],
            run.squares[member * squares : (member + 1) * squares],
            run.epoch_losses[member * epochs : (member + 1) * epochs],
            run.good_params[member * n : (member + 1) * n],
            run.good_state[member * state : (member + 1) * state],
            run.good_numbers[member * numbers : (member + 1) * numbers],
            run.team[member * team.SIZE : (member + 1) * team.SIZE],
        )
        mine.team[:] = 0
        mine.team[team.REACHED] = args.first
        _begin(mine, args.first)
        _work(Phases(mine, args.first, args.last, args.chunks), 0, 1)


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _no_extras(extras: Any, worker: int, workers: int) -> Any:
    return ()


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _extras_of_plain(extras: Any, worker: int, workers: int) -> Any:
    n = extras.squares.size // workers
    squares = extras.squares[worker * n : (worker + 1) * n]
    return Extras(extras.output, extras.targets, extras.dropout, extras.label_smoothing, extras.clip_norm, squares, ())


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _extras_of_sparse(extras: Any, worker: int, workers: int) -> Any:
    n, memory = extras.squares.size // workers, extras.transposed
    squares = extras.squares[worker * n : (worker + 1) * n]
    entries, features = memory.values.size // workers, memory.counts.size // workers
    transposed = Transposed(
        memory.values[worker * entries : (worker + 1) * entries],
        memory.rows[worker * entries : (worker + 1) * entries],
        memory.starts[worker * features : (worker + 1) * features],
        memory.counts[worker * features : (worker + 1) * features],
    )
    return Extras(
        extras.output, extras.targets, extras.dropout, extras.label_smoothing, extras.clip_norm, squares, transposed
    )


@functools.cache
def members_kernel(method: Method, extras: bool, sparse: bool) -> Kernel:
    """The kernel that trains `Members` by a method, whose runs have extras, and those sparse samples, or not."""
    extras_of = _extras_of_sparse if sparse else _extras_of_plain if extras else _no_extras
    bodies = method.bodies
    parts = {"_begin": bodies.begin, "_work": work_of(bodies), "_extras_of": extras_of}
    # The chunk comes first: it names the kernel, on disk too.
    return kernel(jit(instance(_train_members, _chunk=bodies.chunk, **parts)))
