"""Preprocessing: statistics against NumPy, encodings against hand-written expectations."""

import decimal
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.pipeline import preprocess
from fastnn.pipeline.preprocess import (
    CategoryStatistics,
    NumberColumn,
    NumberStatistics,
    Preprocessor,
)
from fastnn.pipeline.schema import DataError, Schema


def learnt(table: pa.Table) -> Preprocessor:
    return Preprocessor.learn(Schema.infer(table.schema), table.to_batches())


def transformed(preprocessor: Preprocessor, table: pa.Table, dtype: str = "float64") -> np.ndarray:
    (batch,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    return preprocessor.transform(batch, np.dtype(dtype))


@pytest.mark.parametrize("mean", [0.0, 1e9, -1e9])
@pytest.mark.parametrize("block", [1, 7, 1000, 20_000])
def test_number_statistics_against_numpy(mean, block):
    values = np.random.default_rng(3).normal(mean, 1.0, 20_000)
    statistics = NumberStatistics("x")
    for start in range(0, len(values), block):
        statistics.update(pa.array(values[start : start + block]))
    column = statistics.finish()
    # The reference sums exactly.
    exact_mean = math.fsum(values) / len(values)
    exact_scale = math.sqrt(math.fsum((values - exact_mean) ** 2) / len(values))
    assert column.mean == pytest.approx(exact_mean, rel=1e-12, abs=1e-14)
    assert column.scale == pytest.approx(exact_scale, rel=1e-9)


@given(parts=st.lists(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=6), max_size=6))
@settings(deadline=None)
def test_merge_is_learning_in_one_go(parts):
    merged, at_once = NumberStatistics("x"), NumberStatistics("x")
    for part in parts:
        other = NumberStatistics("x")
        other.update(pa.array(part, pa.float64()))
        merged.merge(other)
    at_once.update(pa.array([value for part in parts for value in part], pa.float64()))
    assert (merged.count, merged.had_missing, merged.low, merged.high) == (
        at_once.count,
        at_once.had_missing,
        at_once.low,
        at_once.high,
    )
    assert merged.mean == pytest.approx(at_once.mean, rel=1e-9, abs=1e-9)
    assert merged.squares == pytest.approx(at_once.squares, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.1, -3.0, 1e300, 5e-324])
def test_constant_column_is_exactly_zero(value):
    table = pa.table({"x": [value] * 1001})
    column = learnt(table).columns[0]
    assert (column.mean, column.scale) == (value, 1.0)
    assert not transformed(learnt(table), table).any()


def test_numbers_of_every_type():
    expected = transformed(learnt(pa.table({"x": [1.0, 2.0, 4.0]})), pa.table({"x": [1.0, 2.0, 4.0]}))
    assert expected.mean() == pytest.approx(0) and expected.std() == pytest.approx(1)
    numbers = [1, 2, 4]
    arrays = [pa.array(numbers, type_) for type_ in (pa.int8(), pa.uint64(), pa.float32(), pa.float16())]
    arrays += [pa.array([decimal.Decimal(n) for n in numbers]), pa.array(numbers).dictionary_encode()]
    for array in arrays:
        table = pa.table({"x": array})
        np.testing.assert_array_equal(transformed(learnt(table), table), expected)
    flags = pa.table({"x": [True, False, True, True]})
    np.testing.assert_allclose(transformed(learnt(flags), flags)[:, 0], [1 / 3**0.5, -(3**0.5), 1 / 3**0.5, 1 / 3**0.5])


def test_missing_numbers_become_the_mean_with_an_indicator():
    table = pa.table({"x": pa.array([1.0, None, 3.0, math.nan])})
    preprocessor = learnt(table)
    assert preprocessor.inputs == ["x", "x is missing"]
    np.testing.assert_array_equal(transformed(preprocessor, table), [[-1, 0], [0, 1], [1, 0], [0, 1]])
    # Without holes in training there is no indicator, and a hole later is the mean.
    whole = learnt(pa.table({"x": [1.0, 3.0]}))
    np.testing.assert_array_equal(transformed(whole, pa.table({"x": [None, 3.0]})), [[0], [1]])
    np.testing.assert_array_equal(transformed(whole, pa.table({"x": pa.nulls(2)})), [[0], [0]])


