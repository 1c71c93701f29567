"""The quality guards see a commit that no longer learns."""

from typing import Any

import pytest

import fastnn
from benchmarks import digits, moons, suite


@pytest.mark.parametrize("training", [moons.Training(), digits.Training()])
def test_guards_show_broken_learning(training: suite.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    (batch_size,) = training.situation.batch_sizes
    learnt = training.track_final_loss(batch_size), training.track_test_accuracy(batch_size)
    trained = fastnn.train

    def stand_still(*arguments: Any, step_size: float, **options: Any) -> fastnn.History:
        return trained(*arguments, step_size=step_size / 1e6, **options)

    monkeypatch.setattr(fastnn, "train", stand_still)
    broken = training.track_final_loss(batch_size), training.track_test_accuracy(batch_size)
    assert broken[0] > 1.5 * learnt[0]
    assert broken[1] < learnt[1] - 5
