"""Plots of losses and of confusion tables, and scikit-learn's displays, which work with fastnn's estimators.

All of them need matplotlib. `plot_loss` and `plot_confusion` write files; they need neither a display nor the state of
pyplot. The displays follow scikit-learn's conventions: ``from_estimator``, ``plot(ax=)``, ``ax_``, ``figure_``.
`LossCurveDisplay` is fastnn's; `ConfusionMatrixDisplay`, `CalibrationDisplay` and `DecisionBoundaryDisplay` are
scikit-learn's own.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import missing_package
from fastnn.files.atomic import check_replaceable, replacing


def check_plotting(path: str | os.PathLike[str]) -> None:
    """Raise the error that `plot_loss` or `plot_confusion` would raise for `path`, before any work is done.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib isn't installed; the message names the install command.
    ValueError
        If the ending of the name isn't that of an image format.
    """
    formats = _figure()[0].canvas.get_supported_filetypes()
    if _format(path) not in formats:
        raise ValueError(f"{path}: the name of a plot must end in one of .{', .'.join(sorted(formats))}.")
    check_replaceable(path)


def plot_loss(path: str | os.PathLike[str], losses: Sequence[float], scores: Sequence[float | None] = ()) -> None:
    """Draw the training loss of each epoch, and the held-out accuracy if there are held-out samples.

    Parameters
    ----------
    path : str or path-like
        An image file; its ending decides the format.
    losses : sequence of float
        The mean loss of each epoch, in nats.
    scores : sequence of float, optional
        The held-out accuracy of each epoch.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib isn't installed.
    OSError
        If the file can't be written.
    """
    figure, axes = _figure()
    numbers = range(1, len(losses) + 1)
    (line,) = axes.plot(numbers, losses, color="tab:blue", marker="." if len(losses) < 30 else None)
    axes.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    if scores and None not in scores:
        right = axes.twinx()
        (accuracy,) = right.plot(numbers, scores, color="tab:orange")
        right.set(ylabel="held-out accuracy")
        axes.legend([line, accuracy], ["training loss", "held-out accuracy"], loc="center right")
    axes.grid(alpha=0.3)
    _write(path, figure)


def plot_confusion(path: str | os.PathLike[str], confusion: np.ndarray, classes: Sequence[Any]) -> None:
    """Draw a confusion table, with a row for each true class. A cell is shaded by its share of the row.

    Parameters
    ----------
    path : str or path-like
        As for `plot_loss`.
    confusion : ndarray of int, shape (n_classes, n_classes)
        ``confusion[i, j]`` is the number of samples of class i that were predicted as class j.
    classes : sequence
        The label of each class.

    Raises
    ------
    ModuleNotFoundError, OSError
        As from `plot_loss`.
    """
    n = len(classes)
    figure, axes = _figure(side=max(4.0, min(20.0, 1.5 + 0.5 * n)))
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, fraction=0.046, label="share of the true class")
    labels = [str(label) for label in classes]
    axes.set_xticks(range(n), labels, rotation=90 if max(map(len, labels)) > 3 else 0)
    axes.set_yticks(range(n), labels)
    axes.set(xlabel="predicted class", ylabel="true class")
    # With more than 40 classes the numbers are too small to read, and take minutes to draw.
    if n <= 40:
        for i, j in np.argwhere(confusion):
            color = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(confusion[i, j]), ha="center", va="center", color=color, fontsize=8)
    _write(path, figure)


def plot_predictions(path: str | os.PathLike[str], sample: np.ndarray, names: Sequence[str]) -> None:
    """Draw a regression's predictions against the true values, with a field for each target.

    Parameters
    ----------
    path : str or path-like
        As for `plot_loss`.
    sample : ndarray of float, shape (n_targets, 2, n)
        The true values and the predictions.
    names : sequence of str
        The targets' names.

    Raises
    ------
    ModuleNotFoundError, OSError
        As from `plot_loss`.
    """
    figure, first = _figure(side=5.0)
    first.remove()
    for number, ((true, found), name) in enumerate(zip(sample, names, strict=True), start=1):
        axes = figure.add_subplot(1, len(names), number)
        low, high = float(np.min([true, found])), float(np.max([true, found]))
        axes.plot([low, high], [low, high], color="black", linewidth=0.8)
        axes.plot(true, found, ".", color="tab:blue", markersize=3, alpha=0.4)
        axes.set(xlabel=f"{name}, true", ylabel=f"{name}, predicted")
        axes.grid(alpha=0.3)
    _write(path, figure)


class LossCurveDisplay:
    """A plot of the losses of each epoch, and of the validation score on an axis of its own.

    Parameters
    ----------
    loss_curve : sequence of float
        The mean training loss of each epoch.
    validation_loss_curve : sequence of float, optional
        The mean loss of the held-out samples after each epoch.
    validation_scores : sequence of float, optional
        The score of the held-out samples after each epoch.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    lines_ : list of matplotlib.lines.Line2D

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn import MLPClassifier
    >>> from fastnn.plot import LossCurveDisplay
    >>> clf = MLPClassifier(early_stopping=True, max_iter=50, random_state=0).fit(*load_iris(return_X_y=True))
    >>> LossCurveDisplay.from_estimator(clf)
    <fastnn.plot.LossCurveDisplay ...>
    """

    def __init__(
        self,
        loss_curve: Sequence[float],
        validation_loss_curve: Sequence[float] | None = None,
        validation_scores: Sequence[float] | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> LossCurveDisplay:
        """Plot the curves of a fitted estimator.

        Parameters
        ----------
        estimator : object
            An estimator of fastnn's or scikit-learn's that has a ``loss_curve_``.
        ax : matplotlib.axes.Axes, optional
            The axes to draw on; by default those of a new figure of pyplot's.

        Returns
        -------
        LossCurveDisplay
        """
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(f"{type(estimator).__name__} has no loss_curve_: fit it first.")
        curves = (getattr(estimator, name, None) for name in ("validation_loss_curve_", "validation_scores_"))
        return cls(estimator.loss_curve_, *curves).plot(ax)

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw on; by default those of a new figure of pyplot's.

        Returns
        -------
        self
        """
        if ax is None:
            _matplotlib()
            from matplotlib import pyplot

            _, ax = pyplot.subplots()
        numbers = range(1, len(self.loss_curve) + 1)
        self.lines_ = ax.plot(numbers, self.loss_curve, label="training loss")
        if self.validation_loss_curve:
            self.lines_ += ax.plot(numbers, self.validation_loss_curve, label="validation loss")
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if self.validation_scores:
            right = ax.twinx()
            self.lines_ += right.plot(numbers, self.validation_scores, color="tab:green", label="validation score")
            right.set(ylabel="validation score")
        if len(self.lines_) > 1:
            ax.legend(self.lines_, [line.get_label() for line in self.lines_])
        self.ax_, self.figure_ = ax, ax.figure
        return self


_FROM_SCIKIT_LEARN = {
    "ConfusionMatrixDisplay": "sklearn.metrics",
    "CalibrationDisplay": "sklearn.calibration",
    "DecisionBoundaryDisplay": "sklearn.inspection",
}


def __getattr__(name: str) -> Any:
    # scikit-learn takes long to import, and the command line's plots don't need it.
    if name in _FROM_SCIKIT_LEARN:
        _matplotlib()
        return getattr(importlib.import_module(_FROM_SCIKIT_LEARN[name]), name)
    raise AttributeError(f"module 'fastnn.plot' has no attribute {name!r}")


def _figure(side: float | None = None) -> tuple[Any, Any]:
    """A new figure and its axes. Pyplot doesn't know of them, since it would keep them and choose a window system."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0) if side is None else (side, side), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("Plots", "matplotlib", "plot") from error


def _format(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.removeprefix(".").lower()


def _write(path: str | os.PathLike[str], figure: Any) -> None:
    with replacing(path) as file:
        figure.savefig(file, format=_format(path), dpi=150)
