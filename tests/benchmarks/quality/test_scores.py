"""Scores over data sets, on cases that were worked out by hand."""

import numpy as np
import pytest

from benchmarks.quality import scores

NAN = np.nan
# Three data sets (rows) and three entrants.
LOSSES = np.array([[0.1, 0.2, 0.3], [0.1, 0.1, 0.4], [0.5, 0.2, NAN]])


def test_equal_losses_share_their_ranks_and_missing_ones_have_none():
    np.testing.assert_array_equal(scores.ranks(LOSSES), [[1, 2, 3], [1.5, 1.5, 3], [2, 1, NAN]])
    assert scores.complete(LOSSES).tolist() == [True, True, False]


def test_an_equal_loss_is_half_a_win():
    assert scores.wins(LOSSES).tolist() == [[0, 1.5, 2], [1.5, 0, 2], [0, 0, 0]]
    np.testing.assert_array_equal(scores.win_rates(LOSSES), [[NAN, 0.5, 1], [0.5, NAN, 1], [0, 0, NAN]])


def test_a_win_rate_without_a_common_data_set_is_unknown():
    rates = scores.win_rates(np.array([[0.1, 0.2, NAN], [NAN, 0.2, 0.1]]))
    assert np.isnan(rates[0, 2]) and rates[0, 1] == 1 and rates[1, 2] == 0


def test_normalised_scores_go_from_the_median_to_the_best():
    losses = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [0.2, 0.2, 0.2, 0.7, NAN]])
    np.testing.assert_allclose(scores.normalised(losses), [[1, 0.5, 0, 0, 0], [1, 1, 1, 0, NAN]])


def test_elo_of_two_is_the_logarithm_of_their_wins():
    losses = np.array([[1, 2], [1, 2], [1, 2], [2, 1]], np.float64)
    assert scores.elo(losses, anchor=1, draws=0) == pytest.approx([1000 + 400 * np.log10(3), 1000])


def test_elo_finds_the_strengths_that_made_the_wins():
    # Ten games of each pair, won by the odds 3:1 and 1:1 and 1:3 of strengths 3, 1, 1 would be fractions: 7.5, 7.5, 5.
    pairs = [(0, 1, 15), (1, 0, 5), (0, 2, 15), (2, 0, 5), (1, 2, 10), (2, 1, 10)]
    losses = []
    for winner, loser, times in pairs:
        row = np.full(3, NAN)
        row[[winner, loser]] = 0, 1
        losses += [row] * times
    found = scores.elo(np.array(losses), anchor=2, anchor_elo=0, draws=0)
    assert found == pytest.approx([400 * np.log10(3), 0, 0], abs=1e-6)


def test_elo_of_one_who_always_wins_is_finite_and_in_order():
    losses = np.tile([1.0, 2.0, 3.0], (20, 1))
    found = scores.elo(losses, anchor=1)
    assert np.isfinite(found).all() and found[0] > found[1] == 1000 > found[2]


def test_elo_of_one_without_games_is_unknown():
    found = scores.elo(np.array([[1.0, 2.0, NAN], [2.0, 1.0, NAN]]), anchor=0)
    np.testing.assert_allclose(found, [1000, 1000, NAN])


def test_relative_losses_are_geometric_means():
    losses = np.array([[1.0, 2.0, 0.5], [4.0, 2.0, NAN]])
    assert scores.relative_losses(losses, reference=0, shift=0) == pytest.approx([0, 0, -0.5])
    shifted = np.sqrt(2.5 / 1.5 * 2.5 / 4.5) - 1
    assert scores.relative_losses(losses, reference=0, shift=0.5)[1] == pytest.approx(shifted)


def test_the_bootstrap_repeats_by_its_seed():
    losses = np.random.default_rng(0).random((30, 2))
    first, again, other = (scores.bootstrap(losses, scores.win_rates, 50, seed) for seed in (0, 0, 1))
    assert first.shape == (50, 2, 2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)
    low, high = scores.interval(first[:, 0, 1])
    assert low < scores.win_rates(losses)[0, 1] < high


def test_a_certain_win_has_no_interval():
    samples = scores.bootstrap(np.tile([1.0, 2.0], (10, 1)), scores.win_rates, 20)
    assert scores.interval(samples[:, 0, 1]) == (1, 1)
