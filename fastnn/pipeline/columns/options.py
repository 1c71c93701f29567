"""How a table is written, and how its single columns are used: options that are given in a call or in a TOML file."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple, get_args

from fastnn.errors import is_whole

Kind = Literal["number", "category", "date", "boolean"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_FOR_NUMBERS = ("impute", "standardise")
_FOR_CATEGORIES = ("categories", "max_categories")


@dataclass(frozen=True)
class Dialect:
    """How a table's text is written. The first three attributes are those of CSV files alone.

    Parameters
    ----------
    delimiter : str
        The character between two values of a line.
    decimal : str
        The character before a number's decimal places.
    encoding : str
        The encoding, by its name in Python.
    missing : tuple of str
        The texts that stand for a missing value, beside those that CSV has anyway where a value is a number or a date
        (nothing, "NA", "null", "nan" and the like).
    strip : bool
        Whether blanks before and after a text are left out. Numbers and dates may always have some.

    Raises
    ------
    ValueError
        If an attribute has another value.
    """

    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()
    strip: bool = False

    def __post_init__(self) -> None:
        if self.delimiter == "\\t":  # as it is typed in a shell
            object.__setattr__(self, "delimiter", "\t")
        for name in ("delimiter", "decimal"):
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in '"\r\n+-':
                raise ValueError(f"{name} must be one ASCII character and no sign or quotation mark, got {value!r}.")
            if value.isalnum():
                raise ValueError(f"{name} can't be a letter or a digit, got {value!r}.")
        if self.delimiter == self.decimal:
            raise ValueError(f"delimiter and decimal must differ, got {self.decimal!r} for both.")
        try:
            known = "a,b".encode(self.encoding).decode(self.encoding) == "a,b" and self.encoding != "punycode"
        except (LookupError, TypeError, ValueError):
            known = False
        if not known:
            raise ValueError(
                f"encoding must be one that Python knows, such as utf-8 or latin-1, got {self.encoding!r}."
            )
        object.__setattr__(self, "missing", texts("missing", self.missing))
        if not isinstance(self.strip, bool):
            raise ValueError(f"strip must be True or False, got {self.strip!r}.")

    def changed(self, **said: Any) -> Dialect:
        """The dialect with other attributes; those that are None stay."""
        return replace(self, **{name: value for name, value in said.items() if value is not None})

    def description(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON can express it."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Dialect:
        """The dialect that `description` described; TypeError or ValueError if it doesn't describe one."""
        return cls(**description)


def texts(name: str, value: Any) -> tuple[str, ...]:
    """The value of an option that is a list of texts; a single text stands for a list of one."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, Collection) or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"{name} must be a list of texts, got {value!r}.")
    return tuple(dict.fromkeys(listed))


# UTF-8, with commas between the values of a line.
PLAIN = Dialect()


@dataclass(frozen=True)
class ColumnOptions:
    """The options of one column. An option that is None has its default.

    Parameters
    ----------
    kind : {"number", "category", "date", "boolean", "ignore"}, optional
        How the column is used. The default follows from the column's type. Integers and booleans can be categories;
        text can be read as numbers, dates or booleans.
    impute : {"mean", "median"}, optional
        What replaces a missing number or date; by default the mean.
    indicator : bool, optional
        Whether an additional input says that the value is missing. By default there is one if the column had missing
        values in training.
    standardise : bool, optional
        Whether numbers are scaled to a mean of 0 and a standard deviation of 1. By default all are except booleans.
    categories : sequence of str, optional
        The categories; by default the most frequent ones of the data.
    max_categories : int, optional
        The largest number of categories that have inputs of their own; by default 255.
    missing : sequence of str, optional
        Texts that stand for a missing value in this column, beside those of the whole table (see `Dialect`).

    Raises
    ------
    ValueError
        If an option has another value.
    """

    kind: Kind | Literal["ignore"] | None = None
    impute: Literal["mean", "median"] | None = None
    indicator: bool | None = None
    standardise: bool | None = None
    categories: tuple[str, ...] | None = None
    max_categories: int | None = None
    missing: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_word("kind", self.kind, (*KINDS, "ignore"))
        _check_word("impute", self.impute, ("mean", "median"))
        for name in ("indicator", "standardise"):
            if not isinstance(getattr(self, name), bool | None):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}.")
        if self.categories is not None:
            listed = list(self.categories) if isinstance(self.categories, list | tuple) else []
            if not listed or not all(isinstance(each, str) and each for each in listed):
                raise ValueError(f"categories must be a list of words, got {self.categories!r}.")
            if len(set(listed)) < len(listed):
                raise ValueError("categories must differ from one another.")
            object.__setattr__(self, "categories", tuple(listed))
            if self.max_categories is not None:
                raise ValueError("categories and max_categories exclude one another.")
        if self.missing is not None:
            object.__setattr__(self, "missing", texts("missing", self.missing))
        if self.kind == "ignore" and any(value is not None for name, value in asdict(self).items() if name != "kind"):
            raise ValueError("a column to ignore has no other options.")
        most = self.max_categories
        if most is not None and not is_whole(most, least=1):
            raise ValueError(f"max_categories must be a whole number of at least 1, got {most!r}.")

    def check_kind(self, kind: Kind) -> None:
        """Raise a ValueError if there is an option that columns of this kind don't have."""
        unfit = _FOR_NUMBERS if kind == "category" else _FOR_CATEGORIES
        said = [name for name in unfit if asdict(self)[name] is not None]
        if said:
            raise ValueError(f"{said[0]} means nothing for a {kind}.")


