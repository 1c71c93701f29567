"""When training stops by itself."""

import numpy as np
import pytest

from fastnn.network.network import Network
from fastnn.network.samples import Samples
from fastnn.training.schedule import Schedule
from fastnn.training.stopping import VALIDATION_LOSS, VALIDATION_SCORE, Stopping
from fastnn.training.validation import Validation

X = np.array([[-2.0], [-1.0], [1.0], [2.0]])


def network(slope: float) -> Network:
    """Says "yes" where slope * x > 0, or "no" everywhere at slope 0."""
    W = np.array([[0.0, slope]])
    return Network([W], [np.zeros(2)], classes=["no", "yes"])


def validation(labels: str, **options) -> Stopping:
    y = np.array([{"n": "no", "y": "yes"}[label] for label in labels])
    held_out = Validation(network(0), Samples(X, y, options.pop("sample_weight", None)))
    return Stopping(**{"watch": VALIDATION_SCORE, **options}, validation=held_out)


def plateaus(rule: Stopping, losses: list[float]) -> list[bool]:
    return [rule.judge(network(0), loss).plateau for loss in losses]


def test_a_plateau_is_more_than_so_many_epochs_without_improvement():
    rule = Stopping(tol=0.125, n_iter_no_change=2)
    # From 2: a fall by exactly tol improves, a smaller one doesn't, though it becomes the loss to beat.
    assert plateaus(rule, [2.0, 1.875, 1.8125, 1.75, 1.75]) == [False, False, False, False, True]
    assert rule.best == 1.75
    # The count begins again.
    assert plateaus(rule, [1.75, 1.75, 1.75]) == [False, False, True]
    assert plateaus(rule, [1.75, 1.75, 1.0, 1.0, 1.0, 1.0]) == [False, False, False, False, False, True]


@pytest.mark.parametrize(("patience", "first"), [(1, 2), (10, 11), (np.inf, None)])
def test_patience(patience, first):
    found = plateaus(Stopping(tol=0.0, n_iter_no_change=patience), [1.0] * 3 + [1.5] * 20)
    # tol 0: an equal loss counts as improvement, as in scikit-learn.
    assert (found.index(True) if True in found else None) == (None if first is None else 2 + first)


def test_no_score_without_held_out_samples():
    verdict = Stopping().judge(network(1), 0.5)
    assert verdict.validation_loss is verdict.validation_score is None
    assert Stopping().schedule == Schedule()


def test_validation_scores_and_gives_the_best_weights_back():
    rule = validation("nnyy", tol=0.0, n_iter_no_change=1)
    best, worse = network(3), network(-3)
    scores = [rule.judge(net, loss=9.0).validation_score for net in (network(0), best, worse, network(2))]
    assert scores == [0.5, 1.0, 0.0, 1.0]
    assert rule.best_score == 1.0
    rule.restore_best(worse)
    # Two networks have the best score. The weights of the first one are kept.
    assert worse.params.tobytes() == best.params.tobytes()


def test_the_best_weights_are_a_copy():
    rule, net = validation("nnyy"), network(3)
    rule.judge(net, 0.0)
    net.params[:] = 0
    rule.restore_best(net)
    assert net.weights[0].tolist() == [[0.0, 3.0]]


def test_nothing_is_restored_before_the_first_epoch():
    rule, net = validation("nnyy"), network(3)
    rule.restore_best(net)
    assert net.weights[0].tolist() == [[0.0, 3.0]]


def test_validation_plateaus_by_score():
    rule = validation("nnyy", tol=0.25, n_iter_no_change=1)
    # Scores 0.5, 1 (better), 1, 1: the loss doesn't matter.
    verdicts = [rule.judge(network(slope), loss) for slope, loss in ((0, 4.0), (1, 3.0), (1, 2.0), (1, 1.0))]
    assert [verdict.plateau for verdict in verdicts] == [False, False, False, True]


def test_validation_weighs_samples():
    rule = validation("ynyy", sample_weight=np.array([1.0, 2.0, 4.0, 1.0]))
    assert rule.judge(network(1), 0.0).validation_score == 7 / 8


def test_a_later_fit_goes_on_from_an_earlier_one():
    earlier = validation("nnyy", n_iter_no_change=1)
    for net in (network(3), network(0), network(0)):
        earlier.judge(net, 1.0)
    later = validation("nnyy", n_iter_no_change=1)
    later.go_on_from(earlier)
    assert later.judge(network(0), 1.0).validation_score < later.best_score == 1.0
    net = network(0)
    later.restore_best(net)
    assert net.weights[0].tolist() == [[0.0, 3.0]]

    losses = Stopping(tol=0.0, n_iter_no_change=2)
    assert plateaus(losses, [1.0, 2.0, 2.0]) == [False] * 3
    again = Stopping(tol=0.0, n_iter_no_change=2)
    again.go_on_from(losses)
    assert plateaus(again, [2.0]) == [True]
    # From a fit without held-out samples there are no weights to take over.
    fresh = validation("nnyy")
    fresh.go_on_from(losses)
    assert fresh.best == np.inf and fresh.best_params is None


def test_it_may_watch_the_loss_on_held_out_samples():
    rule = validation("nnyy", watch=VALIDATION_LOSS, tol=0.0, n_iter_no_change=1)
    nets = [network(slope) for slope in (0.5, 1.0, 3.0, 2.0)]  # the accuracy is 1 from the first on
    losses = [rule.judge(net, 1.0).validation_loss for net in nets]
    assert losses[0] > losses[1] > losses[3] > losses[2]
    net = network(0)
    rule.restore_best(net)
    assert net.params.tobytes() == nets[2].params.tobytes()
    assert rule.best == losses[2] and rule.best_score == 1.0


def test_held_out_samples_may_only_be_looked_at():
    """With `watch="loss"`, the rule watches the training loss, and keeps no weights."""
    rule = validation("nnyy", watch="loss", n_iter_no_change=1)
    verdicts = [rule.judge(network(slope), loss=1.0) for slope in (0, 1, 2)]
    assert [verdict.plateau for verdict in verdicts] == [False, False, True]
    assert [verdict.validation_score for verdict in verdicts] == [0.5, 1.0, 1.0]
    assert rule.best_params is None
