"""The rivals do the work that they are timed for, and only those who do get a time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import child, common, contestants, peers

ROOT = Path(__file__).parents[2]


def task(solver: str) -> common.Task:
    """Three epochs over six batches, the last of them short."""
    situation = common.DIGITS._replace(rows=203, solver=solver, step_size=0.01, epochs=3)
    return common.task(situation, batch_size=40, threads=1, shuffle=False)


@pytest.fixture(autouse=True)
def no_crippled_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the variables with which NumPy's and scikit-learn's contestants refuse to run."""
    for variable in child.CRIPPLING_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("entrant", [peers.JAX, peers.TORCH, peers.TORCH_COMPILED], ids=lambda each: each.name)
def test_rivals_train_like_the_reference(entrant: peers.Entrant, solver: str) -> None:
    for package in entrant.packages:
        pytest.importorskip(package)
    # Each library runs in a process of its own, since it has its own OpenMP and its own warnings.
    player = peers.Player(entrant, threads=1)
    try:
        event = peers.Training(common.DIGITS._replace(rows=203, solver=solver, step_size=0.01, epochs=3), 40)
        answer = peers.Answer(*player.ask("prepare", event))
    finally:
        player.close()
    reference = event.answer(peers.float64(event.task(1)))
    verdict = event.judge(entrant, answer, reference)
    assert not verdict.reason
    # With one more epoch, the result is another one, and the check notices this.
    longer = event._replace(situation=event.situation._replace(epochs=4))
    assert event.judge(entrant, answer, longer.answer(peers.float64(longer.task(1)))).reason


def test_onnx_runtime_scores_like_the_reference() -> None:
    for package in peers.ONNX_RUNTIME.packages:
        pytest.importorskip(package)
    event = peers.Scoring(common.MNIST, 64)
    player = peers.Player(peers.ONNX_RUNTIME, threads=1)
    try:
        answer = peers.Answer(*player.ask("prepare", event))
    finally:
        player.close()
    verdict = event.judge(peers.ONNX_RUNTIME, answer, event.answer(peers.float64(event.task(1))))
    assert not verdict.reason and verdict.error is not None and verdict.error < 1e-6


class Lazy(contestants.NumPy):
    """A contestant that is fast because it leaves the last epoch out."""

    def __init__(self, task: common.Task) -> None:
        super().__init__(task._replace(epochs=task.epochs - 1))


class Unstable(contestants.NumPy):
    """A contestant that passes the check, and fails when it is timed."""

    def train(self) -> None:
        """Train in the first call, and fail in every later one."""
        if hasattr(self, "loss"):
            raise ArithmeticError("twice is too much\nand more")
        super().train()


class HereAndNow:
    """A `Player` without a process."""

    def __init__(self, entrant: peers.Entrant) -> None:
        self.entrant, self.seat = entrant, peers.Seat(entrant, threads=1)

    def ask(self, name: str, *arguments: Any) -> Any:
        """What the seat answers."""
        try:
            return getattr(self.seat, name)(*arguments)
        except ArithmeticError as error:
            raise peers.FailedError(str(error)) from error


def test_who_does_other_work_gets_no_time() -> None:
    event = peers.Training(common.DIGITS._replace(rows=203, epochs=2), 40)
    entrants = [
        peers.NUMPY,
        peers.Entrant("lazy", f"{__name__}:Lazy", ("numpy",)),
        peers.Entrant("unstable", f"{__name__}:Unstable", ("numpy",)),
    ]
    players: Any = [HereAndNow(entrant) for entrant in entrants]
    numpy, lazy, unstable = peers.race(event, players, event.answer(peers.float64(event.task(1))), rounds=1)
    assert numpy.best is not None and numpy.error is not None and numpy.error < 1e-5
    assert lazy.best is None and "are off by" in lazy.reason
    assert unstable.best is None and "twice is too much" in unstable.reason
    table = peers.Table(
        "training", "ms an epoch", 1e-3, ("NumPy", "lazy", "unstable"), [("a", [numpy, lazy, unstable])]
    )
    assert "lazy has no time: its probabilities are off by" in table.markdown()


def test_table_of_everybody(tmp_path: Path) -> None:
    stub = tmp_path / "stubs"
    stub.mkdir()
    (stub / "onnxruntime.py").write_text("raise ModuleNotFoundError('no onnxruntime here')\n")
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--rounds", "1", "--threads", "1"]
    done = subprocess.run(
        [*command, "--json", tmp_path / "table.json"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(stub)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "table.json").read_text())
    assert "no onnxruntime here" in report["left_out"]["ONNX Runtime"]
    assert "ONNX Runtime is left out: ModuleNotFoundError" in done.stdout
    assert {"machine", "threads", "versions", "date"} <= report["facts"].keys()
    for title, entrants in (("training", peers.TRAINERS), ("scoring", peers.SCORERS)):
        present = {each.name for each in entrants} - report["left_out"].keys()
        assert {"fastnn", "NumPy", "scikit-learn"} <= present
        for line in report["tables"][title]:
            results = {each["contestant"]: each for each in line["results"]}
            assert results.keys() == present
            for each in results.values():
                assert not each["reason"], each
                assert each["best_seconds"] > 0 and 0 <= each["error"] < 1e-4
        assert f"| {title}" in done.stdout
    assert not np.isnan(report["tables"]["training"][0]["results"][0]["median_seconds"])


def test_the_readme_gets_the_tables_in_short(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- the rivals -->\nold\n<!-- end of the rivals -->\nafter\n")
    results = [peers.Result("fastnn", 1e-7, samples=[0.002]), peers.Result("JAX", 1e-7, samples=[0.0052])]
    table = peers.Table("training", "ms an epoch", 1e-3, ("fastnn", "JAX"), [("moons by 200", results)])
    report = peers.Report({"machine": "a machine", "threads": "2, on as many", "date": "today"}, [table], {})
    for _ in range(2):
        report.into_readme(readme)
        lines = readme.read_text().splitlines()
        assert lines[0] == "before" and lines[-1] == "after"
        assert "| moons by 200 | 2                   | 2.6× |" in lines
        assert "a machine; 2 threads for everybody; today." in lines
        assert "old" not in lines
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="no marks"):
        report.into_readme(readme)
