"""Two pictures of the standings: mean ranks with their intervals, and Elo ratings against the time to fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import scores
from benchmarks.quality.standings import Standings

_OURS, _OTHERS = "tab:red", "tab:blue"


def _color(entrant: str) -> str:
    return _OURS if entrant.startswith("fastnn") else _OTHERS


def _axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure that is drawn into a file only."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def ranks(whole: Standings, path: Path) -> None:
    """Draw the mean rank of each entrant, with the interval of the bootstrap over data sets."""
    part = whole.complete()
    mean = scores.ranks(part.losses).mean(axis=0)
    low, high = scores.interval(scores.bootstrap(part.losses, lambda drawn: scores.ranks(drawn).mean(axis=0)))
    figure, axes = _axes(7, 0.6 + 0.32 * len(mean))
    for place, j in enumerate(np.argsort(-mean)):
        axes.plot([low[j], high[j]], [place, place], color=_color(part.entrants[j]), linewidth=2)
        axes.plot(mean[j], place, "o", color=_color(part.entrants[j]))
    axes.set_yticks(range(len(mean)), [part.entrants[j] for j in np.argsort(-mean)])
    axes.set_xlabel(f"mean rank (data sets: {len(part.sets)}), and its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=150)


def times(whole: Standings, reference: str, path: Path) -> None:
    """Draw the Elo rating of each entrant against the median time to fit 1,000 rows. The reference has 1000."""
    part = whole.complete()
    anchor = part.entrants.index(reference) if reference in part.entrants else 0
    elo = scores.elo(part.losses, anchor)
    low, high = scores.interval(scores.bootstrap(part.losses, lambda drawn: scores.elo(drawn, anchor)))
    seconds = np.median(part.values["fit_seconds"] / (np.array(part.rows)[:, None] / 1000), axis=0)
    figure, axes = _axes(7.5, 5)
    for place, j in enumerate(np.argsort(seconds)):
        name = part.entrants[j]
        axes.plot([seconds[j], seconds[j]], [low[j], high[j]], color=_color(name), alpha=0.4, linewidth=2)
        axes.plot(seconds[j], elo[j], "o", color=_color(name))
        offset = 5, 4 if place % 2 else -11  # neighbours' names would cover each other
        axes.annotate(name, (seconds[j], elo[j]), offset, textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("seconds to fit 1,000 rows, median over data sets")
    axes.set_ylabel("Elo")
    axes.margins(x=0.2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
