"""The commands' arguments and options, each declared once, and the check of the files that a command will write."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fastnn.files.atomic import check_replaceable


def _one_of(values: Sequence[str], *names: str, help: str) -> Any:
    """An option whose value is one of some words."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in values:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, values))}.")
        return value

    return typer.Option(*names, help=help, metavar=f"[{'|'.join(values)}]", callback=check)


# Several commands.
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that `fastnn train` wrote.")]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files (Parquet, Arrow, .npy, or CSV with a header line), folders, or patterns such as 'data/*.parquet'.",
    ),
]

# train
Target = Annotated[str, typer.Option(help="The column to learn.")]
NewModel = Annotated[Path, typer.Option(help="The model file to write.")]
Hidden = Annotated[str, typer.Option(help="Units of each hidden layer, as 128,64; 0 for no hidden layer.")]
Activation = Annotated[
    str,
    _one_of(["tanh", "relu", "logistic", "identity"], help="The hidden layers' activation."),
]
Epochs = Annotated[int, typer.Option(min=1, help="The most passes over the data.")]
BatchSize = Annotated[str, typer.Option(help="Rows of a mini-batch; auto: 200, or all rows if there are fewer.")]
Solver = Annotated[
    str,
    _one_of(["adam", "sgd"], help="adam, or sgd with Nesterov momentum of 0.9."),
]
LearningRate = Annotated[float, typer.Option(help="The step size.")]
Alpha = Annotated[float, typer.Option(help="The L2 penalty's strength.")]
Seed = Annotated[int, typer.Option(min=0, help="The seed of weights, split and shuffle.")]
ValidationShare = Annotated[
    float,
    typer.Option(
        "--validation",
        help="The share of rows to hold out (200,000 at most). Training stops when the loss on them no longer falls. "
        "0: none, and all epochs are run.",
    ),
]
HoldOutBy = Annotated[
    str | None,
    typer.Option(help="A column of ids, which is then no feature: rows with the same id are held out together."),
]
Ignore = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given several times.")]
Columns = Annotated[
    Path | None,
    typer.Option(help="A TOML file that says how to use single columns (kind, impute, categories, ...)."),
]
BufferRows = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Rows in memory, and shuffled, at a time. By default all rows if they take at most 512 MB, otherwise as "
        "many as take 128 MB.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="The most threads to use.")]
Dtype = Annotated[
    str,
    _one_of(["float32", "float64"], help="The number format of weights and arithmetic."),
]
LossPlot = Annotated[Path | None, typer.Option("--plot", help="Draw the loss of each epoch into this image file.")]
CheckpointFile = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", help="Keep the progress in this file. After a kill, the same command goes on from there."
    ),
]
CheckpointEvery = Annotated[int, typer.Option(min=1, help="Epochs from one checkpoint to the next.")]
ResumeTraining = Annotated[
    bool,
    typer.Option("--resume", help="Keep the progress beside the model (MODEL.checkpoint) until the model is written."),
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
TrueClasses = Annotated[str, typer.Option("--target", help="The column of the true classes.")]
ConfusionPlot = Annotated[Path | None, typer.Option("--plot", help="Draw the confusion table into this image file.")]

# info, demo
AnyModelFile = Annotated[
    Path | None,
    typer.Argument(metavar="[MODEL]", help="A model file; without it, the installation is described."),
]
DemoFolder = Annotated[Path, typer.Option("--out", help="The folder for the model and the plot.")]


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
