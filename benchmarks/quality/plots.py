"""Two pictures of the standings: mean ranks with their intervals, and normalised scores against the time to fit."""

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
    axes.set_xlabel(f"mean rank on {len(part.sets)} data sets, 1 is the best; lines: 95 % of bootstraps over data sets")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=150)


def times(whole: Standings, path: Path) -> None:
    """Draw the mean normalised score of each entrant against the median time to fit 1,000 rows."""
    part = whole.complete()
    score = scores.normalised(part.losses)
    mean = score.mean(axis=0)
    low, high = scores.interval(scores.bootstrap(score, lambda drawn: drawn.mean(axis=0)))
    seconds = np.median(part.values["fit_seconds"] / (np.array(part.rows)[:, None] / 1000), axis=0)
    figure, axes = _axes(7, 4.5)
    for j, name in enumerate(part.entrants):
        axes.plot([seconds[j], seconds[j]], [low[j], high[j]], color=_color(name), alpha=0.4, linewidth=2)
        axes.plot(seconds[j], mean[j], "o", color=_color(name))
        axes.annotate(name, (seconds[j], mean[j]), (5, 4), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("seconds to fit 1,000 rows, median over data sets")
    axes.set_ylabel("mean normalised score")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
