"""The machine code of the tiles: no register is spilt, for AVX-512, AVX2 and NEON."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import DTYPES, each_dtype
from chains import product

from fastnn.kernels.equations import layer
from fastnn.kernels.simd.operands import Init, Left, Out
from fastnn.kernels.simd.shape import LINE_BYTES, ROWS, SHAPE

AVX2 = "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c"
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")

# Jumps of x86, and of aarch64 (b, b.lt, cbz x8, tbnz w8, #0, ...).
JUMP = re.compile(r"\s+(?:j\w+|b[.\w]*|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+(\.\w+)")


def innermost_loops(assembly: str) -> list[list[str]]:
    """The loops that have no loop inside, each from a label to the jump back to this label."""
    lines = assembly.splitlines()
    labels = {match[1]: at for at, text in enumerate(lines) if (match := re.match(r"(\.\w+):", text))}
    jumps = [(labels[match[1]], at) for at, text in enumerate(lines) if (match := JUMP.match(text))]
    loops = [(first, last) for first, last in jumps if first < last]
    inner = [
        (first, last)
        for first, last in loops
        if not any(first <= other_first and other_last < last for other_first, other_last in loops)
    ]
    return [lines[first : last + 1] for first, last in inner]


@needs_x86
@pytest.mark.skipif(SHAPE.vector_bytes == 16, reason="the processor has neither AVX2 nor AVX-512")
def test_assembly_keeps_every_sum_in_a_register() -> None:
    """In the loops over the summed index, no vector is stored on the stack or loaded from there.

    A tile that is too large would still give the right results, at half the speed.
    """
    register = {64: "zmm", 32: "ymm"}[SHAPE.vector_bytes]
    for dtype in DTYPES:
        zeros = np.zeros(64 * 64, dtype)
        product(Out(zeros, 0, 64, 9, 3), Left(zeros, 0, 9, 1), layer.Matrix(zeros, 0, 0), Init(zeros, 0), 9)
    for signature in product.signatures:
        assembly = product.inspect_asm(signature)
        assert not re.search(r"\bfmaf?\b", assembly), "a call of libm's fma"
        # In a function without a frame, rbp is a register like the others.
        stack = re.compile(r"\(%r[sb]p" if "%rsp, %rbp" in assembly else r"\(%rsp")
        loops = [loop for loop in innermost_loops(assembly) if any("vfmadd" in text for text in loop)]
        # There are tiles of a whole panel and of a single line. LLVM may unroll a loop, and may
        # make two loops of the two tiles of a panel.
        vectors = {n_lines * LINE_BYTES // SHAPE.vector_bytes for n_lines in (1, SHAPE.lines)}
        sums = {ROWS * n for n in vectors}
        assert loops
        for loop in loops:
            steps = [text for text in loop if "vfmadd" in text]
            assert all(register in text for text in steps)
            assert any(len(steps) % n == 0 for n in sums)
            assert len(steps) >= min(sums)
            spilt = [text for text in loop if re.match(r"\s+v", text) and stack.search(text)]
            assert not spilt, spilt


@needs_x86
@pytest.mark.skipif(SHAPE.vector_bytes != 64, reason="this build is for AVX2, or for less, already")
def test_avx2_build() -> None:
    """The operations built for AVX2 pass the tests of this folder too: their bits and their assembly."""
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).parent)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 skipped" in run.stdout


# Builds the tile with 16-byte vectors, as for a processor without AVX2, and translates this code for aarch64.
FOR_NEON = """
import re
import llvmlite.binding as llvm
import numpy as np
from fastnn.kernels.simd.operands import Init, Left, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.runtime.compiler import jit_entry

@jit_entry
def product(out, left, right, init, n_sum):
    tile(out, left, right, init, n_sum)

zeros = np.zeros(64 * 64, np.DTYPE)
product(Out(zeros, 0, 64, 6, 2), Left(zeros, 0, 9, 1), Right(zeros, 0, 32), Init(zeros, 0), 9)
code = product.inspect_llvm(product.signatures[0])
code = re.sub('target triple = ".*"', 'target triple = "aarch64-unknown-linux-gnu"', code)
code = re.sub('target datalayout = ".*"', "", code)
code = re.sub('"target-(cpu|features)"="[^"]*"', "", code)
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=3)
print(machine.emit_assembly(llvm.parse_assembly(code)))
"""


@needs_x86
@pytest.mark.skipif(SHAPE.vector_bytes != 64, reason="NEON's code is checked once, in the build for AVX-512")
@each_dtype
def test_neon_assembly_keeps_every_sum_in_a_register(dtype: type) -> None:
    """The machine code for a processor with NEON spills no register either. No such processor is needed to see this."""
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse4.2,+popcnt,+avx,+fma"}
    script = FOR_NEON.replace("DTYPE", np.dtype(dtype).name)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loops = [loop for loop in innermost_loops(run.stdout) if any("fmla" in text for text in loop)]
    sums = [sum("fmla" in text for text in loop) for loop in loops]
    assert 24 in sums
    assert set(sums) <= {12, 24}
    assert not any("[sp" in text for loop in loops for text in loop)
