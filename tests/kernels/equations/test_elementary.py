"""tanh, exp and log against mpmath and NumPy's float64: special values, borders, equal bits everywhere, every float32.

An error is counted in units in the last place (ULP) of the result's dtype at the true value, which isn't rounded.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

from fastnn.kernels.equations import elementary
from fastnn.kernels.simd.numbers import float_bits
from fastnn.kernels.simd.shape import SHAPE
from fastnn.runtime.compiler import jit_entry
from fastnn.runtime.machine import host_features

# The measured errors of docs/accuracy.md, rounded up. The promise is 3 ULP in float32 and 4 in float64.
BOUNDS = {
    "tanh": {np.float32: 2.0, np.float64: 2.2},
    "exp": {np.float32: 1.1, np.float64: 1.1},
    "log": {np.float32: 1.0, np.float64: 1.3},
}
DTYPES = [np.float32, np.float64]
INTEGERS = {np.float32: np.int32, np.float64: np.int64}
LN2 = np.log(2.0)
AVX2 = "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c"
FIT = Path(__file__).parents[3] / "tools/fit_elementary.py"

each_function = pytest.mark.parametrize("name", BOUNDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")


@functools.cache
def loop(name):
    """A compiled loop of a function over an array."""
    function = getattr(elementary, f"{name}_of")

    @jit_entry
    def run(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return run


def apply(name, x):
    out = np.empty_like(x)
    loop(name)(x, out)
    return out


def numpy_double(name, x):
    with np.errstate(all="ignore"):
        return getattr(np, name)(x.astype(np.float64))


@jit_entry
def worst_float32(got, reference):
    """The greatest error in ULP of float32 against a float64 reference, and its place."""
    worst, place = 0.0, 0
    for i in range(got.size):
        value, truth = np.float64(got[i]), reference[i]
        if value == truth or (np.isnan(value) and np.isnan(truth)):
            continue
        if np.isinf(value) and abs(truth) >= 2.0**128 - 2.0**103 and value * truth > 0:
            continue  # the reference rounds to infinity
        exponent = max(((float_bits(truth) >> 52) & 0x7FF) - 1023, -126)
        error = abs(value - truth) / 2.0 ** (exponent - 23)
        if np.isnan(error):
            return np.inf, i
        if error > worst:
            worst, place = error, i
    return worst, place


def worst_float64(name, x, got):
    """The greatest error in ULP of float64 against mpmath, and the x with this error."""
    function = getattr(mpmath, name)
    worst, place = mpmath.mpf(0), 0.0
    with mpmath.mp.workprec(120):
        for number, value in zip(x.tolist(), got.tolist(), strict=True):
            truth = function(mpmath.mpf(number))
            exponent = max(mpmath.frexp(truth)[1] - 1, -1022)
            error = abs(mpmath.ldexp(mpmath.mpf(value) - truth, 52 - exponent))
            if not error <= worst:
                worst, place = error, number
    return float(worst), place


def near(points, dtype, steps=64):
    """The numbers that are at most `steps` steps away from the given ones."""
    bits = np.asarray(points, dtype).view(INTEGERS[dtype])
    return (bits[:, None] + np.arange(-steps, steps + 1, dtype=INTEGERS[dtype])).view(dtype).ravel()


def borders(dtype):
    """Numbers where a function changes over from one piece or scale to the next, with their neighbours."""
    digits = np.finfo(dtype)
    halves = (np.arange(-1100, 1100) + 0.5) * LN2
    points = [
        [digits.smallest_normal, digits.max / 2, 0.5, 1, 2, 20],
        halves[np.abs(halves) < -np.log(float(digits.smallest_subnormal)) + 1],  # exp's scale changes
        halves[np.abs(halves) < 45] / 2,  # tanh's scale changes
        np.sqrt(0.5) * 2.0 ** np.arange(-20, 20),  # log's scale changes
        [np.log(float(digits.max)), np.log(float(digits.smallest_normal)), np.log(float(digits.smallest_subnormal))],
        [(digits.nmant + 2) * LN2 / 2],  # from here on tanh is 1
    ]
    positive = near(np.concatenate(points), dtype)
    lowest = np.arange(200).astype(INTEGERS[dtype]).view(dtype)
    return np.concatenate([positive, -positive, lowest, -lowest])


def sample(name, dtype, n, seed=0):
    """About n numbers: of all of float64's exponents for which the result isn't trivial, and many where it is hard."""
    with np.errstate(over="ignore"):
        return double_sample(name, n, seed).astype(dtype)


def double_sample(name, n, seed):
    rng = np.random.default_rng(seed)
    n //= 10

    def sign(size):
        return rng.choice([-1.0, 1.0], size)

    if name == "tanh":
        edges = (rng.integers(0, 30, n) + 0.5) * LN2 / 2 * (1 + rng.uniform(-1e-6, 1e-6, n))
        parts = [2.0 ** rng.uniform(-1074, 6, 2 * n), rng.uniform(0, 22, 2 * n), rng.uniform(0, 1, 4 * n), edges]
        x = np.concatenate([*parts, 2.0 ** rng.uniform(-20, 0, n)])
        return x * sign(x.size)
    if name == "exp":
        tiny = 2.0 ** rng.uniform(-1074, 0, n)
        edges = (rng.integers(-1022, 1022, n) + 0.5) * LN2 * (1 + rng.uniform(-1e-6, 1e-6, n))
        parts = [rng.uniform(-745, 709.7, 4 * n), rng.uniform(-745.2, -708, 2 * n), rng.uniform(-1, 1, 2 * n)]
        return np.concatenate([*parts, tiny * sign(n), edges])
    everything = rng.integers(1, np.float64(np.inf).view(np.int64), 3 * n).view(np.float64)
    one = 1 + 2.0 ** rng.uniform(-52, -2, n) * sign(n)
    edges = np.sqrt(0.5) * 2.0 ** rng.integers(-1000, 1000, n) * (1 + rng.uniform(-1e-6, 1e-6, n))
    x = np.concatenate([everything, rng.uniform(0.5, 2, 4 * n), one, edges, rng.uniform(0, 2.0**-1022, n)])
    return x[x != 1]  # log(1) is 0, which has no last place


SPECIALS = {
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (np.inf, 1.0), (-np.inf, -1.0), (1e30, 1.0), (-1e30, -1.0)],
    "exp": [(0.0, 1.0), (-0.0, 1.0), (np.inf, np.inf), (-np.inf, 0.0), (1e30, np.inf), (-1e30, 0.0)],
    "log": [(0.0, -np.inf), (-0.0, -np.inf), (1.0, 0.0), (np.inf, np.inf), (-np.inf, np.nan), (-1e-30, np.nan)],
}


@each_function
@each_dtype
def test_special_values(name, dtype):
    x, expected = np.array([*SPECIALS[name], (np.nan, np.nan), (-np.nan, np.nan)], dtype).T
    got = apply(name, x.copy())
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got[expected == 0]), np.signbit(expected[expected == 0]))


@each_dtype
def test_log_of_negative_numbers_is_nan(dtype):
    digits = np.finfo(dtype)
    negative = -np.array([digits.smallest_subnormal, digits.smallest_normal, 1, digits.max], dtype)
    assert np.isnan(apply("log", negative)).all()


@each_dtype
def test_exp_overflows_and_vanishes_at_the_right_place(dtype):
    digits = np.finfo(dtype)
    # The last number whose exp rounds to a finite number, and the last whose exp rounds to 0.
    largest = dtype(np.log(np.longdouble(digits.max)))
    if np.longdouble(largest) > np.log(np.longdouble(digits.max)):
        largest = np.nextafter(largest, dtype(0))
    vanishing = dtype(np.log(np.longdouble(digits.smallest_subnormal) / 2))
    if np.longdouble(vanishing) > np.log(np.longdouble(digits.smallest_subnormal) / 2):
        vanishing = np.nextafter(vanishing, dtype(-np.inf))
    above = np.nextafter(np.array([largest, vanishing], dtype), dtype(np.inf))
    assert np.isfinite(apply("exp", np.array([largest]))).all()
    assert apply("exp", np.array([vanishing])) == 0
    np.testing.assert_array_equal(apply("exp", above), np.array([np.inf, digits.smallest_subnormal], dtype))


@each_dtype
def test_tanh_is_odd_and_at_most_1(dtype):
    x = np.concatenate([borders(dtype), sample("tanh", dtype, 100_000)])
    got = apply("tanh", x)
    np.testing.assert_array_equal(apply("tanh", -x).view(INTEGERS[dtype]), (-got).view(INTEGERS[dtype]))
    assert np.abs(got).max() == 1


@each_dtype
def test_tanh_of_tiny_numbers_is_the_number(dtype):
    digits = np.finfo(dtype)
    tiny = np.geomspace(digits.smallest_normal, digits.eps / 16, 1000).astype(dtype)
    x = np.concatenate([tiny, np.arange(1, 1000).astype(INTEGERS[dtype]).view(dtype)])
    np.testing.assert_array_equal(apply("tanh", x), x)


@each_function
def test_float32_error_at_borders_and_a_dense_sample(name):
    every_1009th = np.arange(0, 2**32, 1009, dtype=np.uint32).view(np.float32)
    x = np.concatenate([every_1009th, borders(np.float32), sample(name, np.float32, 10**6)])
    worst, place = worst_float32(apply(name, x), numpy_double(name, x))
    assert worst <= BOUNDS[name][np.float32], f"{worst} ULP at {x[place]!r}"


@each_function
def test_float64_error_against_mpmath(name):
    x = np.concatenate([borders(np.float64)[::29], sample(name, np.float64, 90_000)])
    got = apply(name, x)
    usable = np.isfinite(x) & (x != 0) & np.isfinite(got) & (got != 0)  # the other numbers are tested as special values
    worst, place = worst_float64(name, x[usable], got[usable])
    assert worst <= BOUNDS[name][np.float64], f"{worst} ULP at {place!r}"


@each_function
@each_dtype
def test_one_number_at_a_time_has_the_same_bits(name, dtype):
    x = np.concatenate([borders(dtype)[::11], sample(name, dtype, 10_000)])
    together = apply(name, x)
    alone = np.concatenate([apply(name, x[i : i + 1]) for i in range(x.size)])
    np.testing.assert_array_equal(normalised(alone), normalised(together))


def normalised(x):
    """The bits of x, with the same bits for every NaN: which NaN an operation gives is the compiler's choice."""
    return np.where(np.isnan(x), x.dtype.type(np.nan), x).view(INTEGERS[x.dtype.type])