def column_options(columns: Mapping[str, ColumnOptions | Mapping[str, Any]]) -> dict[str, ColumnOptions]:
    """The options of each column as `ColumnOptions`, from mappings with the names of its fields.

    Raises
    ------
    ValueError
        If an option doesn't exist or has a wrong value. The message names the column.
    """
    if not isinstance(columns, Mapping):
        raise ValueError(f"columns must map names to options, got {columns!r}.")
    return {name: _options(name, said) for name, said in columns.items()}


class TableOptions(NamedTuple):
    """What a TOML file says: the options of single columns, and the texts that stand for missing values anywhere."""

    columns: dict[str, ColumnOptions]
    missing: tuple[str, ...] = ()


def read_columns(path: str | os.PathLike[str]) -> TableOptions:
    """The options in a TOML file that has a table for each column: ``[price]``, ``impute = "median"``.

    Before the first table there may be ``missing = ["?"]``.

    Raises
    ------
    ValueError
        If the file isn't one of this form. The message names the file.
    OSError
        If the file can't be read.
    """
    with open(path, encoding="utf-8-sig") as file:  # since Windows' editors begin a file with a byte order mark
        try:
            said = tomllib.loads(file.read())
            missing = () if isinstance(said.get("missing"), dict) else texts("missing", said.pop("missing", ()))
            return TableOptions(column_options(said), missing)
        except ValueError as error:  # TOML's errors and those of text that isn't UTF-8 are ValueErrors
            raise ValueError(f"{path}: {error}") from None


def hint(name: str, names: Collection[str]) -> str:
    """A message's hint to the name that is most like `name`, or an empty string if none is."""
    by_case = {each.casefold(): each for each in reversed(list(names))}
    close = difflib.get_close_matches(name.casefold(), by_case, n=1)
    return f" ({by_case[close[0]]!r} looks like it)" if close else ""


def _options(name: str, said: ColumnOptions | Mapping[str, Any]) -> ColumnOptions:
    if isinstance(said, ColumnOptions):
        return said
    if not isinstance(said, Mapping):
        raise ValueError(f"Column {name!r}: expected options such as kind or impute, got {said!r}.")
    known = [field.name for field in fields(ColumnOptions)]
    for key in said:
        if key not in known:
            raise ValueError(f"Column {name!r}: there is no option {key!r}{hint(str(key), known)}: {', '.join(known)}.")
    try:
        return ColumnOptions(**said)
    except ValueError as error:
        raise ValueError(f"Column {name!r}: {error}") from None


def _check_word(name: str, value: Any, words: tuple[str, ...]) -> None:
    if value is not None and (not isinstance(value, str) or value not in words):
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r}.")
