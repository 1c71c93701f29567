"""Options: what a range accepts, and what it makes of the value."""

import numpy as np
import pytest

from fastnn.training.option import Choice, Flag, Real, Whole


@pytest.mark.parametrize(
    ("accepts", "inside", "outside", "wrong"),
    [
        (Real(0), [0, 1.5, np.float32(2)], [-1e-9, np.inf, np.nan], [True, "1", None]),
        (Real(0, closed="neither"), [1e-300], [0, np.inf], [None]),
        (Real(0, 1), [0, 0.5], [1, -1], [None]),
        (Real(0, 1, "both"), [0, 1], [1.1, np.nan], [None]),
        (Whole(0, 64), [0, np.int8(7), 2**64 - 1], [-1, 2**64], [1.0, True, None]),
        (Flag(), [True, np.False_], [], [1, None]),
        (Choice(("a", "b")), ["a"], ["c", None, 1], []),
    ],
    ids=repr,
)
def test_ranges(accepts, inside, outside, wrong):
    for value in inside:
        found = accepts.checked("it", value)
        assert found == value and type(found) in (int, float, bool, str)
    for value in outside:
        with pytest.raises(ValueError, match="it must be"):
            accepts.checked("it", value)
    for value in wrong:
        with pytest.raises(TypeError, match="it must be"):
            accepts.checked("it", value)
