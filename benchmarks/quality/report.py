"""The results as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality import results as lines
from benchmarks.quality import scores
from benchmarks.quality.entrants.registry import ENTRANTS
from benchmarks.quality.measures import LOSSES
from benchmarks.quality.standings import Standings, standings
from benchmarks.quality.tables.halves import HALVES

CLASSIFICATION = ("binary", "multiclass")
REGRESSION = ("regression",)
# Elo and relative losses refer to this entrant.
REFERENCE = "LightGBM"
# The measures whose means over data sets mean something, and their titles.
MEANS = {"accuracy": "accuracy", "auc": "AUC (two classes)", "r2": "R²"}


def report(all_results: Iterable[dict[str, Any]], half: str) -> str:
    """All tables of a half."""
    found = chosen(all_results, half)
    names = ranked_names(found)
    if not names:
        return f"There are no results of the {half} half yet.\n"
    whole = standings(found, names)
    parts = [f"The {half} half: {len(whole.sets)} of {len(HALVES[half])} data sets have results.\n"]
    parts += ["### All tasks\n", overview(whole), pairs(whole)]
    for title, tasks in (("Classification", CLASSIFICATION), ("Regression", REGRESSION)):
        part = whole.of(tasks)
        if part.sets:
            parts += [f"### {title}\n", overview(part), pairs(part), by_set(part)]
    slow = [name for name in found_names(found) if name not in names]
    for name in slow:
        part = standings([r for r in found if r["data_set"] in sets_of(found, name)], [*names, name])
        parts += [f"### Where {name} took part\n", overview(part), pairs(part, [name])]
    parts.append(failures(found))
    return "\n".join(part for part in parts if part)


def chosen(all_results: Iterable[dict[str, Any]], half: str) -> list[dict[str, Any]]:
    """The newest results on the data sets of a half."""
    return [result for result in lines.latest(all_results) if result["data_set"] in HALVES[half]]


def found_names(found: Sequence[dict[str, Any]]) -> list[str]:
    """The entrants with results: those that are known in their order, then others."""
    present = {result["entrant"] for result in found if "failed" not in result}
    return [*(name for name in ENTRANTS if name in present), *sorted(present - set(ENTRANTS))]


def ranked_names(found: Sequence[dict[str, Any]]) -> list[str]:
    """The entrants that are ranked on all data sets: not those that are too slow to run on all of them."""
    return [name for name in found_names(found) if name not in ENTRANTS or not ENTRANTS[name].slow]


def sets_of(found: Sequence[dict[str, Any]], entrant: str) -> set[str]:
    """The data sets on which an entrant has results."""
    return {result["data_set"] for result in found if result["entrant"] == entrant and "failed" not in result}


def overview(part: Standings) -> str:
    """The table of all entrants, by their scores over the data sets that all of them have results on."""
    part = part.complete()
    n = len(part.sets)
    if not n:
        return "No data set has results of all entrants.\n"
    reference = part.entrants.index(REFERENCE) if REFERENCE in part.entrants else 0
    alike = len({LOSSES[task] for task in part.tasks}) == 1
    measures = [name for name in MEANS if alike and np.isfinite(part.values[name]).any()]
    means = {name: _mean_of_rows(part.values[name]) for name in measures}
    elo = WithInterval.of(part.losses, lambda losses: scores.elo(losses, reference))
    good = WithInterval.of(part.losses, lambda losses: scores.normalised(losses).mean(axis=0))
    rank = scores.ranks(part.losses).mean(axis=0)
    relative = scores.relative_losses(part.scale_free(), reference)
    thousands = np.array(part.rows)[:, None] / 1000
    fit = np.median(part.values["fit_seconds"] / thousands, axis=0)
    predict = np.median(part.values["predict_seconds"] / thousands, axis=0)
    head = [
        f"data sets: {n}",
        "mean rank",
        "Elo",
        "normalised score",
        f"loss against {part.entrants[reference]}",
        *(MEANS[name] for name in measures),
        "fit, s per 1,000 rows",
        "predict, s per 1,000 rows",
    ]
    body = [
        [
            part.entrants[j],
            f"{rank[j]:.2f}",
            elo.text(j, "{:.0f}"),
            good.text(j, "{:.3f}"),
            f"{100 * relative[j]:+.1f} %",
            *(f"{means[name][j]:.4f}" for name in measures),
            f"{fit[j]:.3f}",
            f"{predict[j]:.4f}",
        ]
        for j in np.argsort(rank)
    ]
    return table(head, body)


def _mean_of_rows(values: np.ndarray) -> np.ndarray:
    """Each column's mean over the rows without NaN, of which there is one."""
    return np.asarray(values[np.isfinite(values).all(axis=1)].mean(axis=0))


