"""How well do tracked figures repeat? ``python -m benchmarks.spread FIRST.json SECOND.json``, two of asv's results.

A line for each tracked figure: its parameter combinations, and by how much the two runs differ at most.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path


def tracked(path: Path) -> dict[str, dict[str, float]]:
    """The tracked values in a result file, by benchmark and by parameters. Values that are missing are left out."""
    stored = json.loads(path.read_text())
    found = {}
    for name, columns in stored["results"].items():
        if ".track_" in name:
            entry = dict(zip(stored["result_columns"], columns, strict=False))
            combinations = map(", ".join, itertools.product(*entry["params"]))
            values = zip(combinations, entry["result"] or [], strict=False)
            found[name] = {parameters: value for parameters, value in values if value is not None}
    return found


def spreads(first: dict[str, dict[str, float]], second: dict[str, dict[str, float]]) -> dict[str, float]:
    """The largest relative difference of each benchmark over its parameters."""
    return {
        name: max(abs(second[name][key] / value - 1) for key, value in values.items())
        for name, values in first.items()
        if name in second and values.keys() <= second[name].keys() and values
    }


def main() -> None:
    """See the module."""
    first, second = (tracked(Path(path)) for path in sys.argv[1:3])
    print("| tracked | combinations | largest difference |\n|---|---|---|")
    for name, spread in sorted(spreads(first, second).items()):
        print(f"| `{name}` | {len(first[name])} | {100 * spread:.1f} % |")


if __name__ == "__main__":
    main()
