"""Counting instructions under valgrind's callgrind: a number that other programs on the machine don't change.

A process that runs again executes exactly as many instructions as before. Two copies of one package in two folders
differed by 0.4 % at most.

callgrind (of valgrind 3.19) doesn't know AVX-512. So the instructions of the AVX2 build are counted, which comes from
the same source. A process tells callgrind what to count by a sequence of instructions that does nothing elsewhere
(valgrind's "client request"), which Numba emits here as inline assembly.
"""

from __future__ import annotations

import functools
import gc
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

AVX2 = {
    # The name alone would still give LLVM the host's features.
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c",
    "PYTHONHASHSEED": "0",
}

# The numbers of callgrind.h: 'C', 'T' in the two high bytes, then these.
_TOOL = (ord("C") << 24) | (ord("T") << 16)
_DUMP, _ZERO, _START, _STOP = _TOOL, _TOOL + 1, _TOOL + 4, _TOOL + 5


def available() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None and platform.machine() == "x86_64"


def count(names: Sequence[str], command: Sequence[str], environment: dict[str, str], folder: Path) -> dict[str, int]:
    """Run a `command` that calls `counted` for each of these names in turn; the instructions of each.

    The command runs twice. The first run has no valgrind and compiles, since compiling under valgrind takes minutes.
    """
    valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no"]
    for prefix in ([], [*valgrind, f"--callgrind-out-file={folder / 'counts'}"]):
        done = subprocess.run([*prefix, *command], env=environment | AVX2, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"counting instructions failed:\n{done.stderr}")
    # One file for each request to dump; the first is of `counted`'s own compilation.
    totals = [
        int(re.search(r"^totals: (\d+)", (folder / f"counts.{dump}").read_text(), re.M)[1])
        for dump in range(2, len(names) + 2)
    ]
    return dict(zip(names, totals, strict=True))


def counted(call: Callable[[], Any]) -> None:
    """Call `call`, and let callgrind write down how many instructions this takes."""
    begin, end = _requests()
    call()  # compiles and loads
    gc.collect()
    gc.disable()  # or a collection would fall into one count and not into another
    begin()
    call()
    end()
    gc.enable()


@functools.cache
def _requests() -> tuple[Callable[[], Any], Callable[[], Any]]:
    import llvmlite.binding
    import numba

    llvmlite.binding.initialize_native_asmparser()
    zero, start, stop, dump = (_client_request(number) for number in (_ZERO, _START, _STOP, _DUMP))

    @numba.njit
    def begin() -> None:
        zero()
        start()

    @numba.njit
    def end() -> None:
        stop()
        dump()

    begin()
    end()
    return begin, end


def _client_request(number: int) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    # valgrind.h, amd64: rax points to the request and its five arguments, rdx returns. The rotations cancel out.
    assembly = "rolq $$3, %rdi; rolq $$13, %rdi; rolq $$61, %rdi; rolq $$51, %rdi; xchgq %rbx, %rbx"

    @intrinsic
    def request(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word, zero = ir.IntType(64), ir.Constant(ir.IntType(32), 0)
            block = builder.alloca(ir.ArrayType(word, 6))
            for place, value in enumerate([number, 0, 0, 0, 0, 0]):
                at = builder.gep(block, [zero, ir.Constant(ir.IntType(32), place)])
                builder.store(ir.Constant(word, value), at)
            kind = ir.FunctionType(word, [word, word])
            call = ir.InlineAsm(kind, assembly, "={rdx},{rax},0,~{cc},~{memory}", side_effect=True)
            return builder.call(call, [builder.ptrtoint(block, word), ir.Constant(word, 0)])

        return types.int64(), codegen

    return request