@pytest.mark.parametrize("encode", [lambda a: a, lambda a: a.dictionary_encode(), lambda a: a.cast(pa.large_string())])
def test_categories(encode):
    table = pa.table({"t": encode(pa.array(["b", "a", None, "b", ""]))})
    preprocessor = learnt(table)
    assert preprocessor.inputs == ["t=a", "t=b", "t is missing"]
    np.testing.assert_array_equal(
        transformed(preprocessor, table, "float32"), [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]]
    )
    np.testing.assert_array_equal(
        transformed(preprocessor, pa.table({"t": ["never seen", "a"]})), [[0, 0, 0], [1, 0, 0]]
    )
    whole = learnt(pa.table({"t": ["a", "missing"]}))  # a category may be called so
    assert whole.inputs == ["t=a", "t=missing"]
    np.testing.assert_array_equal(transformed(whole, pa.table({"t": [None, "missing"]})), [[0, 0], [0, 1]])


def test_too_many_categories_share_an_input(monkeypatch):
    monkeypatch.setattr(preprocess, "MOST_CATEGORIES", 2)
    table = pa.table({"t": ["c", "c", "a", "a", "b", None]})
    preprocessor = learnt(table)
    assert preprocessor.inputs == ["t=a", "t=c", "t is rare", "t is missing"]
    np.testing.assert_array_equal(transformed(preprocessor, table)[-2:], [[0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(transformed(preprocessor, pa.table({"t": ["new"]})), [[0, 0, 1, 0]])


def test_category_statistics_merge():
    one, two = CategoryStatistics("t"), CategoryStatistics("t")
    one.update(pa.array(["a", "b"]))
    two.update(pa.array(["a", None]))
    one.merge(two)
    assert one.counts == {"a": 2, "b": 1} and one.had_missing


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": [1.0, math.inf]}, "'x' holds an infinite value"),
        ({"x": [1.0, -math.inf]}, "'x' holds an infinite value"),
        ({"x": pa.array([None, math.nan], pa.float64())}, "'x' has no values .* --ignore x"),
        ({"t": pa.array([None, ""], pa.string())}, "'t' has no values .* --ignore t"),
        ({"x": [1e308, -1e308, 1.5e308]}, "'x' holds numbers too large"),
    ],
)
def test_what_can_t_be_learnt(table, message):
    with pytest.raises(DataError, match=message):
        learnt(pa.table(table))


def test_what_can_t_be_transformed():
    preprocessor = learnt(pa.table({"ok": [1.0, 2.0], "x": [1.0, 2.0]}))
    with pytest.raises(DataError, match="'x' holds an infinite value"):
        transformed(preprocessor, pa.table({"ok": [1.0], "x": [math.inf]}))
    with pytest.raises(DataError, match=r"'x' holds a value too far .* float32"):
        transformed(preprocessor, pa.table({"ok": [1.0], "x": [1e300]}), "float32")
    transformed(preprocessor, pa.table({"ok": [1.0], "x": [1e300]}), "float64")


def test_no_rows():
    preprocessor = learnt(pa.table({"x": [1.0, None], "t": ["a", "b"]}))
    assert transformed(
        preprocessor, pa.table({"x": pa.array([], pa.int64()), "t": pa.array([], pa.string())})
    ).shape == (0, 4)


def test_round_trip_of_parts():
    table = pa.table({"x": [0.1, None, 1e9], "t": ["ä", None, "b"], "z": [1, 2, 3]})
    preprocessor = learnt(table)
    assert Preprocessor.from_parts(preprocessor.tensors(), preprocessor.description()) == preprocessor
    tensors, description = preprocessor.tensors(), preprocessor.description()
    broken_parts = [
        ({**tensors, "mean": tensors["mean"][:1]}, description),
        ({**tensors, "mean": tensors["mean"][:1], "scale": tensors["scale"][:1]}, description),
        ({**tensors, "scale": -tensors["scale"]}, description),
        ({**tensors, "mean": tensors["mean"] * np.nan}, description),
        (tensors, description[:1]),
        (tensors, [{"kind": "number"}]),
        ({}, description),
    ]
    for broken in broken_parts:
        with pytest.raises((KeyError, TypeError, ValueError)):
            Preprocessor.from_parts(*broken)


def test_number_column_does_not_change_its_input():
    values = pa.array([1.0, 2.0])
    NumberColumn("x", 1.0, 2.0, False).write(values, np.empty((2, 1)))
    assert values.to_pylist() == [1.0, 2.0]
