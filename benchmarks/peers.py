"""fastnn and its rivals in one table for training and one for scoring: ``python -m benchmarks.peers``.

Everybody gets the same rows, first weights and batches, and a process of its own with the same number of threads and
processors: in one process the idle threads of one library sit on the cores of the next, and their OpenMPs clash. The
processes take turns, round by round, a pause before each. A contestant's time counts when its probabilities agree with
those of the same training in NumPy with float64; its largest error stands beside its speed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import child, common, contestants, measure

ROUNDS = 5
# torch.compile takes half a minute where nothing is cached.
REPLY_SECONDS = 300.0
# The largest error of a probability that is accepted after one call's epochs. Rounding in float32 causes 8e-6 at most
# (PyTorch, `digits`). One epoch too many causes 6e-5 (`moons`, where a call has a thousand epochs) to 0.4, a step size
# that is a thousandth too large 6e-5 (`moons`) to 7e-4, and a last batch that is left out 0.2 to 0.7.
SGD_TOLERANCE = 5e-5
# PyTorch's own Adam adds epsilon in another place, which causes an error of 5e-5. Rounding alone causes 6e-6, and a
# step size that is a thousandth too large 9e-4.
ADAM_TOLERANCE = 3e-4
# The largest relative error that is accepted in how far the loss falls. Rounding causes 1e-6 at most, and an epoch too
# many 2e-5 (`moons`) to 0.08.
FALL_TOLERANCE = 1e-5
# One forward pass in float32 causes an error of 1e-6 at most.
SCORE_TOLERANCE = 1e-5


class Entrant(NamedTuple):
    """A contestant's name, its class as "module:class", and what it needs to import."""

    name: str
    target: str
    packages: tuple[str, ...]
    one_output_for_two_classes: bool = False

    def make(self, task: common.Task) -> contestants.Contestant:
        """The contestant itself."""
        module, _, name = self.target.partition(":")
        made: contestants.Contestant = getattr(importlib.import_module(module), name)(task)
        return made


def float64(task: common.Task) -> contestants.NumPy:
    """The reference."""
    return contestants.NumPy(task, np.float64)


FASTNN = Entrant("fastnn", "benchmarks.contestants:Fastnn", ("fastnn", "numba", "llvmlite"))
JAX = Entrant("JAX", "benchmarks.rivals:Jax", ("jax", "jaxlib"))
TORCH_COMPILED = Entrant("PyTorch compiled", "benchmarks.rivals:TorchCompiled", ("torch",))
TORCH = Entrant("PyTorch", "benchmarks.rivals:TorchEager", ("torch",))
ONNX_RUNTIME = Entrant("ONNX Runtime", "benchmarks.rivals:OnnxRuntime", ("onnxruntime", "onnx"))
SCIKIT_LEARN = Entrant("scikit-learn", "benchmarks.contestants:ScikitLearn", ("sklearn",), True)
NUMPY = Entrant("NumPy", "benchmarks.contestants:NumPy", ("numpy",))
REFERENCE = Entrant("reference", "benchmarks.peers:float64", ("numpy",))

TRAINERS = (FASTNN, JAX, TORCH_COMPILED, TORCH, SCIKIT_LEARN, NUMPY)
SCORERS = (FASTNN, ONNX_RUNTIME, TORCH, SCIKIT_LEARN, NUMPY)


class Answer(NamedTuple):
    """The probabilities that a contestant begins with, and those after one call."""

    before: np.ndarray
    after: np.ndarray


class Verdict(NamedTuple):
    """Whether a contestant's time counts: not if there is a `reason`. The error is None if it can't be computed."""

    error: float | None
    reason: str = ""


class Training(NamedTuple):
    """A line of the first table: epochs of a situation."""

    situation: common.Situation
    batch_size: int

    @property
    def name(self) -> str:
        """How the line begins."""
        return f"{self.situation.name} by {self.batch_size}"

    def task(self, threads: int) -> common.Task:
        """What everybody gets."""
        return common.task(self.situation, self.batch_size, threads, shuffle=False)

    def answer(self, contestant: contestants.Contestant) -> Answer:
        """One call's epochs, from the first weights."""
        X = self.task(1).X
        before = contestant.predict_proba(X)
        contestant.train()
        return Answer(before, contestant.predict_proba(X))

    def work(self, contestant: contestants.Contestant) -> measure.Work:
        """What is timed: further epochs."""
        return measure.Work(contestant.train, units=self.situation.epochs)

    def judge(self, entrant: Entrant, answer: Answer, reference: Answer) -> Verdict:
        """Compare the fall of the loss and, if the number of outputs is the reference's, every probability."""
        y = self.task(1).y
        if not np.isfinite(answer.after).all():
            return Verdict(None, "its probabilities aren't finite")
        losses = [contestants.cross_entropy(p, y) for p in (*answer, *reference)]
        fall, wanted = losses[0] - losses[1], losses[2] - losses[3]
        if entrant.one_output_for_two_classes and reference.after.shape[1] == 2:
            return Verdict(None, "" if fall > 0 else f"its loss goes from {losses[0]:.6f} to {losses[1]:.6f}")
        verdict = _compared(answer, reference, SGD_TOLERANCE if self.situation.solver == "sgd" else ADAM_TOLERANCE)
        if not verdict.reason and not abs(fall - wanted) <= FALL_TOLERANCE * wanted:
            return verdict._replace(reason=f"its loss falls by {fall}, the reference's by {wanted}")
        return verdict


