"""The order of an epoch is a permutation and a function of its key, and all orders are equally likely."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.kernels.equations.shuffle import mix, random_below, random_bits, shuffle

SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 2**40)


def order(n: int, seed: int, epoch: int) -> np.ndarray:
    indices = np.full(n, -1, np.int64)
    shuffle(indices, np.uint64(seed), epoch)
    return indices


def splitmix(x: int) -> int:
    """`mix` in Python's integers, which have no fixed width."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


@settings(deadline=None)
@given(n=st.integers(0, 3000), seed=SEEDS, epoch=EPOCHS)
def test_a_permutation_that_its_key_decides(n: int, seed: int, epoch: int) -> None:
    indices = order(n, seed, epoch)
    assert (np.sort(indices) == np.arange(n)).all()
    assert (indices == order(n, seed, epoch)).all()
    if n > 20:  # two random orders out of 20! are equal once in 10**18
        assert (indices != order(n, seed, epoch + 1)).any()
        assert (indices != order(n, (seed + 1) % 2**64, epoch)).any()
        assert (indices != np.arange(n)).any()


@settings(deadline=None)
@given(key=SEEDS, index=st.integers(0, 2**32), n=st.integers(1, 2**32 - 1))
def test_random_below_is_the_high_word_of_a_product(key: int, index: int, n: int) -> None:
    """The result in 64-bit arithmetic, which wraps, is that of exact integers, up to the largest n.

    This holds for compiled code, and in Python for arrays, which wrap without a warning.
    """
    keys, indices = np.array([key], np.uint64), np.array([index], np.uint64)
    assert mix(keys).tolist() == [splitmix(key)]
    bits = splitmix((key + (index + 1) * 0x9E3779B97F4A7C15) % 2**64)
    assert random_bits(keys, indices).tolist() == [bits]
    assert random_below(np.uint64(key), index, n) == bits * n >> 64


def chi_square(counts: np.ndarray, expected: float) -> float:
    return float(((counts - expected) ** 2).sum() / expected)


def test_every_position_gets_every_index_equally_often() -> None:
    """The counts over the epochs of a seed, and over the first epochs of many seeds, are even within 5 deviations."""
    n, draws = 16, 20_000
    over_epochs = [order(n, 0, epoch) for epoch in range(draws)]
    over_seeds = [order(n, seed, 0) for seed in range(draws)]
    for orders in (over_epochs, over_seeds):
        counts = np.array([np.bincount(column, minlength=n) for column in np.transpose(orders)])
        freedom = (n - 1) ** 2
        assert chi_square(counts, draws / n) < freedom + 5 * np.sqrt(2 * freedom)


def test_every_order_comes_equally_often() -> None:
    draws = 24_000
    counts = Counter(tuple(order(4, 7, epoch)) for epoch in range(draws))
    assert len(counts) == 24
    assert chi_square(np.array(list(counts.values())), draws / 24) < 23 + 5 * np.sqrt(46)
