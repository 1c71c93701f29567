"""The command line: ``fastnn train | predict | evaluate | info | warmup | demo``.

Each command has a module of its name. Results go to stdout, progress and errors to stderr. Every error is one line, and
its kind decides the exit code. Modules that take long to import are imported by the commands that need them, so that
``fastnn --help`` doesn't wait.
"""

from __future__ import annotations

import io
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from fastnn.cli import demo, evaluate, info, predict, train, warmup
from fastnn.cli.terminal import complain, notes
from fastnn.training.interrupts import terminable

# Arrow reads these environment variables when it is loaded. Its default allocator, mimalloc, would keep 60 MB more than
# jemalloc of the memory that one thread allocated and another freed.
ARROW_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "JE_ARROW_MALLOC_CONF": "narenas:1"}

FAILED, USAGE, MODEL_FILE, SCHEMA, DATA, INTERRUPTED, TERMINATED = 1, 2, 3, 4, 5, 130, 143

app = typer.Typer(
    name="fastnn",
    help="Train and apply multilayer perceptrons on tables (CSV, Parquet). Exit codes: 0 done, 1 failed, "
    "2 wrong usage, 3 unusable model file, 4 data that doesn't match the model, 5 unusable data.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (train.train, predict.predict, evaluate.evaluate, info.info, warmup.warmup, demo.demo):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit code. Nothing is raised, whatever goes wrong.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "pyarrow" not in sys.modules and platform.machine() == "x86_64" and sys.platform == "linux":
        os.environ.update({name: value for name, value in ARROW_MEMORY.items() if name not in os.environ})
    # A cron job may have closed stdout or stderr. What is printed then is lost, but the command does its work.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # names and labels may have characters that the encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments or ["--help"])
        sys.stdout.flush()
        return code if arguments else USAGE
    except BrokenPipeError:
        # The program that read our output has gone. At exit Python would print an error because it can't flush.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(arguments: Sequence[str]) -> int:
    with terminable() as was_terminated, notes():
        try:
            result = typer.main.get_command(app).main(args=arguments, prog_name="fastnn", standalone_mode=False)
            if result == INTERRUPTED:  # how newer versions of typer say that Ctrl-C was pressed
                raise KeyboardInterrupt
            return result if isinstance(result, int) else 0
        except (KeyboardInterrupt, typer.Abort):
            complain("terminated" if was_terminated() else "interrupted")
            return TERMINATED if was_terminated() else INTERRUPTED
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else FAILED
        except BrokenPipeError:
            raise
        except Exception as error:  # unforeseen errors, too: a traceback doesn't help a user who types a command
            complain(_message(error))
            return exit_code(error)


def exit_code(error: Exception) -> int:
    """The exit code for an error."""
    if hasattr(error, "format_message"):  # a usage error; where its class lives differs between versions of typer
        return USAGE
    return next((code for type_, code in _codes() if isinstance(error, type_)), FAILED)


def _codes() -> list[tuple[type[Exception], int]]:
    from fastnn.files.modelfile import ModelFileError

    codes: list[tuple[type[Exception], int]] = [(ModelFileError, MODEL_FILE)]
    with suppress(ModuleNotFoundError):  # without pyarrow no such error can have happened
        from fastnn.pipeline.columns.schema import DataError, SchemaError

        codes += [(SchemaError, SCHEMA), (DataError, DATA)]
    return codes


def _message(error: Exception) -> str:
    if hasattr(error, "format_message"):
        return str(error.format_message())
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory. {error}"
    expected = isinstance(error, (OSError, ModuleNotFoundError)) or type(error).__module__.startswith("fastnn.")
    return str(error) if expected else f"{type(error).__name__}: {error}"
