"""Encoding: rows against a plain formula, however they are divided; encodings by hand; data that is refused."""

import datetime
import decimal
import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import learnt

from fastnn.pipeline.columns.encoding import Preprocessor
from fastnn.pipeline.columns.learnt import NumberColumn
from fastnn.pipeline.columns.schema import DataError


def batch_of(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    return batch


def transformed(preprocessor: Preprocessor, table: pa.Table, dtype: str = "float64", **options) -> np.ndarray:
    return preprocessor.transform(batch_of(table), np.dtype(dtype), **options)


WORDS = st.sampled_from(["a", "b", "c", "", "rare"])
NUMBERS = st.floats(-1e6, 1e6) | st.just(math.nan)
KINDS = {
    pa.float32(): st.floats(-1e6, 1e6, width=32),
    pa.float64(): NUMBERS,
    pa.int64(): st.integers(-(2**60), 2**60),
    pa.uint8(): st.integers(0, 255),
    pa.bool_(): st.booleans(),
    pa.string(): WORDS,
    pa.dictionary(pa.int8(), pa.string()): WORDS,
    pa.timestamp("ms", "UTC"): st.integers(-(10**13), 10**13),
    pa.date32(): st.integers(-50_000, 50_000),
}


@st.composite
def tables(draw):
    """A table of some columns with missing values, and options for some of them."""
    n = draw(st.integers(1, 300))
    columns, options = {}, {}
    for number in range(draw(st.integers(1, 5))):
        type_ = draw(st.sampled_from(list(KINDS)))
        values = KINDS[type_] if draw(st.booleans()) else st.none() | KINDS[type_]
        few = draw(st.lists(values, min_size=1, max_size=8))
        name = f"c{number}"
        columns[name] = pa.array([few[i * i % len(few)] for i in range(n)], type_)
        if draw(st.booleans()):
            text = type_ in (pa.string(), pa.dictionary(pa.int8(), pa.string()))
            options[name] = {"max_categories": 2} if text else {"impute": "median", "standardise": draw(st.booleans())}
    return pa.table(columns), options


def as_days(value):
    """Dates as days since 1970; any other value is returned as it is."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    if isinstance(value, datetime.datetime):
        return (value - epoch) / datetime.timedelta(days=1)
    return (value - epoch.date()).days if isinstance(value, datetime.date) else value


def by_hand(column, values: pa.ChunkedArray, dtype) -> np.ndarray:
    """A column's inputs, one value at a time."""
    rows = []
    for value in map(as_days, values.to_pylist()):
        missing = value is None or value == "" or value != value
        if isinstance(column, NumberColumn):
            x = np.float64(column.fill if missing else value)
            inputs = [(x - column.centre) * (1 / column.scale)]
            inputs += [min(max((x - low) * (1 / (high - low)), 0.0), 1.0) for low, high in pairwise(column.knots)]
        else:
            inputs = [float(value == category) for category in column.categories]
            inputs += [float(not missing and value not in column.categories)] * column.other
        rows.append(inputs + [float(missing)] * column.indicator)
    return np.array(rows, dtype)


@settings(deadline=None)
@given(
    drawn=tables(),
    dtype=st.sampled_from(["float32", "float64"]),
    cut=st.integers(1, 299),
    n_bins=st.sampled_from([0, 2, 5]),
)
def test_rows_are_those_of_the_formula_however_they_are_divided(drawn, dtype, cut, n_bins):
    table, options = drawn
    try:
        preprocessor = learnt(table, options, n_bins)
    except DataError as error:
        assert "no values" in str(error)
        return
    rows = transformed(preprocessor, table, dtype)
    expected = np.concatenate([by_hand(column, table[column.name], dtype) for column in preprocessor.columns], axis=1)
    assert rows.dtype == dtype and expected.shape == (table.num_rows, len(preprocessor.inputs))
    np.testing.assert_array_equal(rows, expected)
    cut = min(cut, table.num_rows)
    for start, part in ((0, batch_of(table).slice(0, cut)), (cut, batch_of(table).slice(cut))):
        again = preprocessor.transform(part, np.dtype(dtype))
        assert again.tobytes() == rows[start : start + part.num_rows].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_batches_or_on_missing_values_elsewhere(dtype):
    rng = np.random.default_rng(2)
    n = 10_000
    table = pa.table(
        {
            "f": rng.normal(3, 2, n).astype(np.float32),
            "i": pa.array(rng.integers(0, 2**62, n), mask=rng.random(n) < 0.01),
            "when": pa.array(rng.integers(0, 10**18, n), pa.timestamp("ns"), mask=rng.random(n) < 0.01),
            "t": rng.choice(["a", "b", "c"], n),
        }
    )
    preprocessor = learnt(table)
    rows = transformed(preprocessor, table, dtype)
    numbers = table["f"].to_numpy().astype(np.float64)
    f = preprocessor.columns[0]
    np.testing.assert_array_equal(rows[:, 0], ((numbers - f.centre) * (1 / f.scale)).astype(dtype))
    start = 0
    for size in (1, 63, 2000, 4097, n):
        part = transformed(preprocessor, table.slice(start, size), dtype)
        assert part.tobytes() == rows[start : start + size].tobytes()
        start += size


def test_numbers_of_every_type():
    expected = transformed(learnt(pa.table({"x": [1.0, 2.0, 4.0]})), pa.table({"x": [1.0, 2.0, 4.0]}))
    assert expected.mean() == pytest.approx(0) and expected.std() == pytest.approx(1)
    numbers = [1, 2, 4]
    arrays = [pa.array(numbers, type_) for type_ in (pa.int8(), pa.uint64(), pa.float32())]
    arrays += [pa.array([decimal.Decimal(n) for n in numbers]), pa.array([1.0, 2.0, 4.0]).dictionary_encode()]
    arrays += [pa.array(np.array(numbers, np.float16))]
    for array in arrays:
        table = pa.table({"x": array})
        np.testing.assert_array_equal(transformed(learnt(table), table), expected)


def test_booleans_are_0_and_1():
    flags = pa.table({"x": [True, None, True, False]})
    preprocessor = learnt(flags)
    assert preprocessor.inputs == ["x", "x is missing"]
    np.testing.assert_allclose(transformed(preprocessor, flags), [[1, 0], [2 / 3, 1], [1, 0], [0, 0]])


def test_missing_numbers_become_the_mean_with_an_indicator():
    table = pa.table({"x": pa.array([1.0, None, 3.0, math.nan])})
    preprocessor = learnt(table)
    assert preprocessor.inputs == ["x", "x is missing"]
    np.testing.assert_array_equal(transformed(preprocessor, table), [[-1, 0], [0, 1], [1, 0], [0, 1]])
    # Without missing values in training there is no indicator, and a value that is missing later becomes the mean.
    whole = learnt(pa.table({"x": [1.0, 3.0]}))
    np.testing.assert_array_equal(transformed(whole, pa.table({"x": [None, 3.0]})), [[0], [1]])
    np.testing.assert_array_equal(transformed(whole, pa.table({"x": pa.nulls(2)})), [[0], [0]])


@pytest.mark.parametrize("encode", [lambda a: a, lambda a: a.dictionary_encode(), lambda a: a.cast(pa.string_view())])
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
    whole = learnt(pa.table({"t": ["a", "missing"]}))  # since a category may have this name
    assert whole.inputs == ["t=a", "t=missing"]
    np.testing.assert_array_equal(transformed(whole, pa.table({"t": [None, "missing"]})), [[0, 0], [0, 1]])


def test_too_many_categories_share_an_input():
    table = pa.table({"t": ["c", "c", "a", "a", "b", None]})
    preprocessor = learnt(table, {"t": {"max_categories": 2}})
    assert preprocessor.inputs == ["t=a", "t=c", "t is rare", "t is missing"]
    np.testing.assert_array_equal(transformed(preprocessor, table)[-2:], [[0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(transformed(preprocessor, pa.table({"t": ["new"]})), [[0, 0, 1, 0]])


def test_what_can_t_be_transformed():
    preprocessor = learnt(pa.table({"ok": [1.0, 2.0], "x": [1.0, 2.0]}))
    with pytest.raises(DataError, match="'x' holds an infinite value"):
        transformed(preprocessor, pa.table({"ok": [1.0], "x": [math.inf]}))
    with pytest.raises(DataError, match=r"'x' holds a value too far .* float32"):
        transformed(preprocessor, pa.table({"ok": [1.0], "x": [1e300]}), "float32")
    transformed(preprocessor, pa.table({"ok": [1.0], "x": [1e300]}), "float64")


def test_bad_rows_are_marked_and_zero():
    preprocessor = learnt(pa.table({"x": [1.0, 3.0], "t": ["a", "b"]}))
    table = pa.table({"x": [1.0, math.inf, 3.0, 1e300, 1.0] * 1000, "t": ["a"] * 5000})
    bad = np.zeros(5000, bool)
    bad[4] = True
    rows = transformed(preprocessor, table, "float32", bad=bad)
    assert bad[:10].tolist() == [False, True, False, True, True, False, True, False, True, False]
    assert bad.sum() == 2001
    np.testing.assert_array_equal(rows[~bad], transformed(preprocessor, table.filter(pa.array(~bad)), "float32"))
    assert not rows[bad].any()
    for wrong in (np.zeros(4999, bool), np.zeros(5000, int), np.zeros((5000, 2), bool)[:, 0]):
        with pytest.raises(ValueError, match="5000 booleans"):
            transformed(preprocessor, table, bad=wrong)


def test_rows_are_written_where_they_are_wanted():
    table = pa.table({"x": [1.0, None, 3.0], "t": ["a", "b", None]})
    preprocessor = learnt(table)
    expected = transformed(preprocessor, table, "float32")
    memory = np.full((5, 5), 7, np.float32)
    out = memory[1:4]
    assert transformed(preprocessor, table, "float32", out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert (memory[[0, 4]] == 7).all()
    strided = np.zeros((3, 10), np.float32)[:, ::2]
    np.testing.assert_array_equal(transformed(preprocessor, table, "float32", out=strided), expected)
    with pytest.raises(ValueError, match="shape"):
        transformed(preprocessor, table, "float32", out=np.zeros((2, 5), np.float32))
    with pytest.raises(TypeError, match="float32"):
        transformed(preprocessor, table, "float32", out=np.zeros((3, 5)))


def test_more_columns_than_a_chunk_has_numbers():
    table = pa.table({f"c{i}": [float(i), i + 2.0, i + 4.0] for i in range(3000)})
    rows = transformed(learnt(table), table)
    np.testing.assert_allclose(rows, np.repeat([[-(1.5**0.5)], [0], [1.5**0.5]], 3000, axis=1), atol=1e-12)


def test_no_rows():
    preprocessor = learnt(pa.table({"x": [1.0, None], "t": ["a", "b"]}))
    assert transformed(
        preprocessor, pa.table({"x": pa.array([], pa.int64()), "t": pa.array([], pa.string())})
    ).shape == (0, 4)
