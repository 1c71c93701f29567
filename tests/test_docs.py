"""The Python in docs/estimators.md runs as written."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block in one namespace; without PyTorch its state is one of arrays of the same shapes."""
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
    # PyTorch's layers, by hand.
    state, X = names["state"], names["X"]
    z = np.tanh(X @ state["0.weight"].T + state["0.bias"]) @ state["2.weight"].T + state["2.bias"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(names["net"].predict_proba(X), e / e.sum(axis=1, keepdims=True), atol=1e-6)
    assert all(np.array_equal(state[name], names["back"][name]) for name in shapes)
    files = {"epochs.csv", "ensemble.safetensors", "digits.onnx", "loss.png", "confusion.png", "calibration.png"}
    assert files <= {path.name for path in tmp_path.iterdir()}
