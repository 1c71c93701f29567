"""The order of an epoch: a Fisher-Yates shuffle keyed by (seed, epoch, index).

The random numbers are a function of their key and have no state. So the order of an epoch depends neither on threads
nor on where a training was stopped and resumed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from fastnn.runtime.compiler import jit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LOW = np.uint64(0xFFFFFFFF)


@register_jitable  # type: ignore[untyped-decorator]
def mix(x: Any) -> Any:
    """A permutation of the 64-bit numbers in which every input bit influences every output bit.

    This is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014, with Stafford's constants). From Python it takes
    arrays as well.
    """
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@register_jitable  # type: ignore[untyped-decorator]
def random_bits(key: Any, index: Any) -> Any:
    """64 random bits: number `index` (uint64) of stream `key`."""
    return mix(key + (index + np.uint64(1)) * _GOLDEN)


@jit
def random_below(key: np.uint64, index: int, n: int) -> int:
    """Number `index` of stream `key`, from 0 to n - 1, where n is below 2**32 (the bias is below n / 2**64)."""
    bits = random_bits(key, np.uint64(index))
    # The high word of the 128-bit product bits * n.
    low = (bits & _LOW) * np.uint64(n)
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n) + (low >> np.uint64(32))) >> np.uint64(32))  # type: ignore[return-value]


@jit
def shuffle(order: NDArray[np.int64], seed: np.uint64, epoch: int) -> None:
    """Fill `order` with 0 to n - 1 in this epoch's random order."""
    key = mix(mix(np.uint64(seed)) + np.uint64(epoch))
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        j = random_below(key, i, i + 1)
        order[i], order[j] = order[j], order[i]
