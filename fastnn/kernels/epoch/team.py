"""Threads that work through phases together, in one parallel region.

A phase is cut into chunks; a phase's chunks may run at once, the next phase's only after them. A thread takes the next
chunk's number from a counter, waits until the phases before it are done, and works. So a thread waits only for threads
that are at work, and never for one that hasn't begun: that one may be asleep or not exist, and a thread that is alone
does everything. A phase costs about 0.2 µs. A parallel region for each phase would cost 1 µs with omp, 100 µs with
workqueue, and more on a busy machine.
"""

from __future__ import annotations

import platform
import sys
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import jit, jit_entry
from fastnn.runtime.launch import Kernel
from fastnn.runtime.region import run_parts
from fastnn.runtime.template import instance

# Places in the team's array. They are two cache lines apart, since processors fetch lines in pairs.
TICKET, FINISHED, PHASE, REACHED = 0, 16, 32, 48
SIZE = 64
# This is larger than the number of any phase.
ENDED = 2**62

_SPINS = 2000


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic  # type: ignore[untyped-decorator]
def fetch_add(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Add to ``array[index]`` (int64) and return the former value, as one atomic operation."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", pointer, args[2], "acq_rel")

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def load_acquire(typingctx: Any, array: Any, index: Any) -> Any:
    """``array[index]`` (int64). Whatever the thread that stored this number wrote earlier can be read afterwards."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature.args[0], args[0], args[1]), "acquire", 8)

    return types.int64(array, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_release(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index] = value`` (int64), after everything that this thread wrote before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def relax(typingctx: Any) -> Any:
    """Tell the processor that the thread waits in a loop."""
    x86 = platform.machine() in ("x86_64", "AMD64")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # The processor's `pause` or `yield`, by LLVM's name for it, since Numba has no parser of assembly.
        name, operands = ("llvm.x86.sse2.pause", []) if x86 else ("llvm.aarch64.hint", [ir.IntType(32)(1)])
        if x86 or platform.machine() in ("aarch64", "arm64"):
            function = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
            builder.call(cgutils.get_or_insert_function(builder.module, function, name), operands)
        return context.get_dummy_value()

    return types.void(), codegen


if sys.platform == "win32":

    @jit
    def _give_way() -> int:
        return 0
else:
    _give_way: Any = types.ExternalFunction("sched_yield", types.int32())


@jit
def await_phase(team: NDArray[np.int64], phase: int) -> bool:
    """Wait until every chunk before `phase` is done; False if the work has ended early."""
    spins = 0
    reached = load_acquire(team, PHASE)
    while reached < phase:
        relax()
        spins += 1
        if spins > _SPINS:
            _give_way()
        reached = load_acquire(team, PHASE)
    return bool(reached != ENDED)


class Phases(NamedTuple):
    """Work on `run`, whose ``team`` its threads share: the phases `first` to `last` - 1, each in `chunks` chunks."""

    run: Any
    first: int
    last: int
    chunks: int


class Bodies(NamedTuple):
    """The functions that work in phases consists of.

    Parameters
    ----------
    begin : ``begin(run, phase)``
        What comes before the first phase.
    chunk : ``chunk(run, phase, part, parts, worker)``
        One of a phase's chunks; `worker` is the thread's number.
    between : ``between(run, phase, last) -> bool``
        What follows a phase; False ends the work.
    """

    begin: Any
    chunk: Any
    between: Any


def phased(bodies: Bodies) -> Kernel:
    """The kernel of work that is done in `Phases`.

    When it returns, ``team[REACHED]`` is `last` or, if `between` ended the work early, the number of the phase after
    which it did so.
    """
    entry = instance(_entry, bodies.chunk.__name__, _begin=bodies.begin, _work=work_of(bodies))
    return Kernel(bodies.chunk.__name__, keep_on_disk(jit_entry(entry)))


def work_of(bodies: Bodies) -> Any:
    """``work(args, worker, workers)``: one thread's part of `Phases`."""
    return jit(instance(_work, _chunk=bodies.chunk, _between=bodies.between))


def _begin(run: Any, phase: int) -> None:
    """A placeholder, like the next two functions: `instance` replaces them by bodies in the templates below."""


def _chunk(run: Any, phase: int, part: int, parts: int, worker: int) -> None: ...


def _between(run: Any, phase: int, last: int) -> bool:
    return True


def _work(args: Phases, worker: int, workers: int) -> None:
    """One thread's part: the next chunk of the next phase, again and again."""
    run, chunks = args.run, args.chunks
    team = run.team
    while True:
        ticket = fetch_add(team, TICKET, 1)
        done = ticket // chunks
        if done >= args.last - args.first or not await_phase(team, done):
            return
        phase = args.first + done
        _chunk(run, phase, ticket - done * chunks, chunks, worker)
        if fetch_add(team, FINISHED, 1) + 1 == (done + 1) * chunks:
            go_on = _between(run, phase, args.last)
            team[REACHED] = phase + go_on
            store_release(team, PHASE, done + 1 if go_on else ENDED)


def _entry(args: Phases, region: int, n_threads: int) -> None:
    args.run.team[:] = 0
    args.run.team[REACHED] = args.first
    _begin(args.run, args.first)
    run_parts(_work, args, region, n_threads)
