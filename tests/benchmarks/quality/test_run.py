"""Trials: what is kept of them, and what a run that goes on does again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pandas")

from benchmarks.quality import results, run, trial
from benchmarks.quality.entrants import entrant
from benchmarks.quality.entrants.entrant import Conditions, Entrant
from benchmarks.quality.tables.splits import Rows
from benchmarks.quality.trial import Trial
from benchmarks.quality.worker import FailedError, Worker


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
    known = entrant._version
    monkeypatch.setattr(entrant, "_version", lambda name: f"{known(name)}.newer")
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
