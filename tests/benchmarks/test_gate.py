"""The gate finds a slower tree and leaves an equal one alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gate, instructions

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("change", "noise", "grown", "worse"),
    [
        (0.15, 0.03, None, True),
        (0.15, 0.20, None, False),  # lost in the noise
        (0.04, 0.00, None, False),  # too little to be believed
        (-0.30, 0.03, None, False),
        (0.00, 0.03, 0.02, True),  # the clock saw nothing
        (0.00, 0.03, 0.005, False),
        (-0.15, 0.03, 0.02, False),  # more instructions, but faster ones
        (-0.15, 0.20, 0.02, True),
    ],
)
def test_verdict(change: float, noise: float, grown: float | None, worse: bool) -> None:
    assert gate.Verdict("work", change, noise, grown).worse is worse


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    """The package as it is, and one whose scoring does everything twice."""
    for name in ("base", "tree"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "fastnn", tmp_path / name / "fastnn", ignore=ignore)
    slowed = tmp_path / "tree" / "fastnn" / "network" / "network.py"
    slowed.write_text(
        slowed.read_text()
        + "\n_once = Network.predict_proba\n"
        + "Network.predict_proba = lambda net, X, **how: (_once(net, X, **how), _once(net, X, **how))[1]\n"
    )
    return tmp_path / "base", tmp_path / "tree"


def test_names_what_got_slower(packages: tuple[Path, Path]) -> None:
    verdicts, missing = gate.gate(*packages, ["score digits 64", "kernel tanh"], rounds=3)
    assert not missing
    scoring, tanh = verdicts
    assert scoring.worse and 0.5 < scoring.change < 2
    assert not tanh.worse
    if instructions.available():
        assert scoring.instructions == pytest.approx(0.9, abs=0.2)  # what comes before scoring is done once
        assert tanh.instructions == pytest.approx(0, abs=0.005)


def test_names_what_the_base_does_not_have(packages: tuple[Path, Path]) -> None:
    base, tree = packages
    kernels = base / "fastnn" / "kernels" / "__init__.py"
    kernels.write_text(kernels.read_text() + "\n__all__.remove('tanh')\n")
    verdicts, missing = gate.gate(base, tree, ["kernel tanh"], rounds=1)
    assert not verdicts
    assert "base: AttributeError" in missing["kernel tanh"]


def test_exits_with_1_for_what_the_tree_broke(
    packages: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tree = packages
    kernels = tree / "fastnn" / "kernels" / "__init__.py"
    kernels.write_text(kernels.read_text() + "\n__all__.remove('bias_gradient')\n")
    monkeypatch.setattr(gate, "TREE", tree / "fastnn")
    monkeypatch.setattr(gate, "_export", lambda commit, folder: base)
    monkeypatch.setattr(gate.works, "names", lambda: ["kernel bias_gradient", "kernel tanh"])
    monkeypatch.setattr(gate.instructions, "available", lambda: False)
    assert gate.main(["base", "--rounds", "1"]) == 1
    assert "worse than base: kernel bias_gradient" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["no-such-commit"], "no fastnn in 'no-such-commit'"), (["HEAD", "--only", "nothing"], "kernel linear")],
)
def test_wrong_usage_is_not_a_regression(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "benchmarks.gate", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert said in done.stderr
