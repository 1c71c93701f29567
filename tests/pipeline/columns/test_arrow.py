"""From NumPy and Python to Arrow and back: nulls, booleans, slices, and views instead of copies."""

import numpy as np
import pyarrow as pa
import pytest

from fastnn.pipeline.columns.arrow import strings_to_arrow, to_arrow, to_numpy


@pytest.mark.parametrize("dtype", ["i1", "u8", "f4", "f8", ">i4", "?"])
def test_there_and_back(dtype):
    values = (np.arange(20) % 3 - 1).astype(dtype)
    array = to_arrow(values)
    array.validate(full=True)
    assert array.to_pylist() == values.tolist() and array.null_count == 0
    if dtype != "?":
        np.testing.assert_array_equal(to_numpy(array), values)
        np.testing.assert_array_equal(to_numpy(array.slice(3, 9)), values[3:12])


def test_missing_values_are_null_and_nan():
    missing = np.arange(20) % 7 == 2
    array = to_arrow(np.arange(20, dtype=np.float32), missing)
    assert [value is None for value in array.to_pylist()] == missing.tolist()
    for back, dtype in ((to_numpy(array), np.float32), (to_numpy(array.cast(pa.int16())), np.float64)):
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, np.where(missing, np.nan, np.arange(20)))


def test_numbers_without_nulls_are_views():
    values = np.arange(5.0)
    assert np.shares_memory(to_numpy(to_arrow(values)), values)


def test_strings():
    words = ["a", None, "", "\u00e4\u00f6"]
    array = strings_to_arrow(words)
    array.validate(full=True)
    assert array.type == pa.large_string() and array.to_pylist() == words
    assert strings_to_arrow([]).to_pylist() == []
