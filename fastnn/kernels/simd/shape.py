"""The sizes that the processor gives to the operations here: see the package's glossary for line, panel and tile."""

from __future__ import annotations

from typing import NamedTuple

from fastnn.runtime.compiler import inline
from fastnn.runtime.machine import host_features, vector_bytes

LINE_BYTES = 64
PANEL_LINES = 2


class Shape(NamedTuple):
    """The tile that fits a processor: a vector register's bytes, the tile's rows, and the lines it covers at once."""

    vector_bytes: int
    rows: int
    lines: int


def choose_shape(features: str) -> Shape:
    """The tile for a processor with these features (LLVM's feature string).

    The tile is 8 rows by 2 lines with AVX-512 (16 accumulators; 2 loads and 8 broadcasts for 16 multiply-adds), 6 rows
    by 1 line with AVX2 (12 accumulators), and 6 rows by 1 line with NEON (24 accumulators).
    """
    width = vector_bytes(features)
    return Shape(width, rows=8, lines=2) if width == 64 else Shape(width, rows=6, lines=1)


SHAPE = choose_shape(host_features())
ROWS = SHAPE.rows
# The sums of a single row and one panel are too few to keep the multipliers busy: `row_tile` takes several panels.
ROW_PANELS = 4 if SHAPE.lines == PANEL_LINES else 2


@inline
def lanes_of(itemsize: int) -> int:
    """The number of lanes of a vector register, given the bytes of one number."""
    return SHAPE.vector_bytes // itemsize


@inline
def dot_shape(lanes: int) -> tuple[int, int]:
    """The numbers of left and right rows that `dots` takes: their product, the number of sums, is `lanes`."""
    n_rows = 4 if lanes >= 8 else 2
    return n_rows, lanes // n_rows
