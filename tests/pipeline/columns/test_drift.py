"""The population stability index: against its formula, and on data that has moved and data that hasn't."""

import numpy as np
import pyarrow as pa
import pytest
from tables import learnt

from fastnn.pipeline.columns.drift import ColumnDrift, Drift
from fastnn.pipeline.columns.encoding import Preprocessor

RNG = np.random.default_rng(0)


def drift(preprocessor: Preprocessor, table: pa.Table, rows: int = 50_000) -> dict[str, float]:
    found, row = Drift(preprocessor), 0
    for batch in table.to_batches(rows):
        found.update(batch, row)
        row += batch.num_rows
    report = found.report()
    assert [entry.name for entry in report] == [column.name for column in preprocessor.columns]
    return {entry.name: entry.psi for entry in report}


def a_table(n: int, shift: float = 0.0, holes: float = 0.1, words=(0.5, 0.4, 0.1)) -> pa.Table:
    return pa.table(
        {
            "x": pa.array(RNG.normal(shift, 1, n), mask=RNG.random(n) < holes),
            "t": RNG.choice(["a", "b", "c"], n, p=words),
            "flag": RNG.random(n) < 0.2,
            "day": pa.array(RNG.integers(0, 1000, n).astype(np.int32), pa.date32()),
        }
    )


def test_by_hand():
    preprocessor = learnt(pa.table({"t": ["a"] * 6 + ["b"] * 3 + [None]}))
    (psi,) = drift(preprocessor, pa.table({"t": ["a"] * 2 + ["b"] * 2 + ["new"] * 4 + [""] * 2})).values()
    p, q = np.array([0.6, 0.3, 1e-4, 0.1]), np.array([0.2, 0.2, 0.4, 0.2])
    assert psi == pytest.approx(np.sum((q - p) * np.log(q / p)), rel=1e-12)


def test_what_did_not_move():
    preprocessor = learnt(a_table(200_000))
    assert max(drift(preprocessor, a_table(300_000)).values()) < 0.001
    assert max(drift(preprocessor, a_table(2000)).values()) < 0.05


@pytest.mark.parametrize(
    ("moved", "column", "least"),
    [
        (a_table(20_000, shift=0.5), "x", 0.2),
        (a_table(20_000, holes=0.5), "x", 0.5),
        (a_table(20_000, words=(0.1, 0.8, 0.1)), "t", 0.5),
        (a_table(20_000).set_column(2, "flag", pa.array(RNG.random(20_000) < 0.5)), "flag", 0.3),
        (a_table(20_000).set_column(3, "day", pa.array([1500] * 20_000, pa.date32())), "day", 2),
    ],
)
def test_what_moved_is_named(moved, column, least):
    found = drift(learnt(a_table(50_000)), moved)
    assert found.pop(column) > least
    assert max(found.values()) < 0.01


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e9])
def test_a_constant_that_changes(constant):
    preprocessor = learnt(pa.table({"x": [constant] * 100}))
    assert drift(preprocessor, pa.table({"x": [constant] * 50}))["x"] == pytest.approx(0, abs=1e-6)
    for other in (constant - 1, constant + 1, np.inf, -np.inf, None):
        assert drift(preprocessor, pa.table({"x": pa.array([other] * 50, pa.float64())}))["x"] > 5


def test_it_depends_on_rows_alone():
    """It depends neither on how the rows are divided and encoded, nor on other columns."""
    preprocessor = learnt(a_table(1000))
    table = a_table(200_000, shift=0.1)
    expected = drift(preprocessor, table)
    assert drift(preprocessor, table, 7777) == expected
    views = table.set_column(1, "t", table["t"].cast(pa.string_view())).append_column("more", pa.nulls(200_000))
    assert drift(preprocessor, views.select(["more", "t", "flag", "x", "day"])) == expected
    encoded = table.set_column(1, "t", table["t"].dictionary_encode())
    assert drift(preprocessor, encoded) == expected


def test_no_rows():
    preprocessor = learnt(a_table(1000))
    assert Drift(preprocessor).report()[0] == ColumnDrift("x", 0.0)
