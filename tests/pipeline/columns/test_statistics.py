"""The pass that learns columns: moments and counts against the whole data, and merging in any order."""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import learnt, statistics_of

from fastnn.pipeline.columns import sample
from fastnn.pipeline.columns import statistics as module
from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.options import column_options
from fastnn.pipeline.columns.schema import DataError, Schema
from fastnn.pipeline.columns.statistics import Moments, TableStatistics, deciles, knots_of


@pytest.mark.parametrize("mean", [0.0, 1e9, -1e9])
@pytest.mark.parametrize("rows", [17, 1000, 20_000])
def test_moments_against_numpy(mean, rows):
    values = np.random.default_rng(3).normal(mean, 1.0, 20_000)
    column = statistics_of(pa.table({"x": values}), rows).finish().columns[0]
    # The reference sums are exact.
    exact_mean = math.fsum(values) / len(values)
    exact_scale = math.sqrt(math.fsum((values - exact_mean) ** 2) / len(values))
    assert column.centre == pytest.approx(exact_mean, rel=1e-12, abs=1e-14)
    assert column.scale == pytest.approx(exact_scale, rel=1e-9)


def test_moments_after_a_first_value_that_is_far_off():
    values = np.random.default_rng(3).normal(1e9, 1.0, 500_000)
    values[0] = -1e9
    column = statistics_of(pa.table({"x": values}), 10_000).finish().columns[0]
    exact = math.fsum(values) / len(values)
    assert column.centre == pytest.approx(exact, rel=1e-12)
    assert column.scale == pytest.approx(math.sqrt(math.fsum((values - exact) ** 2) / len(values)), rel=1e-9)


COLUMN = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=6)


@settings(deadline=None)
@given(parts=st.lists(COLUMN, max_size=6), chance=st.randoms())
def test_moments_merge_in_any_order(parts, chance):
    def of(values):
        moments = Moments(1)
        moments.update(np.array([values], np.float64))
        return moments

    at_once = of([value for part in parts for value in part])
    merged = Moments(1)
    for part in chance.sample(parts, len(parts)):
        merged.merge(of(part))
    assert (merged.rows, merged.count, merged.low, merged.high) == (
        at_once.rows,
        at_once.count,
        at_once.low,
        at_once.high,
    )
    assert merged.pivot + merged.mean == pytest.approx(at_once.pivot + at_once.mean, rel=1e-9, abs=1e-9)
    assert merged.squares == pytest.approx(at_once.squares, rel=1e-9, abs=1e-3)


def a_table(n: int) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "x": pa.array(rng.normal(1e9, 1, n), mask=rng.random(n) < 0.1),
            "t": pa.array(rng.choice(["a", "b", "", "c"], n, p=[0.5, 0.3, 0.1, 0.1]), mask=rng.random(n) < 0.1),
            "i": rng.integers(0, 5, n),
            "flag": rng.random(n) < 0.3,
            "when": pa.array(rng.integers(0, 10**9, n), pa.timestamp("s")),
        }
    )


OPTIONS = {"x": {"impute": "median"}, "i": {"kind": "category", "max_categories": 3}}


def same(one: Preprocessor, other: Preprocessor) -> bool:
    """Whether two preprocessors differ at most by the rounding of moments."""
    parts, others = one.tensors(), other.tensors()
    for name in ("centre", "scale"):
        np.testing.assert_allclose(parts.pop(name), others.pop(name), rtol=1e-12)
    assert one.description() == other.description()
    fills, other_fills = parts.pop("fill"), others.pop("fill")
    np.testing.assert_allclose(fills, other_fills, rtol=1e-12)
    return all(np.array_equal(parts[name], others[name]) for name in parts)


@pytest.mark.parametrize("sample_rows", [100, 10_000])
def test_parts_in_any_order_are_the_whole(sample_rows, monkeypatch):
    monkeypatch.setattr(sample, "SAMPLE_ROWS", sample_rows)
    table = a_table(3000)
    whole = statistics_of(table, options=OPTIONS).finish()
    assert same(whole, statistics_of(table, 77, OPTIONS).finish())
    options = column_options(OPTIONS)
    schema = Schema.infer(table.schema, options=options)
    cuts = [0, 1, 500, 501, 2000, 3000]
    parts = []
    for start, stop in pairwise(cuts):
        part = TableStatistics(schema, options)
        part.update(table.slice(start, stop - start).combine_chunks().to_batches()[0], start)
        parts.append(part)
    merged = TableStatistics(schema, options)
    for which in (3, 0, 4, 2, 1):
        merged.merge(parts[which])
    merged.merge(TableStatistics(schema, options))
    assert same(whole, merged.finish())


def test_rows_left_out_leave_no_trace():
    table = a_table(3000)
    keep = np.random.default_rng(5).random(3000) < 0.7
    options = column_options(OPTIONS)
    statistics = TableStatistics(Schema.infer(table.schema, options=options), options)
    for start in range(0, 3000, 700):
        part = table.slice(start, 700).combine_chunks().to_batches()[0]
        statistics.update(part, start, keep[start : start + 700])
    # The sample has room for all rows, so their positions don't matter.
    assert same(statistics.finish(), learnt(table.filter(pa.array(keep)), OPTIONS))


