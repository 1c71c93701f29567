"""The yardstick: nothing but multiply-adds in its loop, and nothing of ours is faster."""

import re

import numpy as np
import pytest

from benchmarks import kernels, peak


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loop_holds_nothing_but_multiply_adds(dtype: type) -> None:
    work = peak.peak(dtype)
    work.call()
    letter = {np.float32: "s", np.float64: "d"}[dtype]
    fma = re.compile(rf"\s+(vfmadd\w+p{letter}|fmla)\s.*")
    for signature in peak._spin.signatures:
        if str(signature[0]) == np.dtype(dtype).name:
            lines = peak._spin.inspect_asm(signature).splitlines()
    runs = "".join("f" if fma.match(line) else "." for line in lines if re.match(r"\s+[a-z]", line))
    assert max(map(len, re.findall("f+", runs))) >= peak.CHAINS
    assert not any("(%rsp" in line or "[sp" in line for line in lines if fma.match(line))


def test_nothing_beats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNN_NUM_THREADS", "1")  # and back again afterwards
    share = kernels.share("linear 1024x784x512")
    # A tenth of the peak would mean that the yardstick, or the tile, is broken; more than all of it too.
    assert 0.1 < share < 1.03
