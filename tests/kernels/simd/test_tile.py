"""The register tile: one chain of fused multiply-adds an element, nothing written beside it, no register spilt."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from cases import DTYPES, each_dtype, same_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.kernels.equations import layer
from fastnn.kernels.layout import line_elements, pack, width
from fastnn.kernels.simd import tile
from fastnn.kernels.simd.tile import LINE_BYTES, PANEL_LINES, ROWS, SHAPE, Init, Left, Out, Right
from fastnn.runtime.compiler import jit

INTEGERS = {np.float32: np.int32, np.float64: np.int64}
AVX2 = "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c"
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")


@jit
def fused(a, b, c, out):
    for i in range(out.size):
        out[i] = tile.fma(a[i], b[i], c[i])


@jit
def bits_of(numbers, bits, back):
    for i in range(numbers.size):
        bits[i] = tile.float_bits(numbers[i])
        back[i] = tile.bits_float(bits[i])


@jit
def horner(table, x, out):
    for i in range(x.size):
        out[i] = tile.polynomial(table, x[i])


@jit
def one_tile(out, left, right, init, n_sum):
    tile.tile(out, left, right, init, n_sum)


@jit
def product(out, left, right, init, n_sum):
    layer.multiply(out, left, right, init, n_sum)


@jit
def chains(left, right, init, out):
    """What a tile promises, an element at a time."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = init[j]
            for k in range(left.shape[1]):
                total = tile.fma(left[i, k], right[k, j], total)
            out[i, j] = total


def chained(left: np.ndarray, right: np.ndarray, init: np.ndarray) -> np.ndarray:
    out = np.empty((left.shape[0], right.shape[1]), left.dtype)
    chains(*map(np.ascontiguousarray, (left, right, init)), out)
    return out


def rounded(exact: Fraction, dtype: type) -> np.floating:
    """The nearest number of the dtype: Python rounds a fraction to float64 correctly, and float32 has this."""
    if dtype == np.float64:
        return np.float64(exact.numerator / exact.denominator)
    near = np.float32(exact.numerator / exact.denominator)
    candidates = [np.nextafter(near, -np.inf, dtype=dtype), near, np.nextafter(near, np.inf, dtype=dtype)]
    # The even one where two are as near.
    return min(candidates, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(np.int32)) & 1))


