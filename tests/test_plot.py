"""Plots: their files are images, pyplot isn't used, and no temporary file is left."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier as Sklearns

import fastnn
from fastnn import MLPClassifier
from fastnn.plot import LossCurveDisplay, check_plotting, plot_confusion, plot_loss

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


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
    with pytest.raises(ValueError, match=r"must end in one of \."):
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


# Displays


@pytest.fixture(scope="module")
def fitted():
    X, y = load_iris(return_X_y=True)
    return MLPClassifier((5,), max_iter=6, early_stopping=True, random_state=0).fit(X[:, :2], y), X[:, :2], y


@pytest.fixture
def axes():
    matplotlib.use("agg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    yield axes
    pyplot.close("all")


def test_loss_curves_of_any_estimator_that_has_them(fitted, axes):
    clf, X, y = fitted
    display = LossCurveDisplay.from_estimator(clf, ax=axes)
    assert display.ax_ is axes and display.figure_ is axes.figure
    found = [line.get_ydata().tolist() for line in display.lines_]
    assert found == [clf.loss_curve_, clf.validation_loss_curve_, clf.validation_scores_]
    theirs = LossCurveDisplay.from_estimator(Sklearns((3,), max_iter=3).fit(X, y))
    assert len(theirs.lines_) == 1 and theirs.ax_ is not axes
    with pytest.raises(ValueError, match="has no loss_curve_: fit it first"):
        LossCurveDisplay.from_estimator(MLPClassifier())


def test_scikit_learns_displays_draw_ours(fitted, axes):
    clf, X, y = fitted
    confusion = fastnn.plot.ConfusionMatrixDisplay.from_estimator(clf, X, y, ax=axes)
    assert confusion.confusion_matrix.sum() == len(y)
    fastnn.plot.DecisionBoundaryDisplay.from_estimator(clf, X, ax=axes, response_method="predict")
    two = y > 0
    binary = MLPClassifier((5,), max_iter=50, tol=0.1, random_state=0).fit(X, two)
    assert fastnn.plot.CalibrationDisplay.from_estimator(binary, X, two, n_bins=3, ax=axes).prob_true.size
    with pytest.raises(AttributeError, match="no attribute 'RocDisplay'"):
        fastnn.plot.RocDisplay  # noqa: B018
