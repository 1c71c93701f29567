"""Rows that are held out: which they are, and what it depends on."""

import numpy as np
import pyarrow as pa
import pytest

from fastnn.pipeline.learning.held_out import HeldOut


def rows(n: int, **columns: object) -> pa.RecordBatch:
    return pa.record_batch({"x": np.zeros(n), **columns})


def test_a_function_of_seed_and_position():
    held_out = HeldOut(0.1, 3).among(rows(100_000), 0)
    assert held_out.mean() == pytest.approx(0.1, abs=0.005)
    parts = [HeldOut(0.1, 3).among(rows(n), first) for first, n in ((0, 1), (1, 999), (1000, 5000))]
    np.testing.assert_array_equal(held_out[:6000], np.concatenate(parts))
    assert (held_out != HeldOut(0.1, 4).among(rows(100_000), 0)).any()
    assert not HeldOut(0.0, 0).among(rows(1000), 0).any() and HeldOut(1.0, 0).among(rows(1000), 0).all()


def test_rows_of_one_id_are_held_out_together():
    numbers = np.arange(50_000) % 10_000
    chosen = HeldOut(0.2, 0, "id").among(rows(50_000, id=numbers), 0)
    assert chosen.mean() == pytest.approx(0.2, abs=0.02)
    assert (chosen.reshape(5, -1) == chosen[:10_000]).all()
    shuffled = np.random.default_rng(0).permutation(50_000)
    for ids in (pa.array(numbers).cast(pa.string()), pa.array(numbers).cast(pa.int16())):
        for given in (ids, ids.dictionary_encode(), ids.cast(ids.type)):
            again = HeldOut(0.2, 0, "id").among(rows(50_000, id=given).take(pa.array(shuffled)), 123)
            np.testing.assert_array_equal(again, chosen[shuffled])


def test_rows_without_an_id_belong_together():
    chosen = HeldOut(0.5, 1, "id").among(rows(4, id=pa.array([None, "a", None, "b"])), 0)
    assert chosen[0] == chosen[2]


def test_dictionaries_as_large_as_their_indices_allow():
    ids = pa.DictionaryArray.from_arrays(pa.array([0, None, 127], pa.int8()), pa.array([str(i) for i in range(128)]))
    chosen = HeldOut(0.5, 1, "id").among(rows(3, id=ids), 0)
    np.testing.assert_array_equal(chosen, HeldOut(0.5, 1, "id").among(rows(3, id=ids.cast(pa.string())), 0))
