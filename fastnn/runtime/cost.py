"""Serial or parallel: a pure function of the work and of the price of a parallel region."""

from __future__ import annotations

# Seconds that one parallel region costs to open and close, by Numba's threading layer, as measured on two cores
# (omp 0.5 to 1.2 µs, workqueue 76 to 100 µs). The rate is a floor for our kernels, far below their peak.
REGION_SECONDS = {"omp": 1.2e-6, "tbb": 5e-6, "workqueue": 1e-4}
SECONDS_PER_OPERATION = 1.0 / 60e9


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