class Scoring(NamedTuple):
    """A line of the second table: so many rows at once."""

    situation: common.Situation
    rows: int

    @property
    def name(self) -> str:
        """How the line begins."""
        return f"{self.situation.name}, {self.rows} row{'s' * (self.rows > 1)}"

    def task(self, threads: int) -> common.Task:
        """What everybody gets: the network is what matters."""
        return common.task(self.situation, self.situation.batch_sizes[0], threads, shuffle=False)

    def answer(self, contestant: contestants.Contestant) -> Answer:
        """The rows' probabilities, by the first weights."""
        p = contestant.predict_proba(self._X())
        return Answer(p, p)

    def work(self, contestant: contestants.Contestant) -> measure.Work:
        """What is timed: scoring the same rows again."""
        return measure.Work(functools.partial(contestant.predict_proba, self._X()))

    def _X(self) -> np.ndarray:  # noqa: N802
        return common.load(self.situation.name).rows(self.rows)[0]

    def judge(self, entrant: Entrant, answer: Answer, reference: Answer) -> Verdict:
        """Compare every probability with the reference's."""
        return _compared(answer, reference, SCORE_TOLERANCE)


Event = Training | Scoring


def _compared(answer: Answer, reference: Answer, tolerance: float) -> Verdict:
    p, wanted = answer.after, reference.after
    if p.shape != wanted.shape:
        return Verdict(None, f"its probabilities are of shape {p.shape}, not {wanted.shape}")
    error = float(np.abs(p - wanted).max())
    # A NaN is no agreement.
    agrees = error <= tolerance
    return Verdict(error, "" if agrees else f"its probabilities are off by {error:.0e}, allowed are {tolerance:.0e}")


# --- a contestant's process ---


class Seat:
    """What runs in a contestant's process: it prepares the contestant for an event, and then gives it turns."""

    def __init__(self, entrant: Entrant, threads: int) -> None:
        self.entrant, self.threads = entrant, threads
        self.work: measure.Work | None = None
        self.repeats = 0

    def about(self) -> dict[str, Any]:
        """Versions of what it imports, and the pools of threads that came with it."""
        versions = {name: importlib.import_module(name).__version__ for name in self.entrant.packages}
        from threadpoolctl import threadpool_info

        keys = ("internal_api", "version", "architecture", "num_threads")
        return {"versions": versions, "pools": [{key: pool.get(key) for key in keys} for pool in threadpool_info()]}

    def prepare(self, event: Event) -> tuple[np.ndarray, ...]:
        """Make the contestant anew, and have it answer."""
        self.work, self.repeats = None, 0
        contestant = self.entrant.make(event.task(self.threads))
        answer = event.answer(contestant)
        self.work = event.work(contestant)
        return tuple(answer)

    def turn(self) -> list[float]:
        """Samples, after a pause."""
        assert self.work
        if not self.repeats:
            time.sleep(measure.PAUSE_SECONDS)
            self.repeats = measure.calls_a_sample(self.work)
        return measure.turn(self.work, self.repeats, measure.PAUSE_SECONDS)


def serve(connection: Connection, entrant: Entrant, threads: int) -> None:
    """Do what the parent asks of a `Seat`, until it says None or is gone."""
    os.dup2(2, 1)  # what a library prints isn't part of the table
    seat = Seat(entrant, threads)
    with contextlib.suppress(EOFError):
        while request := connection.recv():
            name, *arguments = request
            try:
                reply = True, getattr(seat, name)(*arguments)
            except Exception as error:
                # A library's message may be pages long.
                first_line = str(error).strip().partition("\n")[0]
                reply = False, f"{type(error).__name__}: {first_line}"
            connection.send(reply)


# --- the parent ---


class FailedError(Exception):
    """A contestant couldn't do what it was asked."""


