"""Is the working tree slower than another commit? ``python -m benchmarks.gate BASE`` exits with 1 if so.

Three processes measure in turn, sample by sample: one has BASE, one the working tree, and one BASE again. The
difference between the two that have BASE is the noise of this work on this machine today. Each round has fresh
processes, since the place of a process's memory changes its times by some per cent for as long as the process lives. A
work is worse if the tree's median change exceeds twice the median noise (and `LEAST_CHANGE`), and does so again in a
second measurement. The gate takes medians, since other programs disturb one round in ten.

Where valgrind is installed, the gate counts instructions as well, because their number doesn't depend on other
programs. A work with more instructions is worse unless its time shows that it got faster.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import instructions, works

ROOT = Path(__file__).parent.parent
TREE = ROOT / "fastnn"
ROUNDS = 5
SAMPLES = 5
LEAST_CHANGE = 0.05
LEAST_INSTRUCTIONS = 0.01
SIDES = ("base", "tree", "base again")


class Verdict(NamedTuple):
    """The result for one work. Changes are fractions: 0.1 means a tenth more time, or a tenth more instructions."""

    name: str
    change: float
    noise: float
    instructions: float | None = None

    @property
    def least(self) -> float:
        """The least change of the time that counts."""
        return max(self.noise, LEAST_CHANGE)

    @property
    def slower(self) -> bool:
        """Whether the time grew by more than the noise."""
        return self.change > self.least

    @property
    def worse(self) -> bool:
        """Whether the work is slower, or has more instructions and isn't faster."""
        more = self.instructions is not None and self.instructions > LEAST_INSTRUCTIONS
        return self.slower or (more and self.change > -self.least)


class Side:
    """A process that works with one of the two packages."""

    def __init__(self, package: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.works"],
            env=_environment(package),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.package = package

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.kill()
        self.process.communicate()

    def check(self) -> None:
        """Wait until the process is ready, and make sure that it measures the right package."""
        measured = Path(self._answer())
        if self.package not in measured.parents:
            raise RuntimeError(f"the gate would measure {measured} instead of {self.package}")

    def sample(self, name: str) -> float | str:
        """The seconds of a sample of a work, or the reason why the work can't be measured."""
        assert self.process.stdin
        print(name, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float | str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a measuring process ended; its message stands above")
        return json.loads(line)


def compare(base: Path, tree: Path, names: Sequence[str], rounds: int) -> tuple[list[Verdict], dict[str, str]]:
    """Measure these works. The second result has, for each work that can't be measured, the reason."""
    logs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    missing: dict[str, str] = {}
    for number in range(rounds):
        with ExitStack() as stack:
            sides = [stack.enter_context(Side(package)) for package in (base, tree, base)]
            for side in sides:
                side.check()
            for done, name in enumerate(names, 1):
                _progress(f"round {number + 1} of {rounds}: {done} of {len(names)}")
                best = _round(sides, name, missing)
                if best:
                    once, changed, again = map(math.log, best)
                    logs[name].append((changed - (once + again) / 2, again - once))
    found = []
    for name in names:
        if name not in missing:
            change, noise = np.expm1(np.array(logs[name]).T)
            found.append(Verdict(name, float(np.median(change)), 2 * float(np.median(np.abs(noise)))))
    return found, missing


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


def _round(sides: Sequence[Side], name: str, missing: dict[str, str]) -> list[float] | None:
    """The best of some samples of each side, taken in turn; None if one side can't do the work."""
    best = [math.inf] * len(sides)
    for _ in range(SAMPLES):
        for number, side in enumerate(sides):
            seconds = side.sample(name)
            if isinstance(seconds, str):
                missing[name] = f"{SIDES[number]}: {seconds}"
                return None
            best[number] = min(best[number], seconds)
    return best


def count_instructions(base: Path, tree: Path, names: Sequence[str]) -> dict[str, float]:
    """By which fraction each work's instructions grew."""
    command = [sys.executable, "-P", "-m", "benchmarks.works", "--count", *names]

    def count(package: Path) -> dict[str, int]:
        with tempfile.TemporaryDirectory() as folder:
            return instructions.count(names, command, _environment(package), Path(folder))

    with ThreadPoolExecutor(2) as pool:  # each count takes a minute, and no time is measured meanwhile
        before, after = pool.map(count, (base, tree))
    return {name: after[name] / before[name] - 1 for name in names}


def _environment(package: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "NUMBA_"))}
    return kept | {"PYTHONPATH": os.pathsep.join([str(package), str(ROOT)]), "PYTHONHASHSEED": "0"}


def _export(commit: str, folder: Path) -> Path:
    """The package `fastnn` of a commit, in a folder of its own."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, "fastnn"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise ValueError(f"no fastnn in {commit!r}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def _table(verdicts: Sequence[Verdict]) -> str:
    lines = ["| work | time | noise | instructions | |", "|---|---|---|---|---|"]
    for each in sorted(verdicts, key=lambda verdict: (not verdict.worse, verdict.name)):
        grown = "" if each.instructions is None else f"{100 * each.instructions:+.2f} %"
        mark = "**worse**" if each.worse else ""
        lines.append(f"| {each.name} | {100 * each.change:+.1f} % | {100 * each.noise:.1f} % | {grown} | {mark} |")
    return "\n".join(lines)


def gate(base: Path, tree: Path, names: Sequence[str], rounds: int) -> tuple[list[Verdict], dict[str, str]]:
    """Measure, measure again what seems slower, count instructions."""
    found, missing = compare(base, tree, names, rounds)
    verdicts = {verdict.name: verdict for verdict in found}
    doubtful = [verdict.name for verdict in found if verdict.slower]
    for again in compare(base, tree, doubtful, rounds)[0] if doubtful else []:
        verdicts[again.name] = again
    if instructions.available():
        countable = [name for name in works.counted_names() if name in verdicts]
        for name, grown in count_instructions(base, tree, countable).items():
            verdicts[name] = verdicts[name]._replace(instructions=grown)
    return list(verdicts.values()), missing


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__.splitlines()[0])
    parser.add_argument("base", help="a commit, as git names it")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of fresh processes (default %(default)s)")
    parser.add_argument("--only", default="", help="only the works whose name contains this")
    options = parser.parse_args(arguments)
    names = [name for name in works.names() if options.only in name]
    if not names:
        parser.error(f"no work's name contains {options.only!r}; they are: {', '.join(works.names())}")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(TREE, tree / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
        try:
            verdicts, missing = gate(_export(options.base, Path(folder) / "base"), tree, names, options.rounds)
        except (ValueError, RuntimeError) as error:
            parser.error(str(error))
    print(_table(verdicts))
    for name, reason in missing.items():
        print(f"\nnot measured: {name} ({reason})")
    if not verdicts:
        parser.error("nothing could be compared")
    # A work that the tree can't do counts as worse, since the base could do it.
    worse = [verdict.name for verdict in verdicts if verdict.worse]
    worse += [name for name, reason in missing.items() if reason.startswith("tree")]
    print(f"\nworse than {options.base}: {', '.join(worse) or 'nothing'}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
