"""How entrants compare over many data sets: ranks, win rates, Elo, normalised scores, and how sure they are.

Every function takes `losses`, an array with a row for each data set and a column for each entrant, in which less is
better. NaN says that the entrant has no result on the data set. Nothing else is known here: a loss may be a log-loss, a
root mean squared error, or a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

# An Elo difference of 400 means that the better one wins ten of eleven times.
_ELO_OF_A_FACTOR_E = 400 / np.log(10)
_MOST_NEWTON_STEPS = 100


def complete(losses: np.ndarray) -> np.ndarray:
    """Which data sets all entrants have results on: an array of bool, one for each row."""
    return np.asarray(np.isfinite(losses).all(axis=1))


def ranks(losses: np.ndarray) -> np.ndarray:
    """The rank of each entrant on each data set, 1 for the best. Equal losses share the mean of their ranks.

    A missing result has no rank, and the ranks of the others are those among themselves.
    """
    here = np.isfinite(losses)
    better = (losses[:, :, None] > losses[:, None, :]).sum(axis=2)
    equal = (losses[:, :, None] == losses[:, None, :]).sum(axis=2)
    return np.asarray(np.where(here, better + (equal + 1) / 2, np.nan))


def wins(losses: np.ndarray) -> np.ndarray:
    """On how many data sets each entrant (row) is better than each other (column); an equal loss is half a win."""
    first, second = losses[:, :, None], losses[:, None, :]
    counts = (first < second).sum(axis=0) + 0.5 * (first == second).sum(axis=0)
    np.fill_diagonal(counts, 0.0)
    return np.asarray(counts, np.float64)


def win_rates(losses: np.ndarray) -> np.ndarray:
    """The share of data sets on which each entrant (row) is better than each other (column).

    Only data sets that both have results on count. NaN stands where there are none, and on the diagonal.
    """
    won = wins(losses)
    met = won + won.T
    return np.asarray(np.divide(won, met, out=np.full_like(won, np.nan), where=met > 0))


def normalised(losses: np.ndarray) -> np.ndarray:
    """The normalised score of each entrant on each data set: 1 for the best, 0 for the median entrant and all below it.

    Between the two the score is linear in the loss. If the median is as good as the best, whoever has this loss gets 1.
    """
    best = np.nanmin(losses, axis=1, keepdims=True)
    span = np.nanmedian(losses, axis=1, keepdims=True) - best
    behind = losses - best
    shares = np.divide(behind, span, out=np.where(behind > 0, 1.0, 0.0), where=span > 0)
    return np.where(np.isfinite(losses), 1 - np.clip(shares, 0, 1), np.nan)


def score_differences(losses: np.ndarray) -> np.ndarray:
    """How much higher each entrant's (row) normalised score is than each other's (column), on average.

    Only data sets that both have results on count. NaN stands where there are none.
    """
    good = normalised(losses)
    differences = good[:, :, None] - good[:, None, :]
    here = np.isfinite(differences)
    counts = here.sum(axis=0)
    sums = np.where(here, differences, 0.0).sum(axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def elo(losses: np.ndarray, anchor: int, anchor_elo: float = 1000.0, draws: float = 0.1) -> np.ndarray:
    """Elo ratings: the strengths of Bradley and Terry's model that make the wins most likely.

    Parameters
    ----------
    losses : ndarray, shape (n_sets, n_entrants)
        The losses. A data set on which two entrants have a result is a game between the two.
    anchor : int
        The entrant whose rating is given.
    anchor_elo : float
        The anchor's rating.
    draws : float
        How many draws each pair that has met is taken to have played in addition. They keep the rating of an entrant
        finite that has won, or lost, every game.

    Returns
    -------
    ndarray, shape (n_entrants,)
        The ratings. NaN for an entrant without a game.
    """
    won = wins(losses)
    met = won + won.T
    won = won + draws / 2 * (met > 0)
    games = won + won.T
    played = games.sum(axis=1) > 0
    free = played.copy()
    free[anchor] = False
    strength = np.zeros(len(won))
    for _ in range(_MOST_NEWTON_STEPS):
        expected = 1 / (1 + np.exp(np.clip(strength[None, :] - strength[:, None], -50, 50)))
        gradient = (won - games * expected).sum(axis=1)
        weights = games * expected * (1 - expected)
        curvature = np.diag(weights.sum(axis=1)) - weights
        # The smallest solution: a pair of entrants that has met no third one stays where it is.
        step = np.linalg.lstsq(curvature[np.ix_(free, free)], gradient[free], rcond=None)[0]
        strength[free] += np.clip(step, -1, 1)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return np.where(played, anchor_elo + _ELO_OF_A_FACTOR_E * strength, np.nan)


def relative_losses(losses: np.ndarray, reference: int, shift: float = 0.01) -> np.ndarray:
    """How much larger each entrant's losses are than the reference's: -0.1 is 10 % less.

    It is the geometric mean, over the data sets that both have results on, of the quotient of the two losses. `shift`
    is added to both, so that a loss of nearly 0 doesn't decide everything.
    """
    logs = np.log(losses + shift) - np.log(losses[:, reference, None] + shift)
    here = np.isfinite(logs)
    counts = here.sum(axis=0)
    sums = np.where(here, logs, 0.0).sum(axis=0)
    return np.asarray(np.expm1(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)))


def bootstrap(
    losses: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], rounds: int = 1000, seed: int = 0
) -> np.ndarray:
    """What a statistic would be with other data sets of the same kind.

    In each round as many data sets are drawn as there are, with replacement.

    Returns
    -------
    ndarray, shape (rounds, ...)
        The statistic of each round.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(losses), size=(rounds, len(losses)))
    return np.stack([statistic(losses[rows]) for rows in drawn])


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper end of the middle of the samples that holds this share of them; NaNs aren't counted."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # where all are NaN
        low, high = np.nanquantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)
