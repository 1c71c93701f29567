"""``python -m benchmarks.quality``: runs the trials that are missing, and prints the tables of all results.

A run that is killed goes on where it was when the same command is given again. ``--only-report`` runs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.quality import plots, report, results, scores
from benchmarks.quality.entrants.registry import ENTRANTS, find
from benchmarks.quality.run import LIMIT_SECONDS, run_all, trials
from benchmarks.quality.standings import standings
from benchmarks.quality.tables.halves import HALVES
from benchmarks.quality.tables.loading import is_installed
from benchmarks.quality.tables.sets import SETS
from benchmarks.quality.tables.splits import SPLITS

# A load above this one disturbs measurements of time.
BUSY = 0.5
RESULTS = Path(__file__).parent.parent / "results" / "quality.jsonl"


def listed(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--half", choices=list(HALVES), default="choosing", help="which data sets (default: choosing)")
    parser.add_argument("--sets", type=listed, help="only these data sets, by name with commas between them")
    parser.add_argument("--entrants", type=listed, help="only these entrants, or an entrant of one's own: module:name")
    parser.add_argument("--splits", type=int, default=SPLITS, help=f"how many splits (default: {SPLITS})")
    parser.add_argument("--threads", type=int, default=common.processors(), help="threads of each entrant")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="the most seconds of a trial")
    parser.add_argument("--retry", action="store_true", help="run trials again that failed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of results, which is appended to")
    parser.add_argument("--only-report", action="store_true", help="run nothing")
    parser.add_argument(
        "--page", type=Path, help="write the tables into this page of Markdown, between the half's marks"
    )
    parser.add_argument("--plots", type=Path, help="draw the ranks and the times into this folder")
    options = parser.parse_args(arguments)
    known = HALVES[options.half]
    for name in options.sets or ():
        if name not in known:
            where = "in the other half" if name in SETS else "no data set"
            parser.error(f"{name!r} is {where}. The {options.half} half has {', '.join(known)}.")
    try:
        for name in options.entrants or ():
            find(name)
    except (KeyError, ImportError, AttributeError) as error:
        parser.error(str(error.args[0] if isinstance(error, KeyError) else error))
    return options


def entrants(asked: list[str] | None) -> list[str]:
    """Who takes part: those who were asked for, or all that are quick, as far as what they need is installed."""
    wanted = asked or [name for name, one in ENTRANTS.items() if not one.slow]
    present = []
    for name in wanted:
        missing = find(name).missing()
        if missing:
            print(f"{name} takes no part: {', '.join(missing)} isn't installed.", file=sys.stderr)
        else:
            present.append(name)
    return present


def present_sets(asked: Sequence[str]) -> list[str]:
    """The data sets whose packages are installed."""
    missing = sorted({SETS[name].package for name in asked if not is_installed(SETS[name])})
    if missing:
        print(
            f"Data sets are left out, since {', '.join(missing)} isn't installed (see docs/quality.md).",
            file=sys.stderr,
        )
    return [name for name in asked if SETS[name].package not in missing]


def main(arguments: list[str] | None = None) -> None:
    """Run and report."""
    options = parse(arguments)
    if not options.only_report:
        if hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY:
            print("Something else is running on this machine: the times will mean little.", file=sys.stderr)
        names = present_sets(options.sets or HALVES[options.half])
        wanted = trials(names, entrants(options.entrants), range(options.splits), options.threads)
        run_all(wanted, options.results, options.limit, options.retry)
    found = results.read(options.results)
    text = report.report(found, options.half)
    if options.page is None:
        print(text)
    else:
        report.insert(options.page, options.half, text)
    if options.plots is not None:
        draw(found, options.half, options.plots)


def draw(found: list[dict[str, Any]], half: str, folder: Path) -> None:
    """Draw the ranks and the times of classifications and of regressions."""
    of_half = report.chosen(found, half)
    whole = standings(of_half, report.ranked_names(of_half))
    folder.mkdir(parents=True, exist_ok=True)
    for name, tasks in (("classification", report.CLASSIFICATION), ("regression", report.REGRESSION)):
        part = whole.of(tasks)
        if scores.complete(part.losses).any():
            plots.ranks(part, folder / f"quality-ranks-{name}.png")
            plots.times(part, report.REFERENCE, folder / f"quality-times-{name}.png")


if __name__ == "__main__":
    main()
