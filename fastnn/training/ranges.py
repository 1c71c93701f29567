"""What an option accepts: numbers in a range, certain words, True and False. Each range checks the values given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import check_boolean, check_whole


@dataclass(frozen=True)
class Real:
    """Accepts finite numbers from `low` to `high`. `closed` says which of the two bounds are included."""

    low: float
    high: float = math.inf
    closed: str = "left"
    words = "float"

    def checked(self, name: str, value: Any, or_none: str = "") -> float:
        """The value as a float; a TypeError or a ValueError if it isn't accepted."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be {self.wanted}{or_none}, got {value!r}.")
        above = self.low < value or (value == self.low and self.closed != "neither")
        below = value < self.high or (value == self.high and self.closed == "both")
        if not (above and below):
            raise ValueError(f"{name} must be {self.wanted}{or_none}, got {value}.")
        return float(value)

    @property
    def wanted(self) -> str:
        """The range in words."""
        if math.isinf(self.high):
            return f"a finite number {'above' if self.closed == 'neither' else 'of at least'} {self.low:g}"
        if self.closed == "both":
            return f"a number from {self.low:g} to {self.high:g}"
        return f"a number of at least {self.low:g} and below {self.high:g}"


@dataclass(frozen=True)
class Whole:
    """Accepts whole numbers of at least `low`, and below ``2**bits``."""

    low: int
    bits: int | None = None
    words = "int"

    def checked(self, name: str, value: Any, or_none: str = "") -> int:
        """The value as an int; a TypeError or a ValueError if it isn't accepted."""
        number = check_whole(name, value, self.low, or_none)
        if self.bits is not None and number >= 2**self.bits:
            raise ValueError(f"{name} must be below 2**{self.bits}{or_none}, got {value}.")
        return number


@dataclass(frozen=True)
class Flag:
    """Accepts True and False."""

    words = "bool"

    def checked(self, name: str, value: Any, or_none: str = "") -> bool:
        """The value as a bool; a TypeError if it is something else."""
        return check_boolean(name, value)


@dataclass(frozen=True)
class Choice:
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


@dataclass(frozen=True)
class Other:
    """Accepts what no range describes. `constraints` are those of scikit-learn that need no import."""

    words: str
    constraints: tuple[Any, ...] = ()


NONE = Other("None", (None,))
Accepted = Real | Whole | Flag | Choice | Other
