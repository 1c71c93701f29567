"""The weights of rows, from a column and from the rows' classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastnn.pipeline.columns.schema import LEAVE_OUT, DataError, RowError, family_of
from fastnn.pipeline.columns.values import numbers_of

Float64 = NDArray[np.float64]


def weights_of(batch: pa.RecordBatch | pa.Table, name: str, first_row: int) -> Float64:
    """The weights in a column of a batch; `first_row` is the number of rows before it.

    Raises
    ------
    DataError
        If a weight is missing, negative or infinite (a RowError), or the column isn't one of numbers.
    """
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if family_of(column.type) not in ("number", "boolean"):
        raise DataError(f"The column of weights {name!r} is {column.type}: weights are numbers of at least 0.")
    weights = np.asarray(numbers_of(column), np.float64)
    wrong = ~((weights >= 0) & (weights < np.inf))
    if wrong.any():
        row = int(wrong.argmax())
        value = "missing" if np.isnan(weights[row]) else f"{weights[row]:g}"
        problem = f"the weight {name!r} is {value}, but weights are finite numbers of at least 0. {LEAVE_OUT}"
        raise RowError(first_row + row, problem)
    return weights


@dataclass(frozen=True, eq=False)
class Weighing:
    """How much each row of a training weighs.

    Attributes
    ----------
    column : str or None
        The column of weights.
    of_classes : ndarray of float64, or None
        The factor of each class.
    """

    column: str | None = None
    of_classes: Float64 | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [] if self.column is None else [self.column]

    def weights(self, batch: pa.RecordBatch | pa.Table, y: NDArray[Any]) -> Float64 | None:
        """The weights of a batch's rows, given what the network learns of them; None if all weigh the same."""
        found = None if self.column is None else weights_of(batch, self.column, 0)
        if self.of_classes is not None:
            factors = self.of_classes[y]
            found = factors if found is None else found * factors
        return found

    def described(self) -> Any:
        """What identifies the weights, as JSON can express it."""
        return [self.column, None if self.of_classes is None else self.of_classes.tolist()]


UNWEIGHTED = Weighing()
