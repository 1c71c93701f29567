"""The tile is chosen from the processor's features."""

from __future__ import annotations

from fastnn.kernels.simd.shape import LINE_BYTES, PANEL_LINES, choose_shape

AVX2 = "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c"


def test_choose_shape() -> None:
    """AVX-512 has 32 registers of 64 bytes and AVX2 has 16 of 32 bytes, whatever other features are on or off."""
    assert choose_shape("+sse2,+avx2,+fma,+avx512f").vector_bytes == 64
    assert choose_shape(AVX2).vector_bytes == 32
    assert choose_shape(AVX2 + ",-avx512f") == choose_shape(AVX2)
    for features in ("+avx,+avx2", "+neon,+fp-armv8", ""):
        assert choose_shape(features).vector_bytes == 16
    for features in ("+avx512f", AVX2, "+neon"):
        shape = choose_shape(features)
        assert LINE_BYTES % shape.vector_bytes == 0
        assert PANEL_LINES % shape.lines == 0