@each_dtype
def test_fma_rounds_once(dtype: type) -> None:
    """Against exact fractions, where the sum nearly cancels or is half a step: a rounded product would show."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2000)).astype(dtype)
    c = rng.standard_normal(2000).astype(dtype)
    c[::3] = -(a * b)[::3]
    c[1::3] = (a * b)[1::3] * dtype(2.0 ** np.finfo(dtype).nmant)
    out = np.empty_like(c)
    fused(a, b, c, out)
    for x, y, z, result in zip(a, b, c, out, strict=True):
        assert result == rounded(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), dtype)


@each_dtype
def test_bits(dtype: type) -> None:
    """Bits come out and go in unchanged, those of NaN with a payload too."""
    integer = INTEGERS[dtype]
    numbers = np.array([0.0, -0.0, 1.0, np.pi, np.inf, -np.inf, np.nan, np.finfo(dtype).smallest_subnormal], dtype)
    numbers = np.append(numbers, (numbers[-2:-1].view(integer) + integer(12345)).view(dtype))
    bits, back = np.empty(numbers.size, integer), np.empty_like(numbers)
    bits_of(numbers, bits, back)
    assert same_bytes(bits, numbers.view(integer))
    assert same_bytes(back, numbers)


@each_dtype
def test_polynomial(dtype: type) -> None:
    """Highest coefficient first; exact on small whole numbers."""
    table = tuple(dtype(c) for c in (3, -1, 0, 7))
    x = np.arange(-8, 9, dtype=dtype)
    out = np.empty_like(x)
    horner(table, x, out)
    assert (out == 3 * x**3 - x**2 + 7).all()


@each_dtype
def test_tile(dtype: type) -> None:
    """Every number of rows and lines: the promised chains to the bit, and what lies beside them isn't touched."""
    line = line_elements(dtype)
    rng = np.random.default_rng(0)
    for rows in range(1, ROWS + 1):
        for n_lines in range(1, PANEL_LINES + 1):
            for n_sum in (0, 1, 2, 33):
                wide = n_lines * line
                left = rng.standard_normal((rows, n_sum)).astype(dtype)
                right = rng.standard_normal((n_sum, wide)).astype(dtype)
                init = rng.standard_normal(wide).astype(dtype)
                # Operands begin anywhere, rows are further apart than they are wide, and what is between is NaN.
                out = np.full((rows + 2, wide + 3), np.nan, dtype)
                transposed = np.full((n_sum + 1, rows + 5), np.nan, dtype)
                transposed[1:, 5:] = left.T
                strided = np.full((n_sum + 1, wide + 1), np.nan, dtype)
                strided[1:, 1:] = right
                one_tile(
                    Out(out.ravel(), wide + 3 + 2, wide + 3, rows, n_lines),
                    Left(transposed.ravel(), rows + 5 + 5, 1, rows + 5),
                    Right(strided.ravel(), wide + 1 + 1, wide + 1),
                    Init(np.append(np.full(3, np.nan, dtype), init), 3),
                    n_sum,
                )
                inside = out[1 : rows + 1, 2 : 2 + wide]
                assert same_bytes(np.ascontiguousarray(inside), chained(left, right, init))
                assert np.isnan(out).sum() == out.size - inside.size


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 3 * ROWS + 1),
    n_out=st.integers(1, 100),
    n_sum=st.integers(0, 40),
    dtype=st.sampled_from(DTYPES),
)
def test_multiply(rows: int, n_out: int, n_sum: int, dtype: type) -> None:
    """Tiles and panels put together, with a row stride wider than the lines, as activations have it."""
    rng = np.random.default_rng([rows, n_out, n_sum])
    left = rng.standard_normal((rows, n_sum)).astype(dtype)
    W = rng.standard_normal((n_sum, n_out)).astype(dtype)
    bias = np.zeros(width(n_out, dtype), dtype)
    bias[:n_out] = rng.standard_normal(n_out)
    packed = np.zeros(n_sum * bias.size, dtype)
    pack(W, packed)
    stride = bias.size + line_elements(dtype)
    out = np.full((rows, stride), np.nan, dtype)
    lines = bias.size // line_elements(dtype)
    product(
        Out(out.ravel(), 0, stride, rows, lines),
        Left(left.ravel(), 0, n_sum, 1),
        layer.Matrix(packed, 0, 0),
        Init(bias, 0),
        n_sum,
    )
    assert same_bytes(np.ascontiguousarray(out[:, :n_out]), chained(left, W, bias[:n_out]))
    assert (out[:, n_out : bias.size] == 0).all()
    assert np.isnan(out[:, bias.size :]).all()


def test_choose_shape() -> None:
    """AVX-512 has 32 registers of 64 bytes, AVX2 16 of 32, whatever else is listed or switched off."""
    assert tile.choose_shape("+sse2,+avx2,+fma,+avx512f").vector_bytes == 64
    assert tile.choose_shape(AVX2).vector_bytes == 32
    assert tile.choose_shape(AVX2 + ",-avx512f") == tile.choose_shape(AVX2)
    for features in ("+avx,+avx2", "+neon,+fp-armv8", ""):
        assert tile.choose_shape(features).vector_bytes == 16
    for features in ("+avx512f", AVX2, "+neon"):
        shape = tile.choose_shape(features)
        assert LINE_BYTES % shape.vector_bytes == 0
        assert PANEL_LINES % shape.lines == 0


# x86's, and aarch64's (b, b.lt, cbz x8, tbnz w8, #0, ...).
JUMP = re.compile(r"\s+(?:j\w+|b[.\w]*|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+(\.\w+)")


