"""Measurements of this machine: the time of an empty parallel region, and of an operation at one core's peak."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils

from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import intrinsic, jit, jit_entry
from fastnn.runtime.cost import Machine
from fastnn.runtime.region import region_address, run_parts

_REGIONS = 21
_STEPS = 5_000  # of the peak's loop: 15 µs
_CHAINS = 12  # enough to hide a multiply-add's latency, and few enough for 16 registers


def host_features() -> str:
    """The processor features that Numba compiles for, as LLVM's ``+avx2,-avx512f,...``."""
    if config.CPU_FEATURES is not None:  # set by NUMBA_CPU_FEATURES; NUMBA_CPU_NAME alone changes nothing here
        return str(config.CPU_FEATURES)
    return str(llvmlite.binding.get_host_cpu_features().flatten())


def vector_bytes(features: str) -> int:
    """The bytes of the widest vector of a processor with these features (LLVM's feature string)."""
    present = {name[1:] for name in features.split(",") if name.startswith("+")}
    return 64 if "avx512f" in present else 32 if {"avx2", "fma"} <= present else 16


@intrinsic
def _chains(typingctx: Any, n_steps: Any) -> Any:
    """Apply ``v = v * v + v`` to ``_CHAINS`` float32 vectors, `n_steps` times each, and return one element."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = vector_bytes(host_features()) // 4
        vector = ir.VectorType(ir.FloatType(), lanes)
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
        )
        before, loop, done = builder.block, builder.append_basic_block("chains"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(ir.IntType(64))
        chains = [builder.phi(vector) for _ in range(_CHAINS)]
        following = [builder.call(fused, [chain] * 3) for chain in chains]
        index_next = builder.add(index, ir.IntType(64)(1))
        index.add_incoming(ir.IntType(64)(0), before)
        index.add_incoming(index_next, loop)
        for number, (chain, value) in enumerate(zip(chains, following, strict=True)):
            # The chains start differently. Otherwise the compiler would make one chain of all.
            chain.add_incoming(ir.Constant(vector, [-1.0 / (number + 2)] * lanes), before)
            chain.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", index_next, args[0]), loop, done)
        builder.position_at_end(done)
        total = functools.reduce(builder.fadd, following)
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(types.int64), codegen


@keep_on_disk
@jit_entry
def _spin(n_steps: int) -> float:
    return _chains(n_steps)  # type: ignore[no-any-return]


@jit
def _nothing(args: int, part: int, parts: int) -> None:
    pass


@keep_on_disk
@jit_entry
def _empty_region(region: int, n_threads: int) -> None:
    run_parts(_nothing, 0, region, n_threads)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(n_threads: int) -> Machine:
    """Measure, in less than a millisecond once the code is compiled. Nobody else may launch meanwhile."""
    region = region_address()
    regions = [_seconds(lambda: _empty_region(region, n_threads)) for _ in range(_REGIONS)]
    peak = min(_seconds(lambda: _spin(_STEPS)) for _ in range(5))
    return Machine(float(np.median(regions)), peak / (2 * _CHAINS * (vector_bytes(host_features()) // 4) * _STEPS))
