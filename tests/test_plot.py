"""Plots: files that are images, without pyplot and without leftovers."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from fastnn.plot import check_plotting, plot_confusion, plot_loss


@pytest.mark.parametrize("scores", [(), [0.5, 0.75, 0.8], [None, None, None]])
def test_loss(tmp_path, scores):
    plot_loss(tmp_path / "loss.png", [1.0, 0.5, 0.4], scores)
    picture = imread(tmp_path / "loss.png")
    assert picture.ndim == 3 and picture.std() > 0.05  # not blank
    plot_loss(tmp_path / "one.svg", [1.0])
    assert (tmp_path / "one.svg").read_bytes().startswith(b"<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.png", "one.svg"]


@pytest.mark.parametrize("n", [2, 10, 60])
def test_confusion(tmp_path, n):
    confusion = np.eye(n, dtype=np.int64) * 5
    confusion[0] = 0  # a class without rows
    plot_confusion(tmp_path / "c.png", confusion, [f"class {i}" for i in range(n)])
    assert imread(tmp_path / "c.png").std() > 0.02


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"ends in one of \."):
        check_plotting(tmp_path / "loss.docx")
    with pytest.raises(FileNotFoundError):
        check_plotting(tmp_path / "absent" / "loss.png")
    check_plotting(tmp_path / "loss.PNG")
    assert list(tmp_path.iterdir()) == []


def test_pyplot_is_left_alone(tmp_path):
    program = (
        "import sys; from fastnn.plot import plot_loss; plot_loss(sys.argv[1], [1.0, 0.5])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "loss.png"], check=True)


def test_without_matplotlib_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastnn-numba\[plot\]'"):
        plot_loss(tmp_path / "loss.png", [1.0])
