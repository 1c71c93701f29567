"""Fit the polynomials of `fastnn.kernels.equations.elementary` and print the tables that stand there.

    python tools/fit_elementary.py           print the tables
    python tools/fit_elementary.py --check   compare them with the file; exit with 1 if they differ

Each table is the polynomial with the least greatest relative error in the function that it serves (Remez's exchange),
its coefficients rounded to the dtype one after the other, the lowest first, and the rest fitted again after each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath
import numpy as np
from mpmath import mp, mpf

SOURCE = Path(__file__).parents[1] / "fastnn/kernels/equations/elementary.py"
GRID_POINTS = 1500
mp.prec = 240


@dataclass(frozen=True)
class Split:
    """ln(2) in two parts: the high one, times any exponent of the dtype, has no rounding error."""

    name: str
    dtype: type[np.floating]

    def table(self) -> str:
        """The two parts as they stand in the source."""
        info = np.finfo(self.dtype)
        with mp.workprec(info.nmant + 1 - info.nexp):
            high = +mpmath.ln2
        low = nearest(mpmath.ln2 - high, self.dtype)
        return f"{self.name} = ({nearest(high, self.dtype)!s}, {low!s})"


@dataclass(frozen=True)
class Fit:
    """One table: ``x + x**2 * polynomial(x)`` is to be `function` on the interval, with `terms` coefficients."""

    name: str
    dtype: type[np.floating]
    function: Callable[[mpf], mpf]
    low: mpf
    high: mpf
    terms: int

    def table(self) -> str:
        """The coefficients as they stand in the source, the highest first."""
        coefficients, error = fitted(self)
        lines = [f"    {c!s}," for c in reversed(coefficients)]
        return "\n".join([f"{self.name} = (  # relative error {mpmath.nstr(error, 3)}", *lines, ")"])


# The reduced argument of exp is at most ln(2)/2, and a little more: the quotient by ln(2) is itself rounded.
HALF_LN2 = mpmath.ln2 / 2 * mpf("1.0001")
# The logarithm's argument lies between sqrt(1/2) and sqrt(2), less 1.
LOG_LOW, LOG_HIGH = mpmath.sqrt(mpf("0.5")) - 1, mpmath.sqrt(mpf(2)) - 1

TABLES = [
    Fit("_EXPM1_32", np.float32, mpmath.expm1, -HALF_LN2, HALF_LN2, terms=5),
    Fit("_EXPM1_64", np.float64, mpmath.expm1, -HALF_LN2, HALF_LN2, terms=10),
    Fit("_LOG1P_32", np.float32, mpmath.log1p, LOG_LOW, LOG_HIGH, terms=9),
    Fit("_LOG1P_64", np.float64, mpmath.log1p, LOG_LOW, LOG_HIGH, terms=20),
    Split("_LN2_32", np.float32),
    Split("_LN2_64", np.float64),
]


def polynomial(coefficients: list[mpf], x: mpf) -> mpf:
    """The polynomial with these coefficients, the lowest first, at x."""
    return mpmath.polyval(coefficients[::-1], x)


class Grid:
    """The points that an error is measured at (Chebyshev's, dense at both ends), with target and weight there.

    With target ``(f(x) - x) / x**2`` and weight ``|x**2 / f(x)|``, the weighted error of a polynomial is the
    relative error of ``x + x**2 * polynomial(x)`` in f.
    """

    def __init__(self, fit: Fit) -> None:
        middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
        angles = [mpmath.pi * (2 * i + 1) / (2 * GRID_POINTS) for i in range(GRID_POINTS)]
        self.x = [middle - half * mpmath.cos(angle) for angle in angles]
        values = [fit.function(x) for x in self.x]
        self.target = [(value - x) / x**2 for x, value in zip(self.x, values, strict=True)]
        self.weight = [abs(x**2 / value) for x, value in zip(self.x, values, strict=True)]

    def errors(self, coefficients: list[mpf]) -> list[mpf]:
        """The weighted error at every point."""
        points = zip(self.x, self.target, self.weight, strict=True)
        return [(polynomial(coefficients, x) - target) * weight for x, target, weight in points]

    def fix(self, coefficient: mpf) -> None:
        """Fix the lowest coefficient. From now on, the target and the weight are those for the other coefficients."""
        self.target = [(target - coefficient) / x for x, target in zip(self.x, self.target, strict=True)]
        self.weight = [abs(weight * x) for x, weight in zip(self.x, self.weight, strict=True)]


def minimax(grid: Grid, terms: int) -> list[mpf]:
    """The `terms` coefficients with the least greatest error."""
    chosen = [round((i + 0.5) * (GRID_POINTS - 1) / (terms + 1)) for i in range(terms + 1)]
    while True:
        matrix, target = mp.matrix(terms + 1), mp.matrix(terms + 1, 1)
        for row, i in enumerate(chosen):
            for column in range(terms):
                matrix[row, column] = grid.x[i] ** column
            matrix[row, terms] = (-1) ** row / grid.weight[i]
            target[row] = grid.target[i]
        *coefficients, level = mp.lu_solve(matrix, target)
        errors = grid.errors(coefficients)
        if max(map(abs, errors)) <= abs(level) * mpf("1.001"):
            return coefficients
        chosen = exchange(errors, terms + 1)


def exchange(errors: list[mpf], count: int) -> list[int]:
    """The places of `count` extrema of alternating sign, the greatest error among them."""
    extrema: list[int] = []  # the greatest of each run of one sign
    for i, error in enumerate(errors):
        if extrema and error * errors[extrema[-1]] > 0:
            if abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        else:
            extrema.append(i)
    while len(extrema) > count:
        size = [abs(errors[i]) for i in extrema]
        least = size.index(min(size))
        if len(extrema) == count + 1 or least in (0, len(extrema) - 1):
            del extrema[0 if size[0] < size[-1] else -1]
        else:  # with its lesser neighbour, so that the signs still alternate
            first = least - 1 if size[least - 1] < size[least + 1] else least
            del extrema[first : first + 2]
    return extrema


def fitted(fit: Fit) -> tuple[list[np.floating], mpf]:
    """The rounded coefficients, the lowest first, and the greatest relative error that they leave."""
    grid = Grid(fit)
    rounded: list[np.floating] = []
    while len(rounded) < fit.terms:
        lowest = nearest(minimax(grid, fit.terms - len(rounded))[0], fit.dtype)
        grid.fix(mpf(float(lowest)))
        rounded.append(lowest)
    return rounded, max(map(abs, grid.errors([])))


def nearest(x: mpf, dtype: type[np.floating]) -> np.floating:
    """`x` rounded once to the dtype."""
    with mp.workprec(np.finfo(dtype).nmant + 1):
        return dtype(float(+x))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of printing")
    check = parser.parse_args().check
    source = SOURCE.read_text()
    stale = 0
    for text in (table.table() for table in TABLES):
        if not check:
            print(text)
        elif text not in source:
            stale += 1
            print(f"{SOURCE} lacks this table:\n{text}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
