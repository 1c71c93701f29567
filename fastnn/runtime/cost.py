"""Serial or parallel: a pure function of the work and of the price of a parallel region."""

from __future__ import annotations

# Seconds that one parallel region is taken to cost, by Numba's threading layer. On two idle cores omp takes 0.5 to
# 1.2 µs and workqueue 76 to 100; but with other work on the machine the threads wait for each other's time slice:
# 1,400 regions of 20 µs took 6.6 s instead of 0.09. So only work that gains clearly is split.
REGION_SECONDS = {"omp": 20e-6, "tbb": 20e-6, "workqueue": 200e-6}
# Our kernels' rate on one core, in float32 (175 to 235 GFLOP/s were measured on Zen 5).
SECONDS_PER_OPERATION = 1.0 / 150e9


def threads_that_pay(operations: float, regions: int, n_threads: int, layer: str) -> int:
    """How many threads to use: `n_threads` if they save more than the regions cost, otherwise 1.

    Parameters
    ----------
    operations : float
        Floating-point operations (a multiply-add is two) between the first region and the last.
    regions : int
        Parallel regions that the work is cut into.
    n_threads : int
        Threads that may be used.
    layer : str
        Numba's threading layer: "omp", "tbb" or "workqueue".
    """
    serial = operations * SECONDS_PER_OPERATION
    parallel = serial / n_threads + regions * REGION_SECONDS[layer]
    return n_threads if parallel < serial else 1
