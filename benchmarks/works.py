"""The work behind the tracked ratios, by name, and a process that does it for whoever asks.

``python -m benchmarks.works`` reads a name a line and answers with the seconds of a sample; with ``--count NAME ...``
it does each once for `benchmarks.instructions`. The fastnn that it measures is the first on ``PYTHONPATH``.
"""

from __future__ import annotations

import functools
import json
import sys

from benchmarks import common, contestants, instructions, kernels, measure, suite

SAMPLE_SECONDS = 0.01


def names() -> list[str]:
    """All works: the equations, an epoch of every situation, scoring; everything on one thread."""
    return [
        *(f"kernel {name}" for name in kernels.WORKS),
        *(f"train {each.name} {size}" for each in common.SITUATIONS for size in each.batch_sizes),
        *(f"score {each.name} {rows}" for each in common.SITUATIONS for rows in common.SCORED_ROWS),
    ]


def counted_names() -> list[str]:
    """The works that are small enough, with their data, for valgrind, under which they are fifty times slower."""
    small = (common.MOONS, common.DIGITS)
    return [
        *(name for name in names() if name.startswith("kernel") and "1024x" not in name),
        *(f"train {each.name} {each.batch_sizes[0]}" for each in small),
        *(f"score {each.name} 64" for each in small),
    ]


@functools.cache
def work(name: str) -> measure.Work:
    """The work of that name."""
    kind, _, rest = name.partition(" ")
    if kind == "kernel":
        return kernels.work(rest)
    situation_name, number = rest.split()
    situation = next(each for each in common.SITUATIONS if each.name == situation_name)
    make = suite.trainer if kind == "train" else suite.scorer
    return make(contestants.Fastnn, situation, int(number), 1)


@functools.cache
def calls_a_sample(name: str) -> int:
    """The number of calls that make a sample long enough for the clock."""
    return measure.calls_a_sample(work(name), SAMPLE_SECONDS)


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["--count"]:
        for name in sys.argv[2:]:
            instructions.counted(work(name).call)
        return
    import fastnn

    print(json.dumps(fastnn.__file__), flush=True)
    for line in sys.stdin:
        name = line.strip()
        try:
            answer: float | str = measure.sample(work(name), calls_a_sample(name))
        except Exception as error:  # an older commit without it, or a tree that broke it
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
