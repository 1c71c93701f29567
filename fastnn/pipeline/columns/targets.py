"""What a training learns to predict: the classes of a column, or numbers, which are standardised for the network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.errors import DataWarning
from fastnn.pipeline.columns.labels import ClassLearner, Missing, class_factors, class_indices
from fastnn.pipeline.columns.schema import LEAVE_OUT, DataError, RowError, family_of, listed, value_type
from fastnn.pipeline.columns.statistics import Moments
from fastnn.pipeline.columns.values import numbers_of

Task = Literal["classification", "regression"]
Array = NDArray[Any]

# More whole numbers than this are rather amounts than classes.
_FEW_VALUES = 50


@dataclass(frozen=True, eq=False)
class ClassTarget:
    """A column whose values are classes.

    Attributes
    ----------
    name : str
        The column's name.
    classes : ndarray
        The sorted labels: an array of str, int64 or bool.
    """

    task: ClassVar[Task] = "classification"
    output: ClassVar[str] = "softmax"

    name: str
    classes: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The target columns' names."""
        return (self.name,)

    @property
    def n_outputs(self) -> int:
        """The number of outputs that a network needs."""
        return len(self.classes)

    def values(self, table: pa.RecordBatch | pa.Table, dtype: np.dtype[Any]) -> Array:
        """What a network learns of these rows: the classes' indices, int64, shape (n,).

        The errors are those of `class_indices`. No rows are no error.
        """
        column = table.column(self.name)
        if not len(column):
            return np.empty(0, np.int64)
        return class_indices(
            self.name, column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column]), self.classes
        )

    def described(self) -> Any:
        """What identifies the target, as JSON can express it."""
        return [self.name, self.classes.tolist()]


@dataclass(frozen=True)
class NumberTarget:
    """One or several columns of numbers. The network learns ``(y - centre) / scale`` of each.

    Attributes
    ----------
    names : tuple of str
        The columns' names.
    centre, scale : tuple of float
        The mean and the standard deviation of each column in training; for a Poisson loss 0 and the mean.
    output : {"identity", "exp"}
        The network's output, which is exp for a Poisson loss.
    """

    task: ClassVar[Task] = "regression"
    classes: ClassVar[None] = None

    names: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    output: str = "identity"

    @property
    def n_outputs(self) -> int:
        """The number of outputs that a network needs."""
        return len(self.names)

    def values(self, table: pa.RecordBatch | pa.Table, dtype: np.dtype[Any]) -> Array:
        """What a network learns of these rows: the standardised numbers, of the dtype, shape (n, n_outputs).

        Raises
        ------
        DataError
            If a value is missing, infinite, or no number.
        """
        numbers = [known_numbers(name, table.column(name)) for name in self.names]
        with np.errstate(over="ignore"):
            columns = [
                (values - centre) / scale
                for values, centre, scale in zip(numbers, self.centre, self.scale, strict=True)
            ]
            found: Array = np.column_stack(columns).astype(dtype)
        for name, column in zip(self.names, found.T, strict=True):
            if not np.isfinite(column).all():
                raise DataError(f"The target {name!r} holds a value too far from the others for {dtype}.")
        return found

    def in_own_unit(self, outputs: Array) -> list[NDArray[np.float64]]:
        """The predictions of each column, given a network's outputs, a row for each column.

        They are float64: float32 would round 1,000,000.3 to 1,000,000.25, whatever the network has learnt.
        """
        return [
            centre + scale * values.astype(np.float64)
            for values, centre, scale in zip(outputs, self.centre, self.scale, strict=True)
        ]

    def tensors(self) -> dict[str, np.ndarray]:
        """The numbers as float64 arrays."""
        return {"centre": np.array(self.centre, np.float64), "scale": np.array(self.scale, np.float64)}

    @classmethod
    def from_parts(cls, names: Sequence[str], tensors: Mapping[str, np.ndarray], output: str) -> NumberTarget:
        """The target with these columns, the numbers of `tensors`, and this output of a network.

        Raises
        ------
        KeyError, ValueError
            If these don't fit together.
        """
        centre, scale = tensors["centre"], tensors["scale"]
        fit = len(names) == len({*names}) == len(centre) == len(scale) > 0
        numbers = np.array([centre, scale]) if fit else np.array([[np.nan]])
        if numbers.dtype != np.float64 or not np.isfinite(numbers).all() or min(scale) <= 0:
            raise ValueError("the target's names, means and deviations don't fit together")
        return cls(tuple(names), tuple(centre.tolist()), tuple(scale.tolist()), output)

    def described(self) -> Any:
        """What identifies the target, as JSON can express it."""
        return [list(self.names), self.centre, self.scale, self.output]


Target = ClassTarget | NumberTarget


