"""The uniform sample of rows: it depends on their positions alone, and its size is bounded."""

import numpy as np

from fastnn.pipeline.columns import sample as module
from fastnn.pipeline.columns.sample import RowSample


def sampled(n_rows: int, cuts: list[int], order=None) -> np.ndarray:
    sample = RowSample(1)
    spans = list(zip([0, *cuts], [*cuts, n_rows], strict=True))
    for which in range(len(spans)) if order is None else order:
        start, stop = spans[which]
        rows, hashes = sample.select(stop - start, start)
        sample.add(hashes, rows[None] + float(start))
    return np.sort(sample.values()[0])


def test_the_sample_depends_on_positions_alone(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 500)
    whole = sampled(20_000, [])
    assert len(set(whole.tolist())) == 500
    for cuts, order in (([1, 2, 700], None), (list(range(97, 20_000, 97)), None), ([5000, 9000], [2, 0, 1])):
        np.testing.assert_array_equal(sampled(20_000, cuts, order), whole)
    np.testing.assert_array_equal(sampled(300, [100]), np.arange(300))


def test_the_sample_is_uniform(monkeypatch):
    """Each tenth of the data has its share of the sample, within five standard deviations."""
    monkeypatch.setattr(module, "SAMPLE_ROWS", 5000)
    counts = np.histogram(sampled(1_000_000, list(range(131_072, 1_000_000, 131_072))), 10, (0, 1_000_000))[0]
    assert abs(counts - 500).max() < 5 * np.sqrt(500)


def test_a_wide_table_has_a_smaller_sample():
    assert [RowSample(n).size for n in (0, 30, 64, 200, 100_000)] == [65_536, 65_536, 65_536, 20_971, 4096]