def innermost_loops(assembly: str) -> list[list[str]]:
    """The loops of an assembly without a loop inside: from a label to the jump back to it."""
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
    """In the loops over the summed index no vector goes to the stack or comes from there.

    A tile that is too large still gives right results, at half the speed.
    """
    register = {64: "zmm", 32: "ymm"}[SHAPE.vector_bytes]
    for dtype in DTYPES:
        zeros = np.zeros(64 * 64, dtype)
        product(Out(zeros, 0, 64, 9, 3), Left(zeros, 0, 9, 1), layer.Matrix(zeros, 0, 0), Init(zeros, 0), 9)
    for signature in product.signatures:
        assembly = product.inspect_asm(signature)
        assert not re.search(r"\bfmaf?\b", assembly), "a call of libm's fma"
        # Without a frame, rbp is a register like the others.
        stack = re.compile(r"\(%r[sb]p" if "%rsp, %rbp" in assembly else r"\(%rsp")
        loops = [loop for loop in innermost_loops(assembly) if any("vfmadd" in text for text in loop)]
        # A whole panel and a single line; LLVM may unroll a loop or have the two tiles of a panel in two loops.
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
@pytest.mark.skipif(SHAPE.vector_bytes != 64, reason="the tests above looked at the build for AVX2 already")
def test_avx2_build() -> None:
    """The tile for AVX2 passes the tests of this file too: its bits and its assembly."""
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 skipped" in run.stdout


# Translates the tile for 16-byte vectors, as it is built for a processor without AVX2, for aarch64.
FOR_NEON = """
import re
import llvmlite.binding as llvm
import numpy as np
from fastnn.kernels.simd.tile import Init, Left, Out, Right, tile
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
@pytest.mark.skipif(SHAPE.vector_bytes != 64, reason="the processor's own shape is looked at above")
@each_dtype
def test_neon_assembly_keeps_every_sum_in_a_register(dtype: type) -> None:
    """Where no such machine is at hand, its assembly can still be read."""
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse4.2,+popcnt,+avx,+fma"}
    script = FOR_NEON.replace("DTYPE", np.dtype(dtype).name)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loops = [loop for loop in innermost_loops(run.stdout) if any("fmla" in text for text in loop)]
    sums = [sum("fmla" in text for text in loop) for loop in loops]
    assert 24 in sums
    assert set(sums) <= {12, 24}
    assert not any("[sp" in text for loop in loops for text in loop)


@jit
def one_step(out, left, right, n_sum, step):
    tile.tile_step(out, left, right, n_sum, step)


@jit
def one_row(out, left, right, apart, init, n_sum):
    tile.row_tile(out, left, right, apart, init, n_sum)


@jit
def one_transpose(out, rows):
    tile.transpose_block(out, rows)


@jit
def one_dots(out, left, right, n_lines):
    tile.dots(out, left, right, n_lines)


@jit
def lines_added_up(x, y, out):
    out[0], out[1] = tile.line_sum(x), tile.line_dot(x, y)


@each_dtype
def test_tile_step(dtype: type) -> None:
    """The chains of the transposed left operand from zero, and one fused step with them."""
    line = line_elements(dtype)
    rng = np.random.default_rng(1)
    for rows in range(1, ROWS + 1):
        for n_lines in range(1, PANEL_LINES + 1):
            for n_sum in (0, 1, 33):
                wide = n_lines * line
                columns = rng.standard_normal((n_sum, ROWS)).astype(dtype)
                right = rng.standard_normal((n_sum, wide)).astype(dtype)
                before = rng.standard_normal((rows + 1, wide + 1)).astype(dtype)
                out = before.copy()
                one_step(
                    Out(out.ravel(), 0, wide + 1, rows, n_lines),
                    tile.LeftColumns(columns.ravel(), 0, ROWS),
                    Right(right.ravel(), 0, wide),
                    n_sum,
                    dtype(0.3),
                )
                gradient = chained(columns.T[:rows], right, np.zeros(wide, dtype))
                stepped = np.empty_like(gradient)
                fused(
                    np.full(gradient.size, -dtype(0.3)),
                    gradient.ravel(),
                    np.ascontiguousarray(before[:rows, :wide]).ravel(),
                    stepped.ravel(),
                )
                assert same_bytes(np.ascontiguousarray(out[:rows, :wide]), stepped)
                assert same_bytes(np.ascontiguousarray(out[:, wide:]), np.ascontiguousarray(before[:, wide:]))
                assert same_bytes(out[rows:], before[rows:])


@each_dtype
def test_row_tile(dtype: type) -> None:
    """One row of several panels, to the bits of `tile`."""
    rng = np.random.default_rng(2)
    panel = PANEL_LINES * line_elements(dtype)
    n_out = tile.ROW_PANELS * panel
    for n_sum in (0, 1, 50):
        left, W = rng.standard_normal(n_sum).astype(dtype), rng.standard_normal((n_sum, n_out)).astype(dtype)
        init = rng.standard_normal(n_out).astype(dtype)
        packed = np.zeros(max(1, n_sum * n_out), dtype)
        pack(W, packed[: n_sum * n_out])
        out = np.full(n_out + 1, np.nan, dtype)
        one_row(
            Out(out, 0, n_out, 1, tile.ROW_PANELS * PANEL_LINES),
            Left(np.append(left, dtype(0)), 0, n_sum, 1),
            Right(packed, 0, panel),
            panel * n_sum,
            Init(init, 0),
            n_sum,
        )
        assert same_bytes(out[None, :n_out], chained(left[None], W, init))
        assert np.isnan(out[n_out])


@each_dtype
def test_transpose_block(dtype: type) -> None:
    """Any number of rows in and out; rows that don't exist count as zeros, and no other is written."""
    lanes = tile.lanes_of(np.dtype(dtype).itemsize)
    rows = np.arange(1, lanes * (lanes + 2) + 1, dtype=dtype).reshape(lanes, lanes + 2)
    for n_rows in range(1, lanes + 3):
        for n_out in range(1, lanes + 3):
            out = np.full((lanes, lanes + 1), np.nan, dtype)
            one_transpose(tile.Rows(out.ravel(), 0, lanes + 1, n_out), tile.Rows(rows.ravel(), 0, lanes + 2, n_rows))
            expected = np.where(np.arange(lanes) < n_rows, rows[:, :lanes].T, 0)
            assert (out[:n_out, :lanes] == expected[:n_out]).all()
            assert np.isnan(out[n_out:]).all()
            assert np.isnan(out[:, lanes:]).all()


