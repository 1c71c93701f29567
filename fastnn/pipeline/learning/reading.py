"""How a training reads its columns: what is declared of them, and the types that their text has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fastnn.pipeline.columns.options import PLAIN, ColumnOptions, Dialect
from fastnn.pipeline.columns.text import Spelling, type_of, type_of_names

# What the text of a column may be read as, if the column is declared to be of this kind: the first type that fits best.
DECLARED = {
    "number": (pa.float64(), pa.bool_()),
    "date": (pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.time64("us")),
    "boolean": (pa.bool_(),),
}


@dataclass(frozen=True)
class Reading:
    """How a training reads its columns.

    Attributes
    ----------
    dialect : Dialect
        How text is written.
    options : mapping of str to ColumnOptions
        The options of single columns: a column's declared kind tells its type.
    as_text : collection of str
        The columns that stay text: ids, of which every character counts.
    labels : mapping of str to bool
        The columns whose values may be classes, and whether they surely are. Their text becomes integers only if it
        comes back from them.
    required : collection of str
        The columns in which a row must have a value, such as the target.
    at_least_0 : collection of str
        The columns in which no value may be negative, such as weights.
    on_bad_row : {"fail", "null", "skip"}
        What becomes of a row with a text that can't be parsed: an error, a missing value, or no row. With "skip", rows
        without a required value and those with an infinite one are left out, too.
    """

    dialect: Dialect = PLAIN
    options: Mapping[str, ColumnOptions] = field(default_factory=dict)
    as_text: Collection[str] = ()
    labels: Mapping[str, bool] = field(default_factory=dict)
    required: Collection[str] = ()
    at_least_0: Collection[str] = ()
    on_bad_row: str = "fail"

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("fail", "null", "skip"):
            raise ValueError(f"on_bad_row must be fail, null or skip, got {self.on_bad_row!r}.")
        if not isinstance(self.dialect, Dialect):
            raise TypeError(f"dialect must be a fastnn.pipeline.Dialect, got {self.dialect!r}.")

    def kind(self, name: str) -> str | None:
        """The kind that a column is declared to be of."""
        said = self.options.get(name)
        return None if said is None else said.kind

    def spelling(self, name: str) -> Spelling:
        """How the text of a column is written, if it stays text."""
        missing = (self.options.get(name) or ColumnOptions()).missing or ()
        return Spelling(
            pa.string(),
            (*self.dialect.missing, *missing),
            self.dialect.strip,
            self.dialect.decimal,
            exact=self.kind(name) == "category" or name in self.labels,
        )

    def type_of(self, name: str, text: pa.Array) -> pa.DataType:
        """The type that some of a column's texts have."""
        spelling = self.spelling(name)
        if not spelling.exact:
            return type_of(text, spelling)
        if self.kind(name) == "category":
            return type_of_names(text, spelling, surely=True)
        if _has_fractions(text, spelling):  # which are no labels, as in formats with types
            return pa.float64()
        return type_of_names(text, spelling, surely=self.labels[name])


AS_IT_IS = Reading()


def _has_fractions(text: pa.Array, spelling: Spelling) -> bool:
    """Whether texts are numbers that aren't all whole."""
    numbers, unparsable = spelling._replace(type=pa.float64()).values(pc.unique(text))
    return not unparsable and bool(pc.any(pc.not_equal(pc.trunc(numbers), numbers)).as_py())
