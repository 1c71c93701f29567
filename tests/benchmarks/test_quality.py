"""The table of quality: its parts."""

import numpy as np
import pytest

from benchmarks import quality


def test_equal_values_share_their_ranks():
    values = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    assert quality.ranks(values).tolist() == [[3, 1, 2], [1.5, 1.5, 3], [2, 2, 2]]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_data_set_is_split_by_seed_and_standardised():
    part, again, other = (quality.split("wine", seed) for seed in (0, 0, 1))
    assert len(part.y) + len(part.y_test) == 178 and len(part.y_test) == 54
    np.testing.assert_allclose(part.X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_array_equal(part.X, again.X)
    assert not np.array_equal(part.X, other.X)
    result = quality.measure(quality.ENTRANTS["logistic regression"], part, 0)
    assert result.accuracy > 0.9 and 0 < result.log_loss < 0.5 and result.seconds > 0


def test_the_best_of_a_row_stand_out():
    assert quality.cell(np.array([0.9, 0.2, 1.234]), (0.9, 0.1)) == "**0.900**, 0.200, 1.23"
