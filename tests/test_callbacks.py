"""Callbacks: fastnn's own, any function, and scikit-learn's."""

import csv
import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import MLPClassifier, MLPRegressor, Network, train
from fastnn.callbacks import Epoch, EpochLog, ProgressBar, StopWhen, called

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

X, y = load_iris(return_X_y=True)


def small(**options):
    return MLPClassifier(**{"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0, **options})


def test_any_function_is_called_with_each_epoch():
    seen = []
    history = train(Network.create([4, 5, 3]), X, y, epochs=7, callbacks=[seen.append])
    assert [epoch.number for epoch in seen] == [*range(1, 8)]
    assert [epoch.loss for epoch in seen] == history.loss_curve
    plain = train(Network.create([4, 5, 3]), X, y, epochs=7)
    assert plain == history
    for estimator in (small(early_stopping=True), MLPRegressor((5,), max_iter=8, early_stopping=True)):
        seen.clear()
        estimator.fit(X, y, callbacks=[seen.append])
        assert [epoch.loss for epoch in seen] == estimator.loss_curve_
        assert [epoch.validation_loss for epoch in seen] == estimator.validation_loss_curve_
        assert [epoch.validation_score for epoch in seen] == estimator.validation_scores_


def test_the_network_has_the_weights_of_the_epoch():
    net, seen = Network.create([4, 5, 3]), []
    train(net, X, y, epochs=4, callbacks=[lambda epoch: seen.append(net.params.copy())])
    for n_epochs, params in enumerate(seen, start=1):
        other = Network.create([4, 5, 3])
        train(other, X, y, epochs=n_epochs)
        np.testing.assert_array_equal(params, other.params)


def test_a_condition_stops_training():
    condition = StopWhen(lambda epoch: epoch.number == 3)
    assert len(train(Network.create([4, 5, 3]), X, y, epochs=9, callbacks=[condition]).loss_curve) == 3
    others = []
    clf = small().fit(X, y, callbacks=[condition, others.append])
    assert clf.n_iter_ == 3 == len(others)
    assert clf.network_.params.tobytes() == small(max_iter=3).fit(X, y).network_.params.tobytes()


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_log_has_a_line_for_each_epoch(tmp_path, ending):
    path = tmp_path / f"log.{ending}"
    clf = small(early_stopping=True)
    for _ in range(2):  # the second one begins anew
        clf.fit(X, y, callbacks=[EpochLog(path)])
    with path.open() as file:
        lines = [*csv.DictReader(file)] if ending == "csv" else [json.loads(line) for line in file]
    assert [int(line["number"]) for line in lines] == [*range(1, 9)]
    assert [float(line["loss"]) for line in lines] == clf.loss_curve_
    assert [float(line["validation_loss"]) for line in lines] == clf.validation_loss_curve_
    seconds = [float(line["seconds"]) for line in lines]
    assert seconds == sorted(seconds)
    with pytest.raises(ValueError, match=r"must end in \.csv or \.jsonl"):
        EpochLog(tmp_path / "log.txt")


def test_a_log_of_a_resumed_training_is_whole(tmp_path):
    for epochs in (3, 8):
        train(
            Network.create([4, 5, 3]),
            X,
            y,
            epochs=epochs,
            callbacks=[EpochLog(tmp_path / "log.jsonl")],
            checkpoint=tmp_path / "c",
        )
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8


def test_progress_in_a_log_is_some_lines(capsys):
    train(Network.create([4, 5, 3]), X, y, epochs=100, callbacks=[ProgressBar()])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21 and lines[0].startswith("epoch 1/100  loss ") and lines[-1].startswith("epoch 100/100")


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    small(early_stopping=True).fit(X, y, callbacks=[ProgressBar()])
    shown = capsys.readouterr().err
    assert "epoch 8/8" in shown and "held-out score" in shown


def test_what_has_begun_is_ended_whatever_happens():
    events = []

    class Noting:
        def begin(self, n_epochs):
            events.append(n_epochs)

        def __call__(self, epoch):
            raise ZeroDivisionError

        def end(self):
            events.append("end")

    with pytest.raises(ZeroDivisionError), called([Noting(), Noting()], 5) as call:
        call(Epoch(1, 0.5))
    assert events == [5, 5, "end", "end"]


# scikit-learn's

sklearn_callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")


def epochs_in(monitor):
    """The rows about epochs in the log of the last run."""
    return [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]


def regressor(**options):
    return MLPRegressor(**{"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0, **options})


@pytest.mark.parametrize(
    ("estimator", "targets", "scoring"),
    [(small(), y, "accuracy"), (small(), y, "neg_log_loss"), (regressor(), X[:, 0], "r2")],
    ids=["accuracy", "log loss", "regression"],
)
@pytest.mark.parametrize("weight", [None, np.arange(150.0)], ids=["plain", "weighted"])
def test_scikit_learns_monitor_scores_each_epoch(estimator, targets, scoring, weight):
    """Each score is that of a fit which ends with that epoch and has the same weights."""
    monitor = sklearn_callback.ScoringMonitor(scoring=scoring)
    fitted = clone(estimator).set_callbacks(monitor).fit(X, targets, weight)
    score = get_scorer(scoring)
    weights = {} if weight is None else {"sample_weight": weight}
    expected = [
        score(clone(estimator).set_params(max_iter=n).fit(X, targets, weight), X, targets, **weights)
        for n in range(1, 9)
    ]
    assert [row[scoring] for row in epochs_in(monitor)] == expected
    # The whole fit is a task, too.
    (whole,) = (row for row in monitor.get_logs().data if row["task_name"] == "fit")
    assert whole[scoring] == score(fitted, X, targets, **weights)


def test_scikit_learns_monitor_sees_the_best_weights_at_the_end():
    monitor = sklearn_callback.ScoringMonitor(scoring="neg_log_loss")
    clf = small(early_stopping=True, learning_rate_init=2.0, max_iter=40, n_iter_no_change=5).set_callbacks(monitor)
    clf.fit(X, y, X_val=X[::2], y_val=y[::2])
    whole, *epochs = [row["neg_log_loss"] for row in monitor.get_logs().data]
    assert len(epochs) == clf.n_iter_
    assert whole == get_scorer("neg_log_loss")(clf, X, y) == epochs[np.argmin(clf.validation_loss_curve_)] != epochs[-1]


def test_scikit_learns_monitor_in_a_pipeline_and_in_workers():
    """The scores are of the scaled rows that the last step sees; a grid search collects them from its processes."""
    monitor = sklearn_callback.ScoringMonitor(scoring="accuracy")
    scaled = StandardScaler().fit_transform(X)
    make_pipeline(StandardScaler(), small().set_callbacks(monitor)).fit(X, y)
    expected = [small(max_iter=n).fit(scaled, y).score(scaled, y) for n in range(1, 9)]
    assert [row["accuracy"] for row in epochs_in(monitor)] == expected

    monitor = sklearn_callback.ScoringMonitor(scoring="accuracy")
    search = GridSearchCV(small().set_callbacks(monitor), {"max_iter": [3, 5]}, cv=2, n_jobs=2)
    search.fit(X, y)
    rows = [row for run in monitor.get_logs(select="all") for row in run.data if row["task_name"] == "epoch"]
    refit = [row["accuracy"] for row in rows if len(row["parent_task_id_path"]) == 2]  # the folds lie deeper
    assert len(rows) - len(refit) == 2 * (3 + 5)
    assert len(refit) == search.best_params_["max_iter"] and refit[-1] == search.score(X, y)


def test_scikit_learns_progress_bars_are_full_at_the_end(capsys):
    """Also when training stops early, and within a pipeline and a search."""
    bar = sklearn_callback.ProgressBar(max_propagation_depth=None)
    stopping = {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 50}
    for model, name in (
        (small(), "MLPClassifier - fit"),
        (regressor(**stopping), "MLPRegressor - fit"),
        (make_pipeline(StandardScaler(), small(**stopping)), "Pipeline - fit"),
        (GridSearchCV(small(**stopping), {"alpha": [0.0, 0.1]}, cv=2), "GridSearchCV"),
    ):
        model.set_callbacks(bar).fit(X, y)
        lines = [line for line in capsys.readouterr().out.splitlines() if "%" in line]
        assert any(name in line for line in lines)
        assert all("100%" in line for line in lines), lines
    assert sum("MLPClassifier - fit" in line for line in lines) == 5  # a search of four fits, and the last fit


def test_any_callback_of_scikit_learns_protocol_may_keep_estimators_and_stop():
    class Keeping:
        def __init__(self):
            self.kept, self.ended = [], []

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context):
            self.ended.append(context.task_name)

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            self.ended.append(context.task_name)
            self.kept.append(fitted_estimator)
            return len(self.kept) == 4

    keeping = Keeping()
    clf = small().set_callbacks(keeping).fit(X, y)
    assert clf.n_iter_ == 4 and keeping.ended == ["epoch"] * 4 + ["fit"] * 2
    for n_epochs, kept in enumerate(keeping.kept[:4], start=1):
        assert kept.predict_proba(X).tobytes() == small(max_iter=n_epochs).fit(X, y).predict_proba(X).tobytes()
    clf.set_callbacks().fit(X, y)
    assert clf.n_iter_ == 8 and len(keeping.kept) == 5
