"""From Arrow's columns to NumPy's numbers: every type, missing values, chunks."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from fastnn.pipeline.columns import values as module
from fastnn.pipeline.columns.values import FEWEST_ROWS, chunks, codes_of, numbers_of, take, texts_of

DAY = datetime.datetime(2020, 1, 2, 18, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "type_",
    [
        *(pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.decimal256(50, 2)),
    ],
)
@pytest.mark.parametrize("encode", [False, True])
def test_numbers_of_every_type(type_, encode):
    numbers = [1, 2, None, 4]
    if pa.types.is_decimal(type_):
        numbers = [None if n is None else decimal.Decimal(n) for n in numbers]
    array = pa.array(numbers, type_) if type_ != pa.float16() else pa.array(numbers, pa.float32()).cast(type_)
    if encode and type_ != pa.float16():
        array = array.dictionary_encode()
    np.testing.assert_array_equal(numbers_of(array).astype(float), [1, 2, np.nan, 4])
    np.testing.assert_array_equal(numbers_of(array.slice(1, 1)).astype(float), [2])
    np.testing.assert_array_equal(numbers_of(array.slice(3)).astype(float), [4])


def test_numbers_without_missing_values_are_not_copied():
    array = pa.array(np.arange(5, dtype=np.float32))
    assert np.shares_memory(numbers_of(array), np.frombuffer(array.buffers()[1], np.float32))


def test_booleans_and_nulls():
    np.testing.assert_array_equal(numbers_of(pa.array([True, False])), [1, 0])
    np.testing.assert_array_equal(numbers_of(pa.array([True, None])), [1, np.nan])
    np.testing.assert_array_equal(numbers_of(pa.nulls(2)), [np.nan, np.nan])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_are_days_in_utc(unit):
    expected = (DAY - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds() / 86400
    zoned = pa.array([DAY, None], pa.timestamp(unit, "UTC"))
    for array in (
        zoned,
        zoned.cast(pa.timestamp(unit, "Asia/Tokyo")),
        pa.array([DAY.replace(tzinfo=None), None], pa.timestamp(unit)),
        zoned.dictionary_encode(),
    ):
        np.testing.assert_array_equal(numbers_of(array), [expected, np.nan])
    time = pa.array([datetime.time(18), None], pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit))
    np.testing.assert_array_equal(numbers_of(time), [0.75, np.nan])


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()])
def test_dates_are_days(type_):
    array = pa.array([datetime.date(1970, 1, 11), datetime.date(1969, 12, 31), None], type_)
    np.testing.assert_array_equal(numbers_of(array), [10, -1, np.nan])
    np.testing.assert_array_equal(numbers_of(array.slice(0, 2)), [10, -1])


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("encode", [False, True])
def test_codes(type_, encode):
    array = pa.array(["b", "", None, "never", "a"], type_)
    assert texts_of(array).to_pylist() == ["b", None, None, "never", "a"]
    if encode:
        array = array.dictionary_encode()
    np.testing.assert_array_equal(codes_of(array, ("a", "b")), [1, np.nan, np.nan, -1, 0])
    np.testing.assert_array_equal(codes_of(array.slice(3), ("a", "b")), [-1, 0])
    rows = np.array([4, 1])
    np.testing.assert_array_equal(codes_of(take(array, rows), ("a", "b")), [0, np.nan])


def test_codes_of_unusual_dictionaries():
    for indices in (pa.array([0, 255, None], pa.uint8()), pa.array([0, 255, None], pa.int64())):
        array = pa.DictionaryArray.from_arrays(indices, pa.array([f"{i}" for i in range(255)] + [None]))
        np.testing.assert_array_equal(codes_of(array, ("0",)), [0, np.nan, np.nan])
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", "a"]))
    np.testing.assert_array_equal(codes_of(twice, ("a",)), [0, 0])
    np.testing.assert_array_equal(codes_of(pa.nulls(1), ("a",)), [np.nan])


def test_integers_are_categories_however_they_are_kept():
    """Pandas makes floats of integers with missing values."""
    categories = ("-3", "10000000000", "7")
    for array in (
        pa.array([7, -3, None, 5, 10_000_000_000]),
        pa.array([7.0, -3.0, np.nan, 5.0, 1e10]),
        pa.array([7.0, -3.0, None, 5.5, 1e10]),
        pa.array([7.0, -3.0, None, np.inf, 1e10]),
    ):
        np.testing.assert_array_equal(codes_of(array, categories), [2, 0, np.nan, -1, 1])
    for type_ in (pa.decimal128(22, 2), pa.decimal128(38, 10), pa.decimal256(76, 20), pa.decimal128(11, 0)):
        decimals = pa.array([7, -3, None, 5, 10_000_000_000], pa.decimal128(11)).cast(type_)
        for array in (decimals, decimals.dictionary_encode()):
            np.testing.assert_array_equal(codes_of(array, categories), [2, 0, np.nan, -1, 1])
    assert texts_of(pa.array([decimal.Decimal("-9.99")], pa.decimal128(3, 2))).to_pylist() == ["-9.99"]
    decimals = [decimal.Decimal(word) for word in ("-3.50", "0", f"{2**63 + 1}")]
    assert texts_of(pa.array(decimals, pa.decimal128(38, 10))).to_pylist() == [
        "-3.5000000000",
        "0",
        "9223372036854775809",
    ]
    np.testing.assert_array_equal(codes_of(pa.array([True, None, False]), ("true",)), [0, np.nan, -1])


@pytest.mark.parametrize("n_rows", [0, 1, FEWEST_ROWS, 1000])
@pytest.mark.parametrize("sparse", [False, True])
def test_chunks_have_all_rows_in_order(n_rows, sparse, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 2 * 2 * FEWEST_ROWS)
    rng = np.random.default_rng(0)
    columns = [np.arange(n_rows, dtype=np.int8), rng.normal(size=n_rows).astype(np.float32)]
    keep = rng.random(n_rows) < 0.3 if sparse else None
    parts = [(chunk.start, chunk.values[:, : chunk.n].copy()) for chunk in chunks(columns, n_rows, keep)]
    assert [start for start, _ in parts] == list(range(0, n_rows, 2 * FEWEST_ROWS))
    found = np.concatenate([np.zeros((2, 0)), *(values for _, values in parts)], axis=1)
    np.testing.assert_array_equal(found, np.array(columns, float)[:, slice(None) if keep is None else keep])


@pytest.mark.parametrize(
    ("n_columns", "most_rows", "rows"),
    [
        (1, {}, module._MOST_ROWS),
        (64, {}, module.CHUNK_NUMBERS // 64),
        (1, {"most_rows": 3 * FEWEST_ROWS + 1}, 3 * FEWEST_ROWS),
        (64, {"most_rows": module._MOST_ROWS}, module.CHUNK_NUMBERS // 64),
        (module.CHUNK_NUMBERS, {}, FEWEST_ROWS),
        (0, {}, module._MOST_ROWS),  # a table without columns has rows, too
    ],
)
def test_the_number_of_rows_in_a_chunk(n_columns, most_rows, rows):
    column = np.arange(2 * rows + 1, dtype=np.int8)
    found = [(chunk.start, chunk.n) for chunk in chunks([column] * n_columns, len(column), **most_rows)]
    assert found == [(0, rows), (rows, rows), (2 * rows, 1)]
