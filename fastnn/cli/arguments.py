"""What several commands take, and the check of what they will write."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fastnn.files.atomic import check_replaceable

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that `fastnn train` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def check_outputs(inputs: Sequence[str | os.PathLike[str]], outputs: Iterable[Path], plot: Path | None = None) -> None:
    """Refuse, before the work begins, outputs that can't be written or would overwrite an input or each other."""
    if plot is not None:
        from fastnn.plot import check_plotting

        try:
            check_plotting(plot)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        outputs = [*outputs, plot]
    taken = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        check_replaceable(path)
        if os.path.realpath(path) in taken:
            raise typer.BadParameter(f"{path} is named twice: an output must be a file of its own.")
        refuse_among_inputs(path, inputs)
        taken.add(os.path.realpath(path))


def refuse_among_inputs(output: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that a folder or a pattern among the inputs holds: the next run would read it as data."""
    for name in [os.fspath(each) for each in inputs]:
        place = Path(os.path.realpath(output))
        if os.path.isdir(name):
            held = place.is_relative_to(os.path.realpath(name))
        elif "**" in name:
            held = fnmatch.fnmatch(str(output.absolute()), os.path.abspath(name))
        else:
            held = glob.has_magic(name) and output.absolute().match(os.path.abspath(name))
        if held:
            raise typer.BadParameter(f"{output} is in {name}: the next run would read it as data.")
