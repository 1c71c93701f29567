"""What an option of training is: the values that it accepts, its meaning, and its use in each interface."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import check_boolean, check_whole


class Real(NamedTuple):
    """Accepts finite numbers from `low` to `high`. `closed` says which of the two bounds are included."""

    low: float
    high: float = math.inf
    closed: str = "left"

    @property
    def words(self) -> str:
        """The type, for a docstring."""
        return "float"

    def checked(self, name: str, value: Any, or_none: str = "") -> float:
        """The value as a float; a TypeError or a ValueError if it isn't accepted."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be {self.wanted}{or_none}, got {value!r}.")
        above = self.low < value or (value == self.low and self.closed != "neither")
        below = value < self.high or (value == self.high and self.closed == "both")
        if not (above and below):
            raise ValueError(f"{name} must be {self.wanted}{or_none}, got {value}.")
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name} must be {self.wanted}{or_none}, got one that is too large for a float.") from None

    @property
    def wanted(self) -> str:
        """The range in words."""
        if math.isinf(self.high):
            return f"a finite number {'above' if self.closed == 'neither' else 'of at least'} {self.low:g}"
        if self.closed == "both":
            return f"a number from {self.low:g} to {self.high:g}"
        return f"a number of at least {self.low:g} and below {self.high:g}"


class Whole(NamedTuple):
    """Accepts whole numbers of at least `low`, and below ``2**bits``."""

    low: int
    bits: int | None = None

    @property
    def words(self) -> str:
        """The type, for a docstring."""
        return "int"

    def checked(self, name: str, value: Any, or_none: str = "") -> int:
        """The value as an int; a TypeError or a ValueError if it isn't accepted."""
        number = check_whole(name, value, self.low, or_none)
        if self.bits is not None and number >= 2**self.bits:
            raise ValueError(f"{name} must be below 2**{self.bits}{or_none}, got {value}.")
        return number


class Flag(NamedTuple):
    """Accepts True and False."""

    @property
    def words(self) -> str:
        """The type, for a docstring."""
        return "bool"

    def checked(self, name: str, value: Any, or_none: str = "") -> bool:
        """The value as a bool; a TypeError if it is something else."""
        return check_boolean(name, value)


class Choice(NamedTuple):
    """Accepts one of some words."""

    values: tuple[str, ...]

    @property
    def words(self) -> str:
        """The type, for a docstring."""
        quoted = ", ".join(f'"{value}"' for value in self.values)
        return quoted if len(self.values) == 1 else f"{{{quoted}}}"

    def checked(self, name: str, value: Any, or_none: str = "") -> str:
        """The value itself; a ValueError if it is none of the words."""
        if value not in self.values:
            *most, last = map(repr, self.values)
            raise ValueError(f"{name} must be {', '.join(most)} or {last}{or_none}, got {value!r}.")
        return str(value)


class Other(NamedTuple):
    """Accepts values that only `words` describes. `constraints` are those of scikit-learn that need no import of it."""

    words: str
    constraints: tuple[Any, ...] = ()


NONE = Other("None", (None,))
Accepted = Real | Whole | Flag | Choice | Other


class Use(NamedTuple):
    """An option in one interface, with whatever differs there."""

    default: Any
    name: str = ""  # the option's name, if it is another one in this interface
    note: str = ""  # what has to be said in this interface beside the option's meaning
    accepts: tuple[Accepted, ...] = ()  # what is accepted in this interface, if it is something else
    summary: str = ""  # the option's meaning in this interface, if it is another one


class Option(NamedTuple):
    """An option: the alternatives that it accepts, its meaning in one sentence, and the interfaces that have it."""

    accepts: tuple[Accepted, ...]
    summary: str
    details: str  # what else there is to say; the command line leaves it out
    uses: dict[Enum, Use]


def option(
    accepts: Accepted | tuple[Accepted, ...], summary: str, uses: Mapping[Any, Any], details: str = ""
) -> Option:
    """An `Option`; in `uses`, a default alone stands for the `Use` with that default."""
    every = {interface: use if isinstance(use, Use) else Use(use) for interface, use in uses.items()}
    return Option((accepts,) if isinstance(accepts, Accepted) else accepts, summary, details, every)
