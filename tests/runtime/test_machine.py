"""What is measured on this machine, and what its processor can do."""

import pytest
from numba.core import config

from fastnn.runtime import machine
from fastnn.runtime.threads import available_threads

AVX2 = "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c"


def test_features_that_are_set_by_hand(monkeypatch):
    monkeypatch.setattr(config, "CPU_FEATURES", AVX2)
    assert machine.host_features() == AVX2
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    assert "+" in machine.host_features()


@pytest.mark.parametrize(
    ("features", "width"),
    [("+sse2,+avx2,+fma,+avx512f", 64), (AVX2, 32), (AVX2 + ",-avx512f", 32), ("+avx,+avx2", 16), ("", 16)],
)
def test_vector_bytes(features, width):
    assert machine.vector_bytes(features) == width


def test_a_machine_has_its_price():
    """The times are within what any machine may take, and an operation is far cheaper than a region."""
    found = machine.measure(min(2, available_threads()))
    assert 1e-8 < found.region_seconds < 0.1
    assert 1e-13 < found.seconds_per_operation < 1e-8
    assert found.region_seconds > 10 * found.seconds_per_operation