class Player:
    """A contestant in a process of its own."""

    def __init__(self, entrant: Entrant, threads: int) -> None:
        self.entrant = entrant
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, entrant, threads), daemon=True)
        with child.surroundings(threads):
            self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def ask(self, name: str, *arguments: Any) -> Any:
        """What the seat's method `name` returns; `FailedError` if it raises, or nothing comes."""
        try:
            self._connection.send((name, *arguments))
            if not self._connection.poll(REPLY_SECONDS):
                self._process.kill()
                raise FailedError(f"no answer within {REPLY_SECONDS:.0f} s")
            done, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise FailedError(f"its process ended with exit code {self._process.exitcode}") from None
        if not done:
            raise FailedError(value)
        return value

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._process.join(10)
        self._process.kill()


@dataclass
class Result:
    """What one contestant did in one event; `reason` says why it has no samples."""

    entrant: str
    error: float | None = None
    reason: str = ""
    samples: list[float] = field(default_factory=list)

    @property
    def best(self) -> float | None:
        """The least of its samples, in seconds."""
        return min(self.samples, default=None)

    def as_json(self) -> dict[str, Any]:
        """Everything but the single samples."""
        median = float(np.median(self.samples)) if self.samples else None
        return {
            "contestant": self.entrant,
            "best_seconds": self.best,
            "median_seconds": median,
            "samples": len(self.samples),
            "error": self.error,
            "reason": self.reason,
        }


def race(event: Event, players: Sequence[Player], reference: Answer, rounds: int) -> list[Result]:
    """Check everybody, then let those who passed take turns."""
    results = [_examined(event, player, reference) for player in players]
    for number in range(rounds):
        _progress(f"{event.name}: round {number + 1} of {rounds}")
        for player, result in zip(players, results, strict=True):
            if not result.reason:
                _take_turn(player, result)
    return results


def _examined(event: Event, player: Player, reference: Answer) -> Result:
    """A contestant's result so far: its error, or the reason why its time won't count."""
    _progress(f"{event.name}: check of {player.entrant.name}")
    try:
        answer = Answer(*player.ask("prepare", event))
    except FailedError as failure:
        return Result(player.entrant.name, reason=str(failure))
    return Result(player.entrant.name, *event.judge(player.entrant, answer, reference))


def _take_turn(player: Player, result: Result) -> None:
    try:
        result.samples += player.ask("turn")
    except FailedError as failure:
        result.reason, result.samples = str(failure), []


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the report ---


class Table(NamedTuple):
    """One of the two tables: its columns' contestants, and a line for each event."""

    title: str
    unit: str
    seconds: float
    entrants: tuple[str, ...]
    lines: list[tuple[str, list[Result]]]

    def markdown(self) -> str:
        """The table, and under it what its marks mean."""
        remarks: list[str] = []
        rows = [
            (name, *(self._cell(name, result, results, remarks) for result in results)) for name, results in self.lines
        ]
        head = (self.title, *self.entrants)
        return "\n".join([f"{self.title}: {self.unit}\n", *_aligned([head, *rows]), *[f"\n{each}" for each in remarks]])

    def _cell(self, name: str, result: Result, results: list[Result], remarks: list[str]) -> str:
        """A cell: the contestant's time, this time over fastnn's, and its error."""
        if result.best is None:
            remarks.append(f"- {name}: {result.entrant} has no time: {result.reason}.")
            return "–"
        ours = next((each.best for each in results if each.entrant == FASTNN.name), None)
        times = f"{result.best / ours:.3g}×" if ours and result.entrant != FASTNN.name else ""
        error = "*" if result.error is None else f"{result.error:.0e}"
        return " · ".join(filter(None, (_digits(result.best / self.seconds), times, error)))

    def in_short(self) -> str:
        """The table with fastnn's time, and with how many times as long the others take."""
        rows = [(self.title, f"fastnn, {self.unit}", *(f"{name}" for name in self.entrants[1:]))]
        for name, results in self.lines:
            ours, *others = (each.best for each in results)
            if ours is not None:
                times = ("–" if best is None else f"{best / ours:.2g}×" for best in others)
                rows.append((name, _digits(ours / self.seconds), *times))
        return "\n".join(_aligned(rows))


def _digits(number: float) -> str:
    """The number with three significant digits, or with all digits before the point if these are more."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns are aligned, so that it is readable in a terminal, too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


class Report(NamedTuple):
    """The report: where and with what it was measured, the tables, and which contestants are left out, and why."""

    facts: dict[str, str]
    tables: list[Table]
    left_out: dict[str, str]

    def markdown(self) -> str:
        """The report as Markdown, for a terminal or a page."""
        facts = "\n".join(f"- {name}: {value}" for name, value in self.facts.items())
        tables = "\n\n".join(table.markdown() for table in self.tables)
        left_out = "".join(f"\n- {name} is left out: {reason}." for name, reason in self.left_out.items())
        return "\n\n".join(filter(None, ["# fastnn and its rivals", facts, tables, LEGEND, left_out.strip()]))

    def into_readme(self, path: Path) -> None:
        """Put both tables in short between the README's marks."""
        text = path.read_text()
        before, mark, rest = text.partition("<!-- the rivals -->")
        _, end, after = rest.partition("<!-- end of the rivals -->")
        if not end:
            raise ValueError(f"{path} has no marks for the rivals' table.")
        threads = self.facts["threads"].partition(",")[0]
        where = f"{self.facts['machine']}; {threads} threads for everybody; {self.facts['date']}"
        tables = "\n\n".join(table.in_short() for table in self.tables)
        path.write_text(f"{before}{mark}\n{tables}\n\n{where}.\n{end}{after}")

    def as_json(self) -> dict[str, Any]:
        """The report as JSON, with medians and the number of samples."""
        tables = {
            table.title: [
                {"event": name, "results": [each.as_json() for each in results]} for name, results in table.lines
            ]
            for table in self.tables
        }
        return {"facts": self.facts, "tables": tables, "left_out": self.left_out}