def test_medians_and_shares_of_few_rows_are_exact():
    table = a_table(3000)
    x, t, i, flag, when = learnt(table, OPTIONS).columns
    known = table["x"].drop_null().to_numpy()
    assert x.fill == np.median(known) and x.indicator
    assert x.shares[-1] == pytest.approx(1 - len(known) / 3000)
    np.testing.assert_allclose(x.shares[:-1], len(known) / 3000 / 10, atol=1e-3)
    words = [word or None for word in table["t"].to_pylist()]
    assert t.categories == ("a", "b", "c") and not t.other
    assert t.shares == pytest.approx(
        [words.count(word) / 3000 for word in ("a", "b", "c")] + [0, words.count(None) / 3000]
    )
    numbers = table["i"].to_pylist()
    frequent = sorted(range(5), key=lambda n: (-numbers.count(n), str(n)))[:3]
    assert i.categories == tuple(sorted(map(str, frequent))) and i.other
    assert i.shares[3] == pytest.approx(1 - sum(numbers.count(n) for n in frequent) / 3000)
    assert (flag.centre, flag.scale) == (0, 1) and flag.fill == pytest.approx(np.mean(table["flag"]))
    assert (flag.kind, when.kind) == ("boolean", "date")
    assert when.centre == pytest.approx(table["when"].cast(pa.int64()).to_numpy().mean() / 86400)


def test_options():
    table = pa.table({"x": [1.0, 2.0, 9.0], "t": ["a", "b", "c"], "b": [True, None, False]})
    x, t, b = learnt(
        table,
        {
            "x": {"standardise": False, "indicator": True, "impute": "median"},
            "t": {"categories": ["z", "a"]},
            "b": {"standardise": True, "indicator": False},
        },
    ).columns
    assert (x.centre, x.scale, x.fill, x.indicator) == (0, 1, 2, True)
    assert t.categories == ("z", "a") and t.other and t.shares == (0, 1 / 3, 2 / 3, 0)
    assert (b.centre, b.scale, b.indicator) == (0.5, 0.5, False)


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.1, -3.0, 1e300, 5e-324])
def test_a_constant_is_exact(value):
    column = learnt(pa.table({"x": [value] * 1001})).columns[0]
    assert (column.centre, column.scale, column.fill) == (value, 1.0, value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": [1.0, math.inf]}, "'x' holds an infinite value"),
        ({"ok": [1.0, 2.0], "x": [1.0, -math.inf]}, "'x' holds an infinite value"),
        ({"x": pa.array([None, math.nan], pa.float64())}, "'x' has no values .* --ignore x"),
        ({"t": pa.array([None, ""], pa.string())}, "'t' has no values .* --ignore t"),
        ({"x": [1e308, -1e308, 1.5e308]}, "'x' holds numbers too large"),
    ],
)
def test_what_can_t_be_learnt(table, message):
    with pytest.raises(DataError, match=message):
        learnt(pa.table(table))


def test_an_identifier_is_no_category(monkeypatch):
    monkeypatch.setattr(module, "MOST_COUNTED", 1000)
    table = pa.table({"my id": [f"{i}" for i in range(1001)]})
    learnt(table.slice(1))
    with pytest.raises(DataError, match=r"'my id' has more than 1,000 different values.*--ignore 'my id'"):
        learnt(table)
    halves = [statistics_of(table.slice(0, 600)), statistics_of(table.slice(500))]
    with pytest.raises(DataError, match="'my id' has more than 1,000"):
        halves[0].merge(halves[1])
    (column,) = learnt(table, {"my id": {"categories": ["7"]}}).columns  # other categories aren't counted one by one
    assert column.shares == pytest.approx((1 / 1001, 1000 / 1001, 0))


def test_deciles():
    known = np.arange(1.0, 101.0)
    assert deciles(known, np.ones(len(known))).tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert deciles(np.zeros(0), np.ones(len(np.zeros(0)))).tolist() == []
    below, constant = deciles(np.full(9, 3.0), np.ones(9))
    assert constant == 3 and below == np.nextafter(3, 0)
    assert deciles(np.sort([0.0] * 6 + [1.0] * 4), np.ones(len(np.sort([0.0] * 6 + [1.0] * 4)))).tolist() == [
        -5e-324,
        0,
        1,
    ]


@pytest.mark.parametrize("n_bins", [0, 1, 2, 4, 100])
@pytest.mark.parametrize(
    "values", [np.arange(1.0, 101), [0.0] * 6 + [1, 2], [3.0] * 9, [1.0, 2.0], [0, 5e-324, 1e-323], []]
)
def test_knots(values, n_bins):
    """Bins of the same weight between the least and the greatest number; none where there would be one."""
    known = np.array(values, np.float64)
    knots = knots_of(known, np.ones(len(known)), n_bins)
    assert knots == () or (known[0], known[-1]) == (knots[0], knots[-1])
    assert (
        len(knots) != 2
        and len(knots) <= n_bins + 1
        and all(np.diff(knots) > 0)
        and np.isfinite(1 / np.diff(knots)).all()
    )
    if len(known) == 100 and 1 < n_bins < 100:
        assert knots == (1, *np.ceil(np.arange(1, n_bins) * 100 / n_bins), 100)
    repeated, weight = np.repeat(known, 3), np.full(len(known), 3.0)
    assert knots_of(repeated, np.ones(len(repeated)), n_bins) == knots_of(known, weight, n_bins)


def test_booleans_and_constants_have_no_bins():
    table = pa.table({"b": [True, False] * 20, "c": [1.0] * 40, "x": np.arange(40.0), "n": [None, *range(39)]})
    b, c, x, n = learnt(table, n_bins=8).columns
    assert (b.n_bins, c.n_bins, x.n_bins, n.n_bins) == (0, 0, 8, 8)
    assert x.inputs == ["x", *(f"x, bin {i}" for i in range(1, 9))] and n.inputs[-1] == "n is missing"
