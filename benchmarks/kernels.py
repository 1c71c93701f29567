"""The equations one by one, as public functions on plain arrays, on one thread.

The share of the peak counts the operations of a formula: a multiply-add as two, and tanh, exp and log as one each. For
the matrix products, the share says how well the arithmetic units are used. For the other kernels, it can only be
compared with the same kernel's past.
"""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from benchmarks import child, measure, peak

# A kernel's speed depends on where a process's code and arrays lie: processes differed by 20 % in `bias_gradient` and
# by 8 % in `weight_gradient`. The best of several processes comes out nearly the same every time.
PROCESSES = 3


def _arrays(dtype: Any, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Random arrays, each a cache line further into its page than the one before.

    NumPy's own arrays begin anywhere. Depending on that, `bias_gradient` reached 3.0 or 3.4 % of the peak.
    """
    rng = np.random.default_rng(0)
    made = []
    for number, shape in enumerate(shapes):
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.empty(n_bytes + 2 * mmap.PAGESIZE, np.uint8)
        start = -memory.ctypes.data % mmap.PAGESIZE + 64 * number
        array = memory[start : start + n_bytes].view(dtype).reshape(shape)
        array[...] = rng.standard_normal(shape)
        made.append(array)
    return made


def _linear(name: str, rows: int, n_in: int, n_out: int, dtype: Any = np.float32) -> measure.Work:
    from fastnn import kernels

    X, W, b, out = _arrays(dtype, (rows, n_in), (n_in, n_out), (n_out,), (rows, n_out))
    return measure.Work(functools.partial(getattr(kernels, name), X, W, b, out), 2.0 * rows * n_in * n_out)


def _tanh() -> measure.Work:
    from fastnn import kernels

    z, out = _arrays(np.float32, (1024, 512), (1024, 512))
    return measure.Work(functools.partial(kernels.tanh, z, out), z.size)


def _softmax() -> measure.Work:
    from fastnn import kernels

    z, out = _arrays(np.float32, (8192, 10), (8192, 10))
    return measure.Work(functools.partial(kernels.softmax, z, out), 5 * z.size)  # largest, minus, exp, sum, divide


def _cross_entropy() -> measure.Work:
    from fastnn import kernels

    (z,) = _arrays(np.float32, (8192, 10))
    y = np.arange(len(z)) % 10
    return measure.Work(functools.partial(kernels.cross_entropy, z, y), 4 * z.size)  # largest, minus, exp, sum


def _output_delta() -> measure.Work:
    from fastnn import kernels

    p, out = _arrays(np.float32, (8192, 10), (8192, 10))
    y = np.arange(len(p)) % 10
    return measure.Work(functools.partial(kernels.output_delta, p, y, out), 2 * p.size)  # minus, divide


def _weight_gradient() -> measure.Work:
    from fastnn import kernels

    # With 256 rows, the arrays don't fit into a cache of 1 MB, and the speed differed by 9 % between processes.
    a_prev, delta, out = _arrays(np.float32, (128, 784), (128, 128), (784, 128))
    return measure.Work(functools.partial(kernels.weight_gradient, a_prev, delta, out), 2.0 * 128 * 784 * 128)


def _bias_gradient() -> measure.Work:
    from fastnn import kernels

    # `delta` has 256 KB. With 2 MB, the kernel reached 5.6 or 6.1 % of the peak, depending on where the pages lay.
    delta, out = _arrays(np.float32, (128, 512), (512,))
    return measure.Work(functools.partial(kernels.bias_gradient, delta, out), delta.size)


def _hidden_delta() -> measure.Work:
    from fastnn import kernels

    delta, W, a_prev, out = _arrays(np.float32, (256, 512), (512, 512), (256, 512), (256, 512))
    return measure.Work(functools.partial(kernels.hidden_delta, delta, W, a_prev, out), 2.0 * 256 * 512 * 512)


def _sgd_step() -> measure.Work:
    from fastnn import kernels

    param, grad = _arrays(np.float32, (784 * 128,), (784 * 128,))
    return measure.Work(functools.partial(kernels.sgd_step, param, grad, 1e-9), 2 * param.size)


# Append only.
WORKS: dict[str, Callable[[], measure.Work]] = {
    "linear 1024x784x512": functools.partial(_linear, "linear", 1024, 784, 512),
    "linear 256x784x128": functools.partial(_linear, "linear", 256, 784, 128),
    "linear 1024x784x512 float64": functools.partial(_linear, "linear", 1024, 784, 512, np.float64),
    "linear_tanh 256x784x128": functools.partial(_linear, "linear_tanh", 256, 784, 128),
    "tanh": _tanh,
    "softmax": _softmax,
    "cross_entropy": _cross_entropy,
    "output_delta": _output_delta,
    "weight_gradient": _weight_gradient,
    "bias_gradient": _bias_gradient,
    "hidden_delta": _hidden_delta,
    "sgd_step": _sgd_step,
}


def work(name: str) -> measure.Work:
    """The call of that name, with arrays of its own. From now on, this process uses one thread."""
    os.environ["FASTNN_NUM_THREADS"] = "1"  # the public functions take no number of threads
    return WORKS[name]()


same_work = functools.cache(work)


def share(name: str) -> float:
    """The share of one core's peak that the call of that name reaches in this process."""
    dtype = np.float64 if name.endswith("float64") else np.float32
    return measure.share(work(name), peak.peak(dtype), seconds=0.5)


class Kernels:
    """Each function of `fastnn.kernels`."""

    version = "1"
    rounds = 1
    warmup_time = 1.0  # one kernel loads in less than half of it
    timeout = 120.0
    param_names: ClassVar = ["kernel"]
    params: ClassVar = [list(WORKS)]

    def setup_cache(self) -> None:
        """Compile the kernels once for each commit, so that the processes that are timed only load them."""
        for name in WORKS:
            work(name).call()

    setup_cache.timeout = 300

    def time_kernel(self, kernel: str) -> None:
        """One call, which writes into an existing array."""
        same_work(kernel).call()

    def track_share_of_peak(self, kernel: str) -> float:
        """The formula's operations a second over the peak of one core."""
        code = f"from benchmarks import kernels; print(kernels.share({kernel!r}))"
        return 100 * max(float(child.run_with_benchmarks(code)) for _ in range(PROCESSES))

    track_share_of_peak.unit = "% of FMA peak"
