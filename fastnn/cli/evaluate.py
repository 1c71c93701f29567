"""The command evaluate."""

from __future__ import annotations

from typing import Any

from fastnn.cli import arguments
from fastnn.cli.terminal import show


def evaluate(
    model: arguments.ModelFile,
    data: arguments.Data,
    *,
    target: arguments.TrueClasses,
    delimiter: arguments.OtherDelimiter = None,
    decimal: arguments.OtherDecimal = None,
    encoding: arguments.OtherEncoding = None,
    plot: arguments.ConfusionPlot = None,
    json: arguments.Json = False,
) -> None:
    """Compare a model's predictions with known classes: accuracy, log-loss, confusion table."""
    from fastnn.pipeline import Model
    from fastnn.pipeline.columns.labels import arrow_labels
    from fastnn.pipeline.io.typed import open_for
    from fastnn.pipeline.jobs.evaluate import evaluate as evaluate_rows
    from fastnn.plot import plot_confusion

    arguments.check_outputs([model, *data], [], plot)
    fitted = Model.load(model)
    labels = fitted.classes.tolist()
    given = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding}
    dialect = arguments.dialect_of(
        **{**vars(fitted.schema.dialect), **{name: value for name, value in given.items() if value is not None}}
    )
    source, spelt = open_for(fitted.schema, data, dialect, further={target: arrow_labels(fitted.classes).type})
    result = evaluate_rows(fitted, source.batches({*fitted.schema.names(), target}), target, spelt)
    if plot is not None:
        plot_confusion(plot, result.confusion, labels)
    confusion = result.confusion.tolist()
    summary = {
        "rows": result.n_rows,
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


def _confusion_text(labels: list[Any], confusion: list[list[int]]) -> str:
    rows = [
        ["", *map(str, labels)],
        *([str(label), *map(str, row)] for label, row in zip(labels, confusion, strict=True)),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(labels) + 1)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
