"""The Python in docs/estimators.md and docs/pipelines.md, and the commands in docs/pipelines.md, run as written."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from fastnn.cli import main

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks run in one namespace, one by one. Without PyTorch, arrays of the same shapes stand for its state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    text = (DOCS / "estimators.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 10
    has_torch = importlib.util.find_spec("torch") is not None
    random = np.random.default_rng(0)
    shapes = {"0.weight": (32, 64), "0.bias": (32,), "2.weight": (10, 32), "2.bias": (10,)}
    names: dict[str, Any] = {}
    for block in blocks:
        if "torch" in block and not has_torch:
            arrays = {name: random.normal(scale=0.1, size=shape).astype("float32") for name, shape in shapes.items()}
            names.setdefault("state", arrays)
        else:
            exec(compile(block, "docs/estimators.md", "exec"), names)
    # The outputs of PyTorch's layers, computed with NumPy.
    state, X = names["state"], names["X"]
    z = np.tanh(X @ state["0.weight"].T + state["0.bias"]) @ state["2.weight"].T + state["2.bias"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(names["net"].predict_proba(X), e / e.sum(axis=1, keepdims=True), atol=1e-6)
    assert all(np.array_equal(state[name], names["back"][name]) for name in shapes)
    files = {"epochs.csv", "ensemble.safetensors", "digits.onnx", "loss.png", "confusion.png", "calibration.png"}
    assert files <= {path.name for path in tmp_path.iterdir()}


def test_pipelines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A nightly job from its data to its scores, each command as in a shell."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DOCS.parent / "examples", tmp_path / "examples")
    names: dict[str, Any] = {}
    text = (DOCS / "pipelines.md").read_text()
    summaries = []
    for language, block in re.findall(r"```(bash|python|toml)\n(.*?)```", text, re.DOTALL):
        if language == "toml":
            (tmp_path / "columns.toml").write_text(block)
        if language == "python":
            exec(compile(block, "docs/pipelines.md", "exec"), names)
        if language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line)
                if program == "python":
                    monkeypatch.setattr("sys.argv", arguments)
                    exec(compile(Path(arguments[0]).read_text(), arguments[0], "exec"), {"__name__": "__main__"})
                else:
                    assert program == "fastnn" and main(arguments) == 0
                summaries.append(capsys.readouterr().out)
    new = pq.read_table("flights/new.parquet")
    scores = pq.read_table("scores.parquet")
    assert scores["id"].equals(new["id"])
    # scikit-learn's logistic regression on the same columns comes to 0.715.
    assert roc_auc_score(new["late"].to_numpy(), scores["probability_True"].to_numpy()) > 0.717
    assert "12 outputs done before" in summaries[4]
    np.testing.assert_allclose(names["frame"]["risk"].mean(), 0.27, atol=0.05)
    said = main(
        ["train", "flights/past", "--target", "late", "--model", "m", "--epochs", "1", "--columns", "columns.toml"]
    )
    assert said == 0