def pairs(part: Standings, rivals: Sequence[str] = ()) -> str:
    """How fastnn's entrants compare with each other, and with all rivals or those named.

    Win rates and scores are of the data sets that the two have results on, Elo ratings of the games of all.
    """
    ours = [name for name in part.entrants if name.startswith("fastnn") or ":" in name]
    others = rivals or [name for name in part.entrants if name not in ours]
    compared = [(name, rival) for i, name in enumerate(ours) for rival in (*([] if rivals else ours[i + 1 :]), *others)]
    if not compared:
        return ""
    rates = WithInterval.of(part.losses, lambda losses: 100 * scores.win_rates(losses))
    elos = WithInterval.of(part.losses, _elo_differences)
    good = WithInterval.of(part.losses, scores.score_differences)
    body = []
    for name, rival in compared:
        place = part.entrants.index(name), part.entrants.index(rival)
        both = int(scores.complete(part.losses[:, place]).sum())
        cells = [rates.text(place, "{:.0f}", " %"), elos.text(place, "{:+.0f}"), good.text(place, "{:+.3f}")]
        body.append([f"{name} against {rival}", str(both), *(cells if both else ["", "", ""])])
    return table(["", "data sets", "win rate", "Elo difference", "difference of normalised scores"], body)


def _elo_differences(losses: np.ndarray) -> np.ndarray:
    elo = scores.elo(losses, anchor=0)
    return np.asarray(elo[:, None] - elo[None, :])


class WithInterval(NamedTuple):
    """Numbers, and the intervals that hold them in 95 % of the bootstraps over data sets."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, losses: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> WithInterval:
        """A statistic of losses."""
        return cls(statistic(losses), *scores.interval(scores.bootstrap(losses, statistic)))

    def text(self, place: int | tuple[int, int], pattern: str, unit: str = "") -> str:
        """One of the numbers."""
        numbers = (float(whole[place]) for whole in self)
        return f"{pattern}{unit} ({pattern} to {pattern})".format(*numbers)


def by_set(part: Standings) -> str:
    """The losses on each data set. The best stands out."""
    body = []
    for i, name in enumerate(part.sets):
        best = np.nanmin(part.losses[i])
        cells = [
            "" if np.isnan(loss) else f"**{loss:.4g}**" if loss == best else f"{loss:.4g}" for loss in part.losses[i]
        ]
        body.append([name, str(part.rows[i]), str(part.columns[i]), *cells])
    title = "RMSE" if set(part.tasks) == {"regression"} else "log-loss"
    return table([title, "rows", "columns", *part.entrants], body)


def failures(found: Sequence[dict[str, Any]]) -> str:
    """What has failed, as a list."""
    failed = [result for result in found if "failed" in result]
    if not failed:
        return ""
    items = [f"- {one['entrant']} on {one['data_set']}, split {one['split']}: {one['failed']}" for one in failed]
    return "\n".join(["These trials failed:\n", *items, ""])


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def insert(page: Path, half: str, text: str) -> None:
    """Replace what stands between the marks of a half in a page.

    Raises
    ------
    ValueError
        If the page doesn't have the marks.
    """
    begin, end = f"<!-- the {half} half -->", f"<!-- end of the {half} half -->"
    content = page.read_text()
    before, found, rest = content.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{page} has no place for the tables: the lines {begin} and {end}.")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
