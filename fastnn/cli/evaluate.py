"""The command evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from fastnn.cli import arguments
from fastnn.cli.terminal import say, show

if TYPE_CHECKING:
    from fastnn.pipeline.jobs.evaluate import RegressionEvaluation


def evaluate(
    model: arguments.ModelFile,
    data: arguments.Data,
    *,
    target: arguments.Truth,
    delimiter: arguments.OtherDelimiter = None,
    decimal: arguments.OtherDecimal = None,
    encoding: arguments.OtherEncoding = None,
    on_bad_row: arguments.OnBadEvaluationRow = "fail",
    plot: arguments.ConfusionPlot = None,
    json: arguments.Json = False,
) -> None:
    """Compare a model's predictions with the truth: accuracy, log-loss, confusion table; or R², RMSE and MAE."""
    import pyarrow as pa

    from fastnn.pipeline import Model
    from fastnn.pipeline.columns.labels import arrow_labels
    from fastnn.pipeline.io.source import at_its_place
    from fastnn.pipeline.jobs.evaluate import RegressionEvaluation
    from fastnn.pipeline.jobs.evaluate import evaluate as evaluate_rows
    from fastnn.pipeline.jobs.inputs import open_for
    from fastnn.plot import plot_confusion

    arguments.check_outputs([model, *data], [], plot)
    fitted = Model.load(model)
    try:
        dialect = fitted.schema.dialect.changed(delimiter=delimiter, decimal=decimal, encoding=encoding)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    types = [pa.float64(), pa.bool_()] if fitted.task == "regression" else [arrow_labels(fitted.classes).type]
    source, spelt = open_for(fitted.schema, data, dialect, further=dict.fromkeys(target, types))
    with at_its_place(source):
        rows = source.batches({*fitted.schema.names(), *target})
        result = evaluate_rows(fitted, rows, target, spelt, cast("Literal['fail', 'skip']", on_bad_row))
    if result.n_skipped:
        say(f"{result.n_skipped} of {result.n_rows + result.n_skipped} rows were left out")
    if isinstance(result, RegressionEvaluation):
        _report_regression(result, plot, json)
        return
    labels = fitted.classes.tolist()
    if plot is not None:
        plot_confusion(plot, result.confusion, labels)
    confusion = result.confusion.tolist()
    summary = {
        "rows": result.n_rows,
        "skipped_rows": result.n_skipped,
        "accuracy": result.accuracy,
        "log_loss": result.log_loss,
        "classes": labels,
        "confusion": confusion,
    }
    text = (
        f"rows      {result.n_rows}\naccuracy  {result.accuracy:.4f}\nlog-loss  {result.log_loss:.4f}\n\n"
        f"true class (rows) against predicted class (columns)\n{_confusion_text(labels, confusion)}"
    )
    show(summary, json, text)


def _report_regression(result: RegressionEvaluation, plot: Path | None, as_json: bool) -> None:
    """Draw the predictions against the true values if a plot is wanted, and print the measures of each target."""
    from fastnn.plot import plot_predictions

    if plot is not None:
        plot_predictions(plot, result.sample, list(result.r2))
    several = len(result.r2) > 1
    measures = {name: getattr(result, name) for name in ("r2", "rmse", "mae")}
    summary: dict[str, Any] = {"rows": result.n_rows, "skipped_rows": result.n_skipped}
    summary |= {name: each if several else next(iter(each.values())) for name, each in measures.items()}
    if several:
        summary["mean_r2"] = sum(result.r2.values()) / len(result.r2)
    lines = [f"rows  {result.n_rows}"]
    for target in result.r2:
        head = f"{target}: " if several else ""
        lines.append(
            f"{head}R²  {result.r2[target]:.4f}   RMSE  {result.rmse[target]:.6g}   MAE  {result.mae[target]:.6g}"
        )
    show(summary, as_json, "\n".join(lines))


def _confusion_text(labels: list[Any], confusion: list[list[int]]) -> str:
    rows = [
        ["", *map(str, labels)],
        *([str(label), *map(str, row)] for label, row in zip(labels, confusion, strict=True)),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(labels) + 1)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