@each_dtype
def test_dots(dtype: type) -> None:
    """Lanes are chains over the lines, and are added half by half, whatever the width of a vector."""
    line = line_elements(dtype)
    n_rows, n_columns = tile.dot_shape(tile.lanes_of(np.dtype(dtype).itemsize))
    rng = np.random.default_rng(3)
    left, right = (rng.standard_normal((n, 5 * line)).astype(dtype) for n in (n_rows, n_columns))
    for n_lines in (1, 2, 5):
        for rows in range(1, n_rows + 1):
            for columns in range(1, n_columns + 1):
                before = rng.standard_normal((n_rows + 1, n_columns + 2)).astype(dtype)
                out = before.copy()
                one_dots(
                    tile.Rows(out.ravel(), 0, n_columns + 2, 0),
                    tile.Rows(left.ravel(), 0, 5 * line, rows),
                    tile.Rows(right.ravel(), 0, 5 * line, columns),
                    n_lines,
                )
                expected = before.copy()
                for r in range(rows):
                    for c in range(columns):
                        expected[r, c] += lane_by_lane(left[r, : n_lines * line], right[c, : n_lines * line])
                assert same_bytes(out, expected)


def lane_by_lane(left, right):
    """The sum of products in the order of `dots`."""
    lanes = np.zeros(line_elements(left.dtype), left.dtype)
    for x, y in zip(left.reshape(-1, lanes.size), right.reshape(-1, lanes.size), strict=True):
        fused(x, y, lanes.copy(), lanes)
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    return lanes[0]


@each_dtype
def test_line_sum_and_line_dot(dtype: type) -> None:
    line = line_elements(dtype)
    x, y = np.random.default_rng(3).standard_normal((2, 9 * line)).astype(dtype)
    for first, n_lines in ((0, 1), (3, 1), (0, 2), (line, 8), (line - 1, 8)):
        here = slice(first, first + n_lines * line)
        out = np.zeros(2, dtype)
        lines_added_up(tile.Lines(x, first, n_lines), tile.Lines(y, first, n_lines), out)
        expected = lane_by_lane(x[here], np.ones_like(x[here])), lane_by_lane(x[here], y[here])
        assert same_bytes(out, np.array(expected, dtype))
