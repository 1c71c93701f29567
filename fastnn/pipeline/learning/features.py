"""Which columns a training learns from, and the pass over the source that learns them."""

from __future__ import annotations

import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.options import ColumnOptions
from fastnn.pipeline.columns.schema import DataError, Schema, check_names, listed
from fastnn.pipeline.columns.statistics import TableStatistics
from fastnn.pipeline.columns.targets import TargetLearner
from fastnn.pipeline.io.source import Source
from fastnn.pipeline.learning.held_out import HeldOut
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.reading import Reading
from fastnn.pipeline.learning.survey import Survey, survey
from fastnn.pipeline.learning.typed import Typed, WidenedError

T = TypeVar("T")


class Features:
    """The columns of a source that a training learns from: all except those that are set apart.

    Parameters
    ----------
    source : Source
        The rows.
    targets : sequence of str
        The columns to predict.
    plan : Plan
        The task, and the columns of weights and of ids by which rows are held out.
    ignore : sequence of str
        Columns that are neither target nor feature.
    reading : Reading
        How text is read, and the options of single columns.

    Attributes
    ----------
    source : Typed
        The same rows, with values of the types that text stands for.

    Raises
    ------
    DataError
        If a column is missing, or is a feature although not all files have it in common.
    """

    def __init__(
        self, source: Source, targets: Sequence[str], plan: Plan, ignore: Sequence[str], reading: Reading
    ) -> None:
        by = [] if plan.hold_out_by is None else [plan.hold_out_by]
        self.targets, self.weight, self._plan = targets, plan.weight, plan
        weights = [] if plan.weight is None else [plan.weight]
        roles = Counter([*targets, *by, *weights])
        if roles.total() > len(roles):
            name = roles.most_common(1)[0][0]
            raise DataError(f"Column {name!r} can be only one of these: target, weight, ids to hold out by.")
        counts = targets if plan.loss == "poisson" else []
        self._reading = replace(reading, as_text=by, required=[*targets, *weights], at_least_0=[*weights, *counts])
        self._untyped = source.untyped
        self._apart = self._set_apart(source, [*targets, *by, *weights], ignore)
        read = {*targets, *weights}
        wanted = [name for name in source.schema.names if name not in self._apart or name in read]
        source.check_columns(wanted)
        # Whoever asks for a regression says that the targets are numbers.
        numbers_asked = plan.task == "regression" or plan.loss == "poisson" or len(targets) > 1
        numbers = [*weights, *(targets if numbers_asked else ())]
        options = {**reading.options, **dict.fromkeys(numbers, ColumnOptions(kind="number"))}
        labels = {} if numbers_asked else dict.fromkeys(targets, plan.task == "classification")
        self.source = Typed(source, wanted, replace(self._reading, options=options, labels=labels))

    def _set_apart(self, source: Source, apart: Sequence[str], ignore: Sequence[str]) -> set[str]:
        """The columns that are no features."""
        said = self._reading.options
        source.check_columns([*apart, *(name for name in said if said[name].kind != "ignore")])
        there = {*source.schema.names, *source.odd}
        check_names(pa.schema([(name, pa.null()) for name in there]), [*ignore, *said])
        unlearnt = {name for name in source.unlearnt if name in there and name not in said}
        unasked = sorted(unlearnt - {*apart, *ignore})
        if unasked:
            warnings.warn(
                f"{source.name}: column {listed(unasked)} isn't learnt from, since it was a pandas frame's index or is "
                "the name of a folder above the data. To learn from it, give it options in --columns.",
                DataWarning,
                stacklevel=2,
            )
        ignored = {*ignore, *(name for name in said if said[name].kind == "ignore")}
        for name, reason in source.odd.items():
            if name not in ignored and name not in unlearnt:
                raise DataError(f"{reason} Leave it out: --ignore {shlex.quote(name)}")
        return {*apart, *ignore, *unlearnt} & {*source.schema.names}

    def count(self) -> int:
        """The number of rows; DataError if there are none."""
        source = self.source
        n = source.n_rows
        if n is None:
            n = _until_all_fits(lambda: sum(batch.num_rows for batch in source.batches(self.targets[:1])))
        if not n:
            raise DataError(f"{self.source.name}: there are no rows.")
        return n

    def schema(self) -> Schema:
        """The features' schema, with the types that are known by now."""
        text = [name for name in self.source.declared if name not in self._apart and name not in self._untyped]
        # A column without a value so far may get one: until then, something stands in for its type.
        stand_ins = {
            name: pa.string() if getattr(self._reading.options.get(name), "kind", None) == "category" else pa.float64()
            for name in self.source.empty
        }
        table = pa.schema((each.name, stand_ins.get(each.name, each.type)) for each in self.source.schema)
        return Schema.infer(table, self._apart, self._reading.options, self._reading.dialect, text)

    def target(self) -> TargetLearner:
        """What learns the target."""
        return TargetLearner(self.targets, self._plan.task, self._plan.class_weight, self._plan.loss)

    def statistics(self, schema: Schema) -> TableStatistics:
        """What learns the features, with the options of single columns."""
        return TableStatistics(schema, self._reading.options, self._plan.bins)


def surveyed(features: Features, held_out: HeldOut, advance: Callable[[int], object]) -> tuple[Schema, Survey]:
    """The features' schema and what `survey` finds. If a late value widens a column's type, it begins anew."""
    source = features.source

    def once() -> tuple[Schema, Survey]:
        schema, rows = features.schema(), 0
        source.n_skipped = 0

        def advanced(n: int) -> None:
            nonlocal rows
            rows += n
            advance(n)

        try:
            statistics, target = features.statistics(schema), features.target()
            return schema, survey(source, held_out, statistics, target, features.weight, advanced)
        except WidenedError:
            advance(-rows)
            raise

    found = _until_all_fits(once)
    if source.n_skipped:
        rows_were = "1 row was" if source.n_skipped == 1 else f"{source.n_skipped} rows were"
        warnings.warn(f"{rows_were} left out, the first one at {source.first_skipped}.", DataWarning, stacklevel=3)
    return found


def _until_all_fits(read: Callable[[], T]) -> T:
    """The result of a pass over a source, which begins anew as long as a late value widens a column's type."""
    while True:
        try:
            return read()
        except WidenedError:
            continue