LEGEND = """\
Each cell: the best time · that time over fastnn's · the largest error of a probability, against NumPy in float64 after
the same work. `*`: scikit-learn has one output for two classes, less work; only that its loss falls can be checked."""


def facts(abouts: dict[str, dict[str, Any]], threads: int) -> dict[str, str]:
    """Where, when and with what it is measured."""
    versions = {"python": platform.python_version()} | {
        package: version for about in abouts.values() for package, version in about["versions"].items()
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_cpu_model()}, {os.cpu_count()} processors, {platform.platform(terse=True)}",
        "threads": f"{threads}, on as many processors, for everybody",
        "load before": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "BLAS of NumPy": _blas(abouts),
        "commit": _commit(),
        "command": " ".join(["python -m benchmarks.peers", *sys.argv[1:]]),
    }


def _blas(abouts: dict[str, dict[str, Any]]) -> str:
    pools = abouts.get(NUMPY.name, {}).get("pools", [])
    return ", ".join("{internal_api} {version} {architecture}".format(**pool) for pool in pools) or "unknown"


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty"]
    try:
        run = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


# --- the command ---


def trainings(quick: bool) -> list[Event]:
    """The lines of the first table."""
    situations = (common.DIGITS,) if quick else common.SITUATIONS
    return [Training(situation, size) for situation in situations for size in situation.batch_sizes]


def scorings(quick: bool) -> list[Event]:
    """The lines of the second table."""
    situations = (common.DIGITS,) if quick else (common.DIGITS, common.MNIST, common.WIDE, common.TABULAR)
    numbers = common.SCORED_ROWS[:2] if quick else common.SCORED_ROWS
    return [Scoring(situation, rows) for situation in situations for rows in numbers]


def measured(threads: int, rounds: int, quick: bool) -> Report:
    """Start everybody, race, and end everybody."""
    with contextlib.ExitStack() as stack:
        players = {}
        for entrant in dict.fromkeys((REFERENCE, *TRAINERS, *SCORERS)):
            players[entrant] = Player(entrant, threads)
            stack.callback(players[entrant].close)
        abouts, left_out = _introduced(players)
        found = facts(abouts, threads)
        reference = players.pop(REFERENCE)
        tables = []
        for title, unit, seconds, entrants, events in (
            ("training", "ms an epoch", 1e-3, TRAINERS, trainings(quick)),
            ("scoring", "µs a call", 1e-6, SCORERS, scorings(quick)),
        ):
            present = [players[entrant] for entrant in entrants if entrant in players]
            names = tuple(player.entrant.name for player in present)
            lines = [
                (event.name, race(event, present, Answer(*reference.ask("prepare", event)), rounds)) for event in events
            ]
            tables.append(Table(title, unit, seconds, names, lines))
    return Report(found, tables, left_out)


def _introduced(players: dict[Entrant, Player]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each player says about itself. Those that can't start are taken out of `players`, and named with reasons."""
    abouts, left_out = {}, {}
    for entrant, player in list(players.items()):
        try:
            abouts[entrant.name] = player.ask("about")
        except FailedError as failure:
            left_out[entrant.name] = str(failure)
            del players[entrant]
    return abouts, left_out


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    most = common.processors()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--threads", type=int, default=most, help=f"of everybody, from 1 to {most} (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=None, help=f"turns of everybody in each event (default: {ROUNDS})"
    )
    parser.add_argument("--quick", action="store_true", help="digits only, two rounds: does everything run?")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the numbers there")
    parser.add_argument("--readme", action="store_true", help="put the tables in short into README.md")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write the Markdown there too")
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= most:
        parser.error(f"--threads must be from 1 to {most}, the processors this process may use")
    options.rounds = options.rounds or (2 if options.quick else ROUNDS)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    options = _options(arguments)
    report = measured(options.threads, options.rounds, options.quick)
    text = report.markdown()
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    if options.readme:
        report.into_readme(Path(__file__).parent.parent / "README.md")
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
