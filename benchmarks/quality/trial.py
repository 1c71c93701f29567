"""One trial: an entrant learns from one split of one data set, and is measured on the rest."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quality.entrants.entrant import Conditions
from benchmarks.quality.entrants.registry import find
from benchmarks.quality.measures import measure
from benchmarks.quality.tables.loading import loaded
from benchmarks.quality.tables.sets import SETS
from benchmarks.quality.tables.splits import Rows, split


@dataclass(frozen=True)
class Trial:
    """What is tried: a data set's split, which an entrant learns with so many threads. The seed is the split's."""

    data_set: str
    entrant: str
    split: int
    threads: int


def run(trial: Trial) -> dict[str, Any]:
    """Fit, predict and measure.

    Returns
    -------
    dict
        The sizes, the measures, and the times. `fit_seconds` is the time from the frame to the model, with all of the
        entrant's preprocessing and its own hold-out. `fit_cpu_seconds` is the processors' time for the same.
    """
    data = loaded(SETS[trial.data_set])
    train, test = split(data, trial.split)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    predict = find(trial.entrant).fit(train, Conditions(trial.threads, trial.split))
    fit_seconds, fit_cpu_seconds = time.perf_counter() - wall, _cpu_seconds() - cpu
    wall = time.perf_counter()
    predicted = predict(test.X)
    predict_seconds = time.perf_counter() - wall
    return {
        "task": train.task,
        "seed": trial.split,
        "rows": len(train.y),
        "test_rows": len(test.y),
        "columns": train.X.shape[1],
        **{name: float(f"{value:.8g}") for name, value in measure(test.task, predicted, test.y).items()},
        "fit_seconds": round(fit_seconds, 5),
        "fit_cpu_seconds": round(fit_cpu_seconds, 3),
        "predict_seconds": round(predict_seconds, 5),
    }


def warm_up(trial: Trial) -> None:
    """Fit a small table of the same task, so that the time of a trial has no imports and no compiling in it."""
    import pandas as pd

    rng = np.random.default_rng(0)
    task, n = SETS[trial.data_set].task, 400
    X = pd.DataFrame({"number": rng.normal(size=n), "hole": rng.normal(size=n)})
    X.loc[::7, "hole"] = np.nan
    X["word"] = pd.Series(rng.choice(["a", "b", "c"], n)).astype("category")
    score = X["number"] + (X["word"] == "a")
    n_classes = {"binary": 2, "multiclass": 3, "regression": 0}[task]
    y = score.to_numpy() if not n_classes else np.arange(n) % n_classes
    find(trial.entrant).fit(Rows(task, n_classes, X, y), Conditions(trial.threads, 0))(X)


def _cpu_seconds() -> float:
    """The time that all processors have worked for this process and for those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