def digest():
    """A hash of the bits of every function's results."""
    whole = hashlib.sha256()
    for name in BOUNDS:
        for dtype in DTYPES:
            x = np.concatenate([borders(dtype), sample(name, dtype, 10_000)])
            whole.update(normalised(apply(name, x)).tobytes())
    return whole.hexdigest()


@needs_x86
@pytest.mark.skipif("+avx2" not in host_features() or "+fma" not in host_features(), reason="needs AVX2")
def test_an_avx2_build_has_the_same_bits():
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}
    other = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest()


@functools.cache
def widest_of_a_plain_loop():
    """The registers are zmm or ymm: for Intel's processors LLVM makes 256-bit loops even if they have AVX-512."""

    def double(x, y):
        for i in range(x.size):
            y[i] = x[i] + x[i]

    compiled = jit_entry(double)
    compiled(np.ones(3, np.float32), np.ones(3, np.float32))
    found = re.search(r"vaddps\s.*([yz]mm)", compiled.inspect_asm(compiled.signatures[0]))
    assert found, "not even a sum of two arrays is vectorised"
    return found[1]


@needs_x86
@pytest.mark.skipif(SHAPE.vector_bytes < 32, reason="needs AVX2")
@each_function
@each_dtype
def test_a_loop_is_vectorised_and_calls_no_libm(name, dtype):
    apply(name, np.ones(3, dtype))
    run = loop(name)
    signature = next(s for s in run.signatures if s[0].dtype.bitwidth == np.finfo(dtype).bits)
    assembly = run.inspect_asm(signature)
    register = widest_of_a_plain_loop()
    suffix = "ps" if dtype is np.float32 else "pd"
    assert re.search(rf"vfn?madd\w+{suffix}\s.*{register}", assembly)
    if name == "tanh":
        assert re.search(rf"vdiv{suffix}\s.*{register}", assembly)
    assert not re.search(r"\b(tanh|exp|exp2|expm1|log|log2|log1p|fma|ldexp|scalbn)f?\b", assembly)


