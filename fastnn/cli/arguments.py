"""The commands' arguments and options, each declared once, and the check of the files that a command will write."""

from __future__ import annotations

import fnmatch
import glob
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastnn.training.option import Choice, Flag, Real, Whole
from fastnn.training.option_table import COMMAND_LINE, accepted, command_line_help, options_of

if TYPE_CHECKING:
    from fastnn.pipeline.columns.options import Dialect
    from fastnn.pipeline.io.places import Place


def _one_of(values: Sequence[str], *names: str, help: str) -> Any:
    """An option whose value is one of some words."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in values:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, values))}.")
        return value

    return typer.Option(*names, help=help, metavar=f"[{'|'.join(values)}]", callback=check)


def _of_training(name: str, default: Any) -> Any:
    """The type of an option of ``fastnn train`` from the table of options, with its help, choices and least number."""
    accepts, summary = accepted(COMMAND_LINE, name)[0], command_line_help(name)
    type_: Any = {Whole: int, Real: float, Flag: bool}.get(type(accepts), str)
    if isinstance(accepts, Choice):
        said = _one_of(accepts.values, help=summary)
    else:
        said = typer.Option(min=accepts.low if isinstance(accepts, Whole) else None, help=summary)
    return Annotated[type_ | None if default is None else type_, said]


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of training that the table of options has for the command line.

    The command gets them as one mapping: typer reads the signature, which names all of them.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    defaults = {name: use.default for name, (_, use) in options_of(COMMAND_LINE).items()}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_of_training(name, default))
        for name, default in defaults.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    command.__annotations__.update({each.name: each.annotation for each in added})
    return command


# Several commands.
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="A model file that `fastnn train` wrote.")]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files (Parquet, Arrow, .npy, or CSV with a header line), folders, or patterns such as 'data/*.parquet'; "
        "paths or URIs (s3://, gs://, abfs://, hdfs://, and those of fsspec).",
    ),
]
# How CSV files are written. A model remembers it, so that predict and evaluate needn't be told again.
Delimiter = Annotated[str, typer.Option(help="The character between the values of a CSV line; \\\\t is a tab.")]
Decimal = Annotated[str, typer.Option(help="The character before a number's decimal places in CSV files.")]
Encoding = Annotated[str, typer.Option(help="The encoding of CSV files, such as latin-1 or utf-16.")]
OtherDelimiter = Annotated[str | None, typer.Option("--delimiter", help="As in fastnn train, if new files differ.")]
OtherDecimal = Annotated[str | None, typer.Option("--decimal", help="As in fastnn train, if new files differ.")]
OtherEncoding = Annotated[str | None, typer.Option("--encoding", help="As in fastnn train, if new files differ.")]

# train
Target = Annotated[
    list[str], typer.Option(help="The column to learn. A regression may have several: give the option several times.")
]
NewModel = Annotated[str, typer.Option(help="The model file to write.")]
Ignore = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given several times.")]
Missing = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="A text that stands for a missing value; may be given several times."),
]
Strip = Annotated[bool, typer.Option("--strip", help="Leave out blanks before and after texts.")]
OnBadTrainingRow = Annotated[
    str,
    _one_of(
        ["fail", "null", "skip"],
        "--on-bad-row",
        help="What becomes of a row with a text in a column that --columns declares to be of numbers or dates: an "
        "error, a missing value, or no row.",
    ),
]
Columns = Annotated[
    Path | None,
    typer.Option(help="A TOML file that says how to use single columns (kind, impute, categories, ...)."),
]
LossPlot = Annotated[Path | None, typer.Option("--plot", help="Draw the loss of each epoch into this image file.")]
ResumeTraining = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Keep the progress in MODEL.checkpoint until the model is written, and go on from it if the file exists.",
    ),
]

# predict
Out = Annotated[
    str,
    typer.Option(help="The .csv, .parquet or .arrow file to write, or a folder for one output per input file."),
]
OutputFormat = Annotated[
    str | None,
    _one_of(["parquet", "csv", "arrow"], "--format", help="The format of files in a folder; parquet by default."),
]
Keep = Annotated[list[str] | None, typer.Option(help="A column that the output keeps; may be given several times.")]
Output = Annotated[
    str,
    _one_of(["proba", "label", "both"], help="proba: a probability for each class; label: the most probable class."),
]
OnBadRow = Annotated[
    str,
    _one_of(
        ["fail", "null", "skip"],
        help="What becomes of a row that can't be scored: an error, null scores, or no row in the output.",
    ),
]
CheckDrift = Annotated[
    bool, typer.Option("--check-drift", help="Report how far each column has moved from training (PSI).")
]
DriftLimit = Annotated[
    float | None, typer.Option(min=0, help="Fail, without an output, if a column has moved further than this.")
]
ResumeScoring = Annotated[
    bool,
    typer.Option("--resume", help="Skip finished outputs if their inputs, model and options are still the same."),
]

# evaluate
Truth = Annotated[
    list[str], typer.Option("--target", help="The column of the true classes or values; may be given several times.")
]
OnBadEvaluationRow = Annotated[
    str,
    _one_of(
        ["fail", "skip"],
        "--on-bad-row",
        help="What becomes of a row that can't be scored or has no true value: an error, or it is left out.",
    ),
]
ConfusionPlot = Annotated[Path | None, typer.Option("--plot", help="Draw the confusion table into this image file.")]

# info, demo
AnyModelFile = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help="A model file; without it, the installation is described."),
]
DemoFolder = Annotated[Path, typer.Option("--out", help="The folder for the model and the plot.")]


def check_outputs(inputs: Sequence[str], outputs: Iterable[str | Path], plot: Path | None = None) -> None:
    """Refuse, before the work begins, outputs that can't be written or would overwrite an input or each other."""
    from fastnn.pipeline.io.places import place_of

    if plot is not None:
        from fastnn.plot import check_plotting

        try:
            check_plotting(plot)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        outputs = [*outputs, plot]
    taken = {place_of(path).identity for path in inputs}
    for output in map(place_of, outputs):
        output.check_replaceable()
        if output.identity in taken:
            raise typer.BadParameter(f"{output.name} is named twice: an output must be a file of its own.")
        refuse_among_inputs(output, inputs)
        taken.add(output.identity)


def refuse_among_inputs(output: Place, inputs: Iterable[str]) -> None:
    """Refuse an output that a folder or a pattern among the inputs holds: the next run would read it as data."""
    from fastnn.pipeline.io.places import Local, glob_parts, place_of

    for name in inputs:
        place = place_of(name)
        if isinstance(place, Local) and isinstance(output, Local):
            held = _holds(place.path, Path(output.path))
        elif glob_parts(name):
            held = fnmatch.fnmatch(output.identity, place.identity)
        else:
            held = output.identity.startswith(f"{place.identity}/")
        if held:
            raise typer.BadParameter(f"{output.name} is in {place.name}: the next run would read it as data.")


def _holds(name: str, output: Path) -> bool:
    """Whether a folder or a pattern of the local disk holds an output."""
    if os.path.isdir(name):
        return Path(os.path.realpath(output)).is_relative_to(os.path.realpath(name))
    if "**" in name:
        return fnmatch.fnmatch(str(output.absolute()), os.path.abspath(name))
    return glob.has_magic(name) and output.absolute().match(os.path.abspath(name))


def dialect_of(**said: Any) -> Dialect:
    """The dialect that a command's options describe; a usage error if they don't describe one."""
    from fastnn.pipeline.columns.options import Dialect

    try:
        return Dialect(**said)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
