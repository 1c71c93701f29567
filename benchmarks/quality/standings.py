"""From the file of results to arrays: the means of each data set and entrant over splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quality import scores
from benchmarks.quality.measures import LOSSES


@dataclass(frozen=True)
class Standings:
    """What some entrants reached on some data sets. A row is a data set, a column an entrant; NaN: no result.

    Attributes
    ----------
    entrants, sets : list of str
        The names of columns and rows.
    tasks : list of str
        The task of each data set.
    rows, columns : list of int
        How many rows each data set has to train on, and how many columns.
    losses : ndarray
        The log-loss of a classification, the root mean squared error of a regression.
    values : dict
        Each other measure by its name, among them the times.
    """

    entrants: list[str]
    sets: list[str]
    tasks: list[str]
    rows: list[int]
    columns: list[int]
    losses: np.ndarray
    values: dict[str, np.ndarray]

    def of(self, tasks: Sequence[str]) -> Standings:
        """The data sets of some tasks."""
        return self.at([i for i, task in enumerate(self.tasks) if task in tasks])

    def at(self, places: Sequence[int]) -> Standings:
        """The data sets at some places."""
        kept = list(places)
        return Standings(
            entrants=self.entrants,
            sets=[self.sets[i] for i in kept],
            tasks=[self.tasks[i] for i in kept],
            rows=[self.rows[i] for i in kept],
            columns=[self.columns[i] for i in kept],
            losses=self.losses[kept],
            values={name: value[kept] for name, value in self.values.items()},
        )

    def complete(self) -> Standings:
        """The data sets on which all of the entrants have results."""
        return self.at(np.flatnonzero(scores.complete(self.losses)).tolist())

    def scale_free(self) -> np.ndarray:
        """Losses that can be averaged over data sets: a regression's are divided by the target's deviation."""
        is_number = np.array([task == "regression" for task in self.tasks], bool)[:, None]
        shares = np.sqrt(np.clip(1 - self.values["r2"], 0, None))
        return np.asarray(np.where(is_number, shares, self.losses))


MEASURES = ("log_loss", "rmse", "accuracy", "auc", "r2", "fit_seconds", "fit_cpu_seconds", "predict_seconds")


def standings(results: Iterable[dict[str, Any]], entrants: Sequence[str]) -> Standings:
    """The standings of some entrants.

    On each data set, the means are taken over the splits that each entrant with any result there has: nobody is
    compared on other rows than the others.

    Parameters
    ----------
    results : iterable of dict
        Lines of the file of results, one version of each entrant.
    entrants : sequence of str
        The entrants, in the order of the columns.
    """
    by_set: dict[str, dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        if result["entrant"] in entrants and "failed" not in result:
            by_set[result["data_set"]][result["entrant"]][result["split"]] = result
    sets, facts = [], []
    values: dict[str, list[list[float]]] = {name: [] for name in MEASURES}
    for name, of_set in by_set.items():
        common = set.intersection(*(set(splits) for splits in of_set.values()))
        if not common:
            continue
        sets.append(name)
        facts.append(next(iter(next(iter(of_set.values())).values())))
        for measure, lines in values.items():
            lines.append([_mean(of_set[entrant], common, measure) for entrant in entrants])
    arrays = {name: np.array(lines, np.float64).reshape(len(sets), len(entrants)) for name, lines in values.items()}
    is_number = np.array([LOSSES[fact["task"]] == "rmse" for fact in facts], bool)[:, None]
    losses = np.where(is_number, arrays["rmse"], arrays["log_loss"])
    tasks, rows, columns = ([fact[key] for fact in facts] for key in ("task", "rows", "columns"))
    return Standings(list(entrants), sets, tasks, rows, columns, losses, arrays)


def _mean(splits: dict[int, dict[str, Any]], common: set[int], measure: str) -> float:
    """An entrant's mean of a measure over splits; NaN if it has none of them."""
    found = [splits[seed].get(measure, np.nan) for seed in common if seed in splits]
    return float(np.mean(found)) if found else np.nan
