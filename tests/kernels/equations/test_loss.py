"""The sum of losses, whose order is fixed."""

from __future__ import annotations

import numpy as np
from cases import each_dtype

from fastnn.kernels.equations.loss import ordered_sum


@each_dtype
def test_ordered_sum(dtype: type) -> None:
    """The sum of whole numbers is exact, whether or not the length is a multiple of the eight interleaved sums."""
    values = np.random.default_rng(0).integers(-1000, 1000, 100).astype(dtype)
    for size in range(100):
        assert ordered_sum(values[:size]) == values[:size].sum(dtype=np.float64)
