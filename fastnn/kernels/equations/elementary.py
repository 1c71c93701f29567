"""tanh, exp and log of one number, without branches, so that LLVM vectorises the loops that call them.

They are polynomials with an explicit `fma` for every multiply-add. A call of libm's functions instead would stop a
loop's vectorisation and give other bits on other machines. Both dtypes share the source of each function and differ in
the constants. Comparisons with NaN are false, and the selections are written so that NaN passes through them.

The errors given here were measured over every float32, and over 10**8 numbers in float64 (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from fastnn.kernels.simd.numbers import bits_float, float_bits, fma, polynomial

# The tables down to _LN2_64 are printed by `python tools/fit_elementary.py`; with --check it compares them instead.
# _EXPM1_...: the polynomial p of expm1(x) = x + x**2 * p(x), for |x| <= ln(2)/2, the highest coefficient first.
# _LOG1P_...: the polynomial p of log1p(x) = x + x**2 * p(x), for sqrt(1/2) - 1 <= x <= sqrt(2) - 1.
# _LN2_...: ln(2) as the sum of a high and a low part; the high part times any exponent has no rounding error.
_EXPM1_32 = (  # relative error 1.36e-8
    0.0013869784,
    0.008366258,
    0.041667443,
    0.16666546,
    0.49999997,
)
_EXPM1_64 = (  # relative error 1.85e-17
    2.506368842817559e-08,
    2.7625879958470875e-07,
    2.755737050347771e-06,
    2.4801505630071248e-05,
    0.0001984126976924445,
    0.0013888888931375388,
    0.008333333333360483,
    0.041666666666576306,
    0.1666666666666665,
    0.5000000000000006,
)
_LOG1P_32 = (  # relative error 4.19e-9
    -0.076190166,
    0.12912916,
    -0.13248064,
    0.14180854,
    -0.16608411,
    0.20002005,
    -0.2500161,
    0.33333325,
    -0.49999988,
)
_LOG1P_64 = (  # relative error 8.04e-18
    0.026172295584939824,
    -0.06003639683519512,
    0.06526806216108846,
    -0.05678041847236334,
    0.05659950599555305,
    -0.06194615330303572,
    0.06685795101565258,
    -0.07149884025522604,
    0.07691443066049596,
    -0.08332869416694269,
    0.09090927092795746,
    -0.10000017641865346,
    0.11111111103157807,
    -0.12499999614070696,
    0.1428571427969933,
    -0.16666666671183805,
    0.20000000000082752,
    -0.24999999999976436,
    0.33333333333333043,
    -0.5000000000000003,
)
_LN2_32 = (0.69314575, 1.4286068e-06)
_LN2_64 = (0.6931471805598903, 5.497923018708371e-14)


class _Constants(NamedTuple):
    """A floating-point format and the constants that the functions need in this format."""

    number: Any  # the floating-point type
    integer: Any  # the integer type of the same width
    mantissa: Any  # the number of bits of the fraction
    bias: Any  # the exponent's bias
    ln2: tuple[Any, Any]
    expm1: tuple[Any, ...]
    log1p: tuple[Any, ...]


def _constants(number: Any, integer: Any, ln2: Any, expm1: Any, log1p: Any) -> _Constants:
    digits = np.finfo(number)
    high, low = map(number, ln2)
    tables = tuple(map(number, expm1)), tuple(map(number, log1p))
    return _Constants(number, integer, integer(digits.nmant), integer(digits.maxexp - 1), (high, low), *tables)


_CONSTANTS = {
    types.float32: _constants(np.float32, np.int32, _LN2_32, _EXPM1_32, _LOG1P_32),
    types.float64: _constants(np.float64, np.int64, _LN2_64, _EXPM1_64, _LOG1P_64),
}
_LOG2_E = 1.4426950408889634
_OPTIONS = {"error_model": "numpy", "forceinline": True}


def tanh_of(x: Any) -> Any:
    """``tanh(x)`` (of F2), computed as ``(1 - e) / (1 + e)`` with ``e = exp(-2 * |x|)`` and given the sign of x.

    The result is in [-1, 1], odd in x to the last bit, and at most 2.0 ULP from the truth in float32, 2.2 in float64.
    A subnormal number and -0.0 give themselves, and NaN gives NaN.
    """
    raise NotImplementedError("tanh_of is for compiled code")


@overload(tanh_of, jit_options=_OPTIONS)  # type: ignore[untyped-decorator]
def _tanh_of(x: Any) -> Callable[[Any], Any] | None:
    if x not in _CONSTANTS:
        return None
    number, integer, mantissa, bias, (ln2_high, ln2_low), table, _ = _CONSTANTS[x]
    # Adding `rounder` to a number rounds it to an integer. The lowest bits of the sum hold this integer plus the bias.
    rounder = number(1.5 * 2.0**mantissa + bias)
    log2_e, minus_ln2 = number(_LOG2_E), -(ln2_high + ln2_low)
    one, least = number(1), number(-40)  # tanh of 20 and more is 1 in both dtypes
    sign_bit = integer(np.iinfo(integer).min)

    def tanh(x: Any) -> Any:
        y = -abs(x + x)
        y = least if y < least else y
        rounded = fma(y, log2_e, rounder)
        r = fma(rounded - rounder, minus_ln2, y)
        p = fma(r * r, polynomial(table, r), r)
        # e = scale * (1 + p). The sums e - 1 and e + 1 are rounded once each: computing e + 1 from e - 1 would cost
        # 0.5 ULP more.
        scale = bits_float(integer(float_bits(rounded) << mantissa))
        ratio = fma(scale, p, scale - one) / fma(scale, p, scale + one)
        return bits_float(integer(float_bits(abs(ratio)) | (float_bits(x) & sign_bit)))

    return tanh


def exp_of(x: Any) -> Any:
    """``exp(x)`` (of F3), computed as ``2**k * exp(x - k * ln(2))`` with k, the integer nearest to x / ln(2).

    The result is in [0, inf] and at most 1.1 ULP from the truth in both dtypes, also where it is subnormal. 0 gives 1,
    -inf gives 0, inf gives inf, and NaN gives NaN.
    """
    raise NotImplementedError("exp_of is for compiled code")


@overload(exp_of, jit_options=_OPTIONS)  # type: ignore[untyped-decorator]
def _exp_of(x: Any) -> Callable[[Any], Any] | None:
    if x not in _CONSTANTS:
        return None
    number, integer, mantissa, bias, (ln2_high, ln2_low), table, _ = _CONSTANTS[x]
    rounder = number(1.5 * 2.0**mantissa + 2 * bias)
    log2_e, minus_high, minus_low = number(_LOG2_E), -ln2_high, -ln2_low
    one = number(1)
    # Above `most` the result is inf, and below `least` it is 0.
    most, least = number((bias + 1) * ln2_high + 1), number(-(bias + mantissa + 1) * ln2_high - 1)

    def exp(x: Any) -> Any:
        y = most if x > most else x
        y = least if y < least else y
        rounded = fma(y, log2_e, rounder)
        k = rounded - rounder
        r = fma(k, minus_low, fma(k, minus_high, y))
        p = fma(r * r, polynomial(table, r), r)
        # 2**k may be out of range although the result isn't, so it is split into 2**(k // 2) and the rest.
        k_bits = float_bits(rounded)  # the lowest bits hold k + 2 * bias
        half = integer((k_bits >> 1) << mantissa)
        rest = integer((k_bits << mantissa) - half)
        return (one + p) * bits_float(half) * bits_float(rest)

    return exp


def log_of(x: Any) -> Any:
    """``log(x)`` (of F4), computed as ``k * ln(2) + log1p(f)`` with ``x = 2**k * (1 + f)`` and 1 + f near 1.

    The result is in [-inf, inf] and at most 1.0 ULP from the truth in float32, 1.3 in float64, also for subnormal x.
    1 gives 0, 0 gives -inf, inf gives inf, and negative numbers and NaN give NaN.
    """
    raise NotImplementedError("log_of is for compiled code")


@overload(log_of, jit_options=_OPTIONS)  # type: ignore[untyped-decorator]
def _log_of(x: Any) -> Callable[[Any], Any] | None:
    if x not in _CONSTANTS:
        return None
    number, integer, mantissa, bias, (ln2_high, ln2_low), _, table = _CONSTANTS[x]
    zero, one, inf, nan = number(0), number(1), number(np.inf), number(np.nan)
    exponent_bits = inf.view(integer)
    lowest = number(np.sqrt(0.5)).view(integer)  # 1 + f is between sqrt(1/2) and sqrt(2)
    offset = one.view(integer) - lowest
    # An integer becomes a number by way of the lowest bits of 2**mantissa, since AVX2 can't convert an int64.
    maker = number(2.0**mantissa)
    maker_bits = maker.view(integer)
    smallest_normal = np.finfo(number).smallest_normal
    lift = number(2.0 ** (mantissa + 1))
    excess, lifted_excess = number(maker + bias), number(maker + bias + mantissa + 1)

    def log(x: Any) -> Any:
        subnormal = x < smallest_normal
        shifted = integer(float_bits(x * lift if subnormal else x) + offset)
        exponent = integer(shifted & exponent_bits)
        f = bits_float(integer(shifted - exponent + lowest)) - one
        k = bits_float(integer((exponent >> mantissa) + maker_bits)) - (lifted_excess if subnormal else excess)
        y = fma(k, ln2_high, fma(f * f, polynomial(table, f), fma(k, ln2_low, f)))
        y = y if x < inf else x
        return y if x > zero else (-inf if x == zero else nan)

    return log