def test_other_types_are_refused():
    with pytest.raises(Exception, match="No implementation"):
        loop("tanh")(np.ones(3, np.int64), np.ones(3))


@each_function
def test_interpreted_calls_are_refused(name):
    with pytest.raises(NotImplementedError, match="compiled"):
        getattr(elementary, f"{name}_of")(1.0)


def test_the_tables_are_what_the_fit_gives():
    outcome = subprocess.run([sys.executable, FIT, "--check"], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.slow
@each_function
def test_every_float32(name):
    block = 2**24
    worst, place = 0.0, np.float32(0)
    for start in range(0, 2**32, block):
        x = np.arange(start, start + block, dtype=np.uint32).view(np.float32)
        error, i = worst_float32(apply(name, x), numpy_double(name, x))
        if error > worst:
            worst, place = error, x[i]
    print(f"\n{name}, every float32: {worst:.3f} ULP at {place!r}")
    assert worst <= BOUNDS[name][np.float32]


@pytest.mark.slow
@each_function
def test_numpy_is_fit_to_be_the_reference(name):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 1_600_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([bits[np.isfinite(bits)], sample(name, np.float32, 900_000)]).astype(np.float64)
    got = numpy_double(name, x)
    usable = (x != 0) & np.isfinite(got) & (got != 0)
    worst, place = worst_float64(name, x[usable], got[usable])
    print(f"\n{name}, NumPy's float64 at {usable.sum()} float32 numbers: {worst:.3f} ULP of float64 at {place!r}")
    assert usable.sum() >= 10**6
    assert worst <= 4  # 4 ULP of float64 are 1e-8 ULP of float32


@pytest.mark.slow
@each_function
def test_float64_error_at_a_million_numbers(name):
    x = sample(name, np.float64, 10**6, seed=1)
    worst, place = worst_float64(name, x, apply(name, x))
    print(f"\n{name}, float64 at {x.size} numbers: {worst:.3f} ULP at {place!r}")
    assert worst <= BOUNDS[name][np.float64]


@pytest.mark.slow
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="needs a longer long double")
@each_function
def test_float64_error_at_a_hundred_million_numbers(name):
    """The reference is the C library's long double, exact to 2**-11 ULP of float64: mpmath would be too slow."""
    worst, place = 0.0, 0.0
    for seed in range(100):
        x = sample(name, np.float64, 10**6, seed)
        truth = getattr(np, name)(x.astype(np.longdouble))
        exponent = np.maximum(np.frexp(truth)[1] - 1, -1022)
        error = np.ldexp(np.abs(apply(name, x) - truth), 52 - exponent)
        if not error.max() <= worst:
            worst, place = float(error.max()), x[error.argmax()]
    print(f"\n{name}, float64 at 10**8 numbers: {worst:.3f} ULP at {place!r}")
    assert worst <= BOUNDS[name][np.float64]


if __name__ == "__main__":
    print(digest())
