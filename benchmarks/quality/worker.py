"""A process for each entrant, in which its trials run one after another.

In one process the idle threads of one library sit on the cores of the next, and their OpenMPs clash; a library that
crashes, or takes too long, would end everything. A fresh process for each trial would spend more time on imports than
on learning. So each entrant has a process that lives until it fails or exceeds the time limit, and is then replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import warnings
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import child
from benchmarks.quality.trial import Trial, run, warm_up


class FailedError(Exception):
    """A trial ended without a result."""


class Worker:
    """The process of an entrant.

    Parameters
    ----------
    threads : int
        How many threads and processors it may use.
    """

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        with child.surroundings(threads):
            self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def run(self, trial: Trial, limit: float) -> dict[str, Any]:
        """The result of a trial.

        Raises
        ------
        FailedError
            If there is none, or it took more seconds than the limit.
        """
        try:
            self._connection.send(trial)
            if not self._connection.poll(limit):
                self.close()
                raise FailedError(f"no result within {limit:.0f} s")
            done, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise FailedError(f"its process ended with exit code {self._process.exitcode}") from None
        if not done:
            raise FailedError(value)
        result: dict[str, Any] = value
        return result

    def alive(self) -> bool:
        """Whether it can run another trial."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def serve(connection: Connection) -> None:
    """Run the trials that arrive, until the other end is closed."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(quiet, output)  # LightGBM prints thousands of lines on some tables; errors come back as results
    warnings.simplefilter("ignore")
    warm: set[tuple[str, str]] = set()
    with contextlib.suppress(EOFError):
        while True:
            trial: Trial = connection.recv()
            try:
                connection.send((True, _warm_run(trial, warm)))
            except Exception as error:
                first_line = str(error).strip().partition("\n")[0]
                connection.send((False, f"{type(error).__name__}: {first_line[:300]}"))


def _warm_run(trial: Trial, warm: set[tuple[str, str]]) -> dict[str, Any]:
    """Run a trial, after a small one if it is the first of its task."""
    from benchmarks.quality.tables.sets import SETS

    kind = trial.entrant, SETS[trial.data_set].task
    if kind not in warm:
        warm_up(trial)
        warm.add(kind)
    return run(trial)
