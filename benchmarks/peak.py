"""The machine's fused-multiply-add peak, by a kernel that does nothing else: the yardstick of every share.

The kernel runs chains of `llvm.fma` in registers, enough of them to hide the latency (4 cycles and two units need at
least 8 chains; more do no harm). It shares no line with fastnn's tile, so that the two can't share a mistake.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config
from numba.extending import intrinsic

from benchmarks.measure import Work

CHAINS = 12  # AVX2 has 16 vector registers, of which two hold the factors


def vector_bytes() -> int:
    """The widest vector that Numba compiles for on this machine (``NUMBA_CPU_FEATURES`` counts)."""
    features = config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten()
    present = set(features.split(","))
    return 64 if "+avx512f" in present else 32 if {"+avx2", "+fma"} <= present else 16


@intrinsic
def _fma_chains(typingctx: Any, seed: Any, n_steps: Any) -> Any:
    """``CHAINS`` vectors, each put through ``v = v * seed + seed`` `n_steps` times; returns an element of their sum."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar, steps = args
        lanes = vector_bytes() // (signature.args[0].bitwidth // 8)
        vector = ir.VectorType(scalar.type, lanes)
        name = f"llvm.fma.v{lanes}f{signature.args[0].bitwidth}"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        factor = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        factor = builder.shuffle_vector(factor, ir.Constant(vector, ir.Undefined), mask)

        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(steps.type)
        index.add_incoming(ir.Constant(steps.type, 0), before)
        chains = [builder.phi(vector) for _ in range(CHAINS)]
        following = [builder.call(fma, [chain, factor, factor]) for chain in chains]
        for number, (chain, value) in enumerate(zip(chains, following, strict=True)):
            # Different starts, or the compiler would fold the chains into one.
            start = ir.Constant(vector, [float(number + 1)] * lanes)
            chain.add_incoming(start, before)
            chain.add_incoming(value, loop)
        next_index = builder.add(index, ir.Constant(steps.type, 1))
        index.add_incoming(next_index, loop)
        builder.cbranch(builder.icmp_signed("<", next_index, steps), loop, after)
        builder.position_at_end(after)
        total = functools.reduce(builder.fadd, following)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return seed(seed, n_steps), codegen


@numba.njit
def _spin(seed: Any, n_steps: int) -> Any:
    return _fma_chains(seed, n_steps)


def peak(dtype: Any = np.float32, n_steps: int = 1_000_000) -> Work:
    """Work at one core's peak: `n_steps` rounds of ``CHAINS`` multiply-adds (1.5 ms here)."""
    seed = np.dtype(dtype).type(0.5)
    return Work(lambda: _spin(seed, n_steps), 2.0 * CHAINS * (vector_bytes() // seed.itemsize) * n_steps)
