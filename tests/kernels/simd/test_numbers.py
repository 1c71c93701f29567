"""Operations on single numbers: `fma` rounds once, bits stay unchanged."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from cases import each_dtype, same_bytes
from chains import fused

from fastnn.kernels.simd.numbers import bits_float, float_bits, polynomial
from fastnn.runtime.compiler import jit

INTEGERS = {np.float32: np.int32, np.float64: np.int64}


@jit
def bits_of(numbers, bits, back):
    for i in range(numbers.size):
        bits[i] = float_bits(numbers[i])
        back[i] = bits_float(bits[i])


@jit
def horner(table, x, out):
    for i in range(x.size):
        out[i] = polynomial(table, x[i])


def rounded(exact: Fraction, dtype: type) -> np.floating:
    """The number of the dtype nearest to `exact`. Python rounds a fraction to float64 only, so float32 is done here."""
    if dtype == np.float64:
        return np.float64(exact.numerator / exact.denominator)
    near = np.float32(exact.numerator / exact.denominator)
    candidates = [np.nextafter(near, -np.inf, dtype=dtype), near, np.nextafter(near, np.inf, dtype=dtype)]
    # If two are equally near, the even one is right.
    return min(candidates, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(np.int32)) & 1))


@each_dtype
def test_fma_rounds_once(dtype: type) -> None:
    """Results against exact fractions, where a rounded product would show: the sum nearly cancels or is half a step."""
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
    """The bits of all numbers stay unchanged on the way to integers and back, also those of a NaN with a payload."""
    integer = INTEGERS[dtype]
    numbers = np.array([0.0, -0.0, 1.0, np.pi, np.inf, -np.inf, np.nan, np.finfo(dtype).smallest_subnormal], dtype)
    numbers = np.append(numbers, (numbers[-2:-1].view(integer) + integer(12345)).view(dtype))
    bits, back = np.empty(numbers.size, integer), np.empty_like(numbers)
    bits_of(numbers, bits, back)
    assert same_bytes(bits, numbers.view(integer))
    assert same_bytes(back, numbers)


@each_dtype
def test_polynomial(dtype: type) -> None:
    """The highest coefficient comes first. On small whole numbers the result is exact."""
    table = tuple(dtype(c) for c in (3, -1, 0, 7))
    x = np.arange(-8, 9, dtype=dtype)
    out = np.empty_like(x)
    horner(table, x, out)
    assert (out == 3 * x**3 - x**2 + 7).all()
