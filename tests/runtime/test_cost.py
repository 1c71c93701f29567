"""Serial or parallel, as a pure function."""

from math import inf

import pytest

from fastnn.runtime.cost import REGION_SECONDS, threads_that_pay

each_layer = pytest.mark.parametrize("layer", sorted(REGION_SECONDS))


def test_the_layers_are_numbas():
    assert set(REGION_SECONDS) == {"omp", "tbb", "workqueue"}
    assert REGION_SECONDS["omp"] < REGION_SECONDS["workqueue"]


@each_layer
def test_only_work_that_outweighs_its_regions_is_split(layer):
    def threads(operations: float, regions: int = 1, n_threads: int = 4) -> int:
        return threads_that_pay(operations, regions, n_threads, layer)

    assert threads(0.0) == threads(1e3) == 1
    assert threads(1e15) == 4
    assert threads(inf, n_threads=1) == threads(1e15, n_threads=1) == 1
    # Once it pays, it pays for all larger work; the more regions, the later.
    thresholds = []
    for regions in (1, 2, 100):
        choices = [threads(2.0**power, regions) for power in range(60)]
        assert choices == sorted(choices)
        assert set(choices) == {1, 4}
        thresholds.append(choices.index(4))
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_a_dear_layer_needs_more_work():
    assert threads_that_pay(2e7, 1, 2, "omp") == 2
    assert threads_that_pay(2e7, 1, 2, "workqueue") == 1
