"""What is called after each epoch: ours, any function's, and scikit-learn's."""

import csv
import json

import numpy as np
import pytest
from sklearn.datasets import load_iris
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
    with pytest.raises(ValueError, match=r"ends in \.csv or \.jsonl"):
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
    assert "epoch 8/8" in shown and "held-out accuracy" in shown


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


def test_scikit_learns_monitor_scores_each_epoch():
    monitor = sklearn_callback.ScoringMonitor(scoring="accuracy")
    clf = small().set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs() if hasattr(monitor, "get_logs") else monitor.logs_
    log = log[-1] if isinstance(log, list) else log
    scores = [row["accuracy"] for row in log.data if row["task_name"] == "epoch"]
    assert len(scores) == 8 and scores[-1] == clf.score(X, y)


def test_scikit_learns_progress_bar_and_any_of_its_protocol(capsys):
    class Stopping:
        epochs = 0

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                self.epochs += 1
                fitted_estimator.predict(X)
            return self.epochs == 4

    clf = small().set_callbacks(sklearn_callback.ProgressBar(), Stopping()).fit(X, y)
    assert clf.n_iter_ == 4
    model = make_pipeline(StandardScaler(), small()).set_callbacks(sklearn_callback.ProgressBar())
    assert model.fit(X, y).predict(X).shape == y.shape
    search = GridSearchCV(small(), {"alpha": [0.0, 0.1]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.3
