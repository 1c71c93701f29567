"""The command warmup."""

from __future__ import annotations

from time import perf_counter

from fastnn.cli import arguments
from fastnn.cli.terminal import say, show


def warmup(json: arguments.Json = False) -> None:
    """Compile everything and keep it on disk, so that no later run has to."""
    from fastnn.runtime.compile_cache import cache_directory
    from fastnn.warmup import warm_up

    began = perf_counter()
    warm_up(say)
    seconds = perf_counter() - began
    directory = cache_directory()
    summary = {"seconds": seconds, "compile_cache": None if directory is None else str(directory)}
    kept = f"kept in {directory}" if directory else "not kept: no directory can be written"
    show(summary, json, f"compiled in {seconds:.1f} s, {kept}")