def known_numbers(name: str, column: pa.Array | pa.ChunkedArray) -> Array:
    """A target's values as numbers; RowError if one is missing or infinite, DataError if they are no numbers."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # as a column without rows stays
        column = pa.array([], column.type)
    if family_of(column.type) not in ("number", "boolean"):
        raise DataError(f"The target {name!r} is {column.type}: a regression needs numbers.")
    numbers = numbers_of(column)
    if numbers.dtype.kind == "f":
        missing = Missing([name])
        missing.note(np.isnan(numbers), 0)
        missing.refuse()
        _refuse_infinite(name, numbers, 0)
    return numbers


def _refuse_infinite(name: str, numbers: Array, first_row: int) -> None:
    infinite = np.isinf(numbers)
    if infinite.any():
        raise RowError(first_row + int(infinite.argmax()), f"the target {name!r} holds an infinite value. {LEAVE_OUT}")


class TargetLearner:
    """Learns what a training is to predict, batch by batch: classes, or the numbers' means and deviations.

    Parameters
    ----------
    names : sequence of str
        The target columns. Several are those of a regression.
    task : {"classification", "regression"}, optional
        By default columns of floating point or decimal types are numbers, and others classes.
    class_weight : dict, "balanced" or None
        The weights of the classes.
    loss : {"squared_error", "poisson"}
        The loss of a regression.
    """

    def __init__(
        self,
        names: Sequence[str],
        task: str | None = None,
        class_weight: Any = None,
        loss: str = "squared_error",
    ) -> None:
        self.names = tuple(names)
        if loss == "poisson":
            if task == "classification":
                raise DataError("A classification has no Poisson loss: leave out the loss, or ask for a regression.")
            task = "regression"
        self._task, self._class_weight, self._loss = task, class_weight, loss
        if len(names) > 1:
            if task == "classification":
                raise DataError(f"A classification has one target, not {listed(names)}. Regression: --task regression")
            self._task = "regression"
        self._classes = ClassLearner(names[0])
        self._moments = Moments(len(names))
        self._rows, self._missing = 0, Missing(names)
        # A column of a floating type may hold classes; until a value tells that it doesn't, these are all values.
        self._few: set[float] | None = set() if self._task is None else None
        self._learns = self._task

    def update(self, batch: pa.RecordBatch, keep: NDArray[np.bool_], weight: NDArray[np.float64] | None = None) -> None:
        """Add rows. `keep` says which of them are trained on, whose mean and deviation count, by their weights.

        Raises
        ------
        DataError
            If the values can't be what they are to be.
        """
        if self._learns is None:
            type_ = batch.schema.field(self.names[0]).type
            plain = value_type(type_)
            numbers = pa.types.is_floating(plain) or pa.types.is_decimal(plain)
            self._learns = "regression" if numbers else "classification"
        if self._learns == "classification":
            of_rows = keep.astype(np.float64) if weight is None else keep * weight
            self._classes.update(batch.column(self.names[0]), of_rows if self._class_weight == "balanced" else None)
            return
        columns = []
        for name in self.names:
            column = batch.column(name)
            if family_of(column.type) not in ("number", "boolean") and not pa.types.is_null(column.type):
                raise DataError(f"The target {name!r} is {column.type}: a regression needs numbers.")
            columns.append(np.asarray(numbers_of(column), np.float64))
        values = np.array(columns)
        self._missing.note(np.isnan(values.sum(axis=0)), self._rows)
        for name, numbers in zip(self.names, values, strict=True):
            _refuse_infinite(name, numbers, self._rows)
        self._rows += values.shape[1]
        if weight is None:
            self._moments.update(values[:, keep])
        else:
            keep = keep & (weight > 0)
            self._moments.update(values[:, keep], weight[keep])
        self._note_few(values[0])

    def _note_few(self, values: NDArray[np.float64]) -> None:
        if self._few is not None:
            distinct = np.unique(values[~np.isnan(values)])
            self._few.update(distinct[: _FEW_VALUES + 1].tolist())
            if len(self._few) > _FEW_VALUES or (distinct != np.trunc(distinct)).any():
                self._few = None

    def finish(self) -> Target:
        """What was learnt.

        Raises
        ------
        DataError
            If values are missing (a RowError), there are fewer than two classes, or it isn't clear whether numbers are
            classes.
        """
        if self._learns != "regression":
            return self._finish_classes()
        if not self._rows:
            raise DataError("There are no rows.")
        self._missing.refuse(self._rows)
        if self._few is not None:
            values = ", ".join(f"{value:g}" for value in sorted(self._few)[:5])
            raise DataError(
                f"The target {self.names[0]!r} has a floating type, but few values, all of them whole: {values}"
                f"{', ...' if len(self._few) > 5 else ''}. Are they classes (--task classification) or numbers (--task "
                "regression)?"
            )
        if self._loss == "poisson":
            return self._finish_counts()
        standard = [self._moments.standard(i, name) for i, name in enumerate(self.names)]
        return NumberTarget(self.names, tuple(mean for mean, _ in standard), tuple(scale for _, scale in standard))

    def _finish_counts(self) -> NumberTarget:
        """Counts, which the network learns in units of their mean."""
        means = [self._moments.standard(i, name)[0] for i, name in enumerate(self.names)]
        for name, low, mean in zip(self.names, self._moments.low, means, strict=True):
            if low < 0:
                raise DataError(f"The target {name!r} has negative values, of which there is no Poisson loss.")
            if not mean:
                raise DataError(f"The target {name!r} is 0 in all rows: there is nothing to learn.")
        return NumberTarget(self.names, (0.0,) * len(means), tuple(means), "exp")

    def factors(self, target: Target) -> NDArray[np.float64] | None:
        """The factor of each class's weight, if the classes have weights.

        Raises
        ------
        DataError
            If the target has no classes, or the weights don't fit them.
        """
        if self._class_weight is None:
            return None
        if not isinstance(target, ClassTarget):
            raise DataError(f"A regression of {listed(target.names)} has no classes: leave class_weight out.")
        of_classes = np.array([self._classes.weights[label] for label in target.classes.tolist()], np.float64)
        return class_factors(self._class_weight, target.classes, of_classes)

    def _finish_classes(self) -> ClassTarget:
        classes = self._classes.finish()
        if self._task is None and classes.dtype == np.int64 and len(classes) > _FEW_VALUES:
            warnings.warn(
                f"The target {self.names[0]!r} has {len(classes)} whole numbers, which are learnt as classes. To learn "
                "them as numbers: --task regression",
                DataWarning,
                stacklevel=3,
            )
        return ClassTarget(self.names[0], classes)
