"""What is measured in every situation: asv's benchmarks, written once. A situation's file only names its network.

asv takes no benchmark from an abstract class, so this file adds none by itself.

There is no `setup`: asv would run it before every call and time one call at a time. What a benchmark needs is built in
its first call, which falls into the warm-up. `version` is set by hand: otherwise it would be a hash of the source, and
an edited comment would end a curve. Change a version when a benchmark's meaning changes.

Times are measured on all threads, as users run fastnn. Tracked values are measured on one thread: with a thread on
every core, any other program slows fastnn down (two threads on two busy cores took a hundred times as long), and no
ratio repeats.
"""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from benchmarks import common, contestants, measure, peak

ALL_THREADS = common.processors()


class Base(ABC):
    """Attributes that asv reads, and compiled kernels."""

    version = "1"
    rounds = 1
    # The warm-up is much longer than making the data and loading the compiled code take (1.2 s), since asv chooses the
    # number of calls by the last call that began within the warm-up.
    warmup_time = 4.0
    timeout = 120.0

    def setup_cache(self) -> None:
        """Compile, once for each commit (asv runs this once, for all classes that inherit it)."""
        for threads in {1, ALL_THREADS}:
            ours = contestants.Fastnn(common.task(common.MNIST, 256, threads)._replace(epochs=1))
            ours.train()
            ours.predict_proba(ours.task.X)

    setup_cache.timeout = 300

    @property
    @abstractmethod
    def situation(self) -> common.Situation:
        """The network and its data."""


class Training(Base):
    """Epochs in steady state, and what was learnt."""

    param_names: ClassVar = ["batch_size"]
    params: ClassVar[list[Any]]

    def __init_subclass__(cls) -> None:
        """Set what depends on the situation."""
        situation: Any = cls.situation
        cls.params = [situation.batch_sizes]
        # A call trains several epochs: this clock makes asv's figure the seconds of one.
        cls.timer = staticmethod(lambda: time.perf_counter() / situation.epochs)

    def time_epoch(self, batch_size: int) -> None:
        """One epoch, all threads."""
        trainer(contestants.Fastnn, self.situation, batch_size, ALL_THREADS).call()

    def track_share_of_peak(self, batch_size: int) -> float:
        """The matrix products' share of one core's peak."""
        return 100 * measure.share(trainer(contestants.Fastnn, self.situation, batch_size, 1), peak.peak())

    track_share_of_peak.unit = "% of FMA peak"

    def track_time_over_numpy(self, batch_size: int) -> float:
        """Our time for an epoch over that of the article's loop in NumPy; one thread each."""
        return self._ratio(contestants.NumPy, batch_size)

    track_time_over_numpy.unit = "x NumPy's time"

    def track_time_over_sklearn(self, batch_size: int) -> float:
        """Our time for an epoch over that of MLPClassifier; one thread each."""
        return self._ratio(contestants.ScikitLearn, batch_size)

    track_time_over_sklearn.unit = "x scikit-learn's time"

    def _ratio(self, rival: Any, batch_size: int) -> float:
        ours, theirs = (trainer(each, self.situation, batch_size, 1) for each in (contestants.Fastnn, rival))
        return measure.ratio(ours, theirs)

    def track_final_loss(self, batch_size: int) -> float:
        """The loss on the training set after some epochs at seed 0, by NumPy from the probabilities."""
        data = common.load(self.situation.name)
        return contestants.cross_entropy(_learnt(self.situation, batch_size).predict_proba(data.X), data.y)

    track_final_loss.unit = "nats"

    def track_test_accuracy(self, batch_size: int) -> float:
        """The share of the test set that is classified rightly after some epochs at seed 0."""
        data = common.load(self.situation.name)
        predicted = _learnt(self.situation, batch_size).predict_proba(data.X_test).argmax(axis=1)
        return 100 * float((predicted == data.y_test).mean())

    track_test_accuracy.unit = "% correct"


class Scoring(Base):
    """Class probabilities of 1 to 20,000 rows."""

    param_names: ClassVar = ["rows"]
    params: ClassVar = [common.SCORED_ROWS]

    def time_predict_proba(self, rows: int) -> None:
        """The probabilities of so many rows, all threads."""
        scorer(contestants.Fastnn, self.situation, rows, ALL_THREADS).call()

    def track_time_over_sklearn(self, rows: int) -> float:
        """Our time over that of MLPClassifier's `predict_proba`; one thread each."""
        ours, theirs = (scorer(each, self.situation, rows, 1) for each in (contestants.Fastnn, contestants.ScikitLearn))
        return measure.ratio(ours, theirs, seconds=1.0)

    track_time_over_sklearn.unit = "x scikit-learn's time"


@functools.cache
def trainer(contestant: Any, situation: common.Situation, batch_size: int, threads: int) -> measure.Work:
    """A contestant's training of a situation."""
    trainee = contestant(common.task(situation, batch_size, threads))
    return measure.Work(trainee.train, situation.operations() * situation.epochs, situation.epochs)


@functools.cache
def scorer(contestant: Any, situation: common.Situation, rows: int, threads: int) -> measure.Work:
    """A contestant's scoring of so many rows."""
    made = contestant(common.task(situation, situation.batch_sizes[0], threads))
    X, _ = common.load(situation.name).rows(rows)
    return measure.Work(functools.partial(made.predict_proba, X))


def _learnt(situation: common.Situation, batch_size: int) -> contestants.Fastnn:
    data = common.load(situation.name)
    task = common.task(situation, batch_size, ALL_THREADS)
    ours = contestants.Fastnn(task._replace(X=data.X, y=data.y, epochs=situation.guard_epochs))
    ours.train()
    return ours
