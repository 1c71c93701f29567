"""How good predictions are: log-loss, the area under the ROC curve, accuracy; the root mean squared error and R²."""

from __future__ import annotations

import numpy as np

# A probability below this one counts as this one. float32 cannot tell a smaller distance from 1, so that entrants whose
# probabilities are float32 and those whose probabilities are float64 pay the same for being certain and wrong.
LEAST_PROBABILITY = 1e-7

# The measure by which entrants are compared, for each task. Less is better.
LOSSES = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


class PredictionError(ValueError):
    """Predictions have a wrong shape, or aren't finite."""


def measure(task: str, predicted: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The measures of predictions.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression"}
        What was predicted.
    predicted : ndarray
        Probabilities, shape (n, n_classes), or numbers, shape (n,).
    y : ndarray, shape (n,)
        The index of each row's class, or the row's number.

    Returns
    -------
    dict
        Each measure by its name.

    Raises
    ------
    PredictionError
        If the predictions can't be measured.
    """
    predicted = np.asarray(predicted, np.float64)
    if predicted.ndim != (1 if task == "regression" else 2) or len(predicted) != len(y):
        raise PredictionError(f"There are predictions of shape {predicted.shape} for {len(y)} rows.")
    if not np.isfinite(predicted).all():
        raise PredictionError("Some predictions aren't finite.")
    if task == "regression":
        return {"rmse": rmse(predicted, y), "r2": r2(predicted, y)}
    if predicted.shape[1] <= y.max() or predicted.min() < 0:
        raise PredictionError("The predictions aren't probabilities of all classes.")
    measures = {"log_loss": log_loss(predicted, y), "accuracy": float(np.mean(predicted.argmax(axis=1) == y))}
    if task == "binary":
        measures["auc"] = auc(predicted[:, 1], y)
    return measures


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """The mean of -log p of the true classes. Rows of `p` are scaled to a sum of 1."""
    p = np.clip(p, LEAST_PROBABILITY, None)
    p = p / p.sum(axis=1, keepdims=True)
    return float(-np.log(p[np.arange(len(y)), y]).mean())


def auc(score: np.ndarray, y: np.ndarray) -> float:
    """How often a row of class 1 has a higher score than one of class 0; an equal score is half a success."""
    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    positive = y == 1
    n_1, n_0 = int(positive.sum()), int((~positive).sum())
    return float((mean_ranks[places][positive].sum() - n_1 * (n_1 + 1) / 2) / (n_1 * n_0))


def rmse(predicted: np.ndarray, y: np.ndarray) -> float:
    """The root of the mean squared error."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def r2(predicted: np.ndarray, y: np.ndarray) -> float:
    """The share of the variance that the predictions explain."""
    return float(1 - np.mean((predicted - y) ** 2) / np.var(y))
