"""The ten public kernels as a table, so that what all of them promise is tested on all of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple
from unittest import mock

import numba
import numpy as np
import pytest
import reference
from numpy.typing import NDArray

from fastnn import kernels
from fastnn.kernels.programs import KINDS, program
from fastnn.runtime import launch
from fastnn.runtime import threads as policy
from fastnn.runtime.cost import Machine
from fastnn.runtime.process import process

Array = NDArray[Any]

DTYPES = (np.float32, np.float64)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Zero, one, a prime below a tile's rows, numbers around one and two vectors, and several tiles and panels.
SIZES = (0, 1, 7, 31, 32, 33, 127, 784)

STEP_SIZE = 0.125  # the same number in both dtypes

MOST_THREADS = int(numba.config.NUMBA_NUM_THREADS)
needs_threads = pytest.mark.skipif(MOST_THREADS == 1, reason="Numba has one thread here, so no launch is parallel")


class Sizes(NamedTuple):
    """The sizes of one layer: rows, inputs, outputs."""

    n: int
    n_in: int
    n_out: int


class Case(NamedTuple):
    """A kernel, its oracle, and the shapes of its floating-point operands; `y` says that class indices come last."""

    kernel: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: Callable[[Sizes], dict[str, tuple[int, ...]]]
    y: bool = False
    out: bool = True


def _sgd_step(param: Array, grad: Array) -> Array:
    """U1 on a copy: its operands stay unchanged, as with the other kernels."""
    stepped = np.array(param, np.asarray(param).dtype.newbyteorder("="), order="C")
    kernels.sgd_step(stepped, grad, STEP_SIZE)
    return stepped


CASES = {
    "linear": Case(
        kernels.linear,
        reference.linear,
        lambda s: {"X": (s.n, s.n_in), "W": (s.n_in, s.n_out), "b": (s.n_out,)},
    ),
    "linear_tanh": Case(
        kernels.linear_tanh,
        reference.linear_tanh,
        lambda s: {"X": (s.n, s.n_in), "W": (s.n_in, s.n_out), "b": (s.n_out,)},
    ),
    "tanh": Case(kernels.tanh, reference.tanh, lambda s: {"z": (s.n, s.n_out)}),
    "softmax": Case(kernels.softmax, reference.softmax, lambda s: {"z": (s.n, s.n_out)}),
    "cross_entropy": Case(
        kernels.cross_entropy, reference.cross_entropy, lambda s: {"z": (s.n, s.n_out)}, y=True, out=False
    ),
    "output_delta": Case(kernels.output_delta, reference.output_delta, lambda s: {"p": (s.n, s.n_out)}, y=True),
    "weight_gradient": Case(
        kernels.weight_gradient,
        reference.weight_gradient,
        lambda s: {"a_prev": (s.n, s.n_in), "delta": (s.n, s.n_out)},
    ),
    "bias_gradient": Case(kernels.bias_gradient, reference.bias_gradient, lambda s: {"delta": (s.n, s.n_out)}),
    "hidden_delta": Case(
        kernels.hidden_delta,
        reference.hidden_delta,
        lambda s: {"delta": (s.n, s.n_out), "W": (s.n_in, s.n_out), "a_prev": (s.n, s.n_in)},
    ),
    "sgd_step": Case(
        _sgd_step,
        lambda param, grad: reference.sgd_step(param, grad, STEP_SIZE),
        lambda s: {"param": (s.n, s.n_out), "grad": (s.n, s.n_out)},
        out=False,
    ),
}
each_case = pytest.mark.parametrize("name", CASES)


def operands(name: str, sizes: Sizes, dtype: Any, seed: int = 0) -> dict[str, Array]:
    """Random operands of a case, in order, by name."""
    rng = np.random.default_rng([seed, *sizes])
    case = CASES[name]
    arrays: dict[str, Array] = {
        key: rng.standard_normal(shape).astype(dtype) for key, shape in case.shapes(sizes).items()
    }
    if "a_prev" in arrays:
        arrays["a_prev"] = np.tanh(arrays["a_prev"])  # what a layer puts out
    if case.y:
        arrays["y"] = rng.integers(max(1, sizes.n_out), size=sizes.n)
    return arrays


def numbers_of_every_magnitude(dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of both signs, from subnormal ones to those whose tanh is 1."""
    rng = np.random.default_rng(shape)
    return (rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(-140, 6, shape)).astype(dtype)


def poisoned(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of NaN, so that an element shows if no kernel writes it."""
    return np.full(shape, np.nan, dtype)


def run(name: str, arrays: dict[str, Array]) -> Any:
    """The kernel's result, after checks of what every call promises: see the assertions."""
    case = CASES[name]
    before = {key: array.copy() for key, array in arrays.items()}
    result = case.kernel(*arrays.values())
    if case.out:
        assert result.flags.c_contiguous, "a new result is contiguous"
        out = poisoned(result.shape, result.dtype)
        assert case.kernel(*arrays.values(), out=out) is out, "out is returned"
        assert same_bytes(out, result), "the result doesn't depend on what out held"
    for key, array in arrays.items():
        assert same_bytes(array, before[key]), f"{key} is untouched"
    return result


def same_bytes(a: Any, b: Any) -> bool:
    """Whether two results are the same to the bit."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def wide(array: Array) -> Array:
    """The array in a wider dtype: float64 for float32, and long double for float64 (not wider on every platform)."""
    return array.astype(np.float64 if array.dtype == np.float32 else np.longdouble)


def ulps(result: Array, exact: Array) -> Array:
    """The error in units in the last place. A unit is the step of the result's dtype at the exact value."""
    step = np.spacing(np.abs(exact).astype(result.dtype))
    return (np.abs(result.astype(exact.dtype) - exact) / step).astype(np.float64)


def tolerance(dtype: Any, n_terms: int) -> float:
    """How far off a sum of `n_terms` products may be, relative to the sum of their absolute values."""
    return {np.float32: 1e-6, np.float64: 1e-14}[np.dtype(dtype).type] * float(np.sqrt(max(1, n_terms)))


@contextmanager
def threads(n: int) -> Iterator[None]:
    """In the context, every launch runs on `n` threads, however small it is (in a parallel region if `n` > 1)."""
    numba.get_num_threads()  # starts the threads, which the patched function would have done
    with (
        mock.patch.object(process, "machine", lambda n_threads: Machine(0.0, seconds_per_operation=1.0)),
        mock.patch.multiple(
            policy,
            available_threads=lambda: n,
            LEAST_OPERATIONS=0,
            _threading_layer=lambda: "omp",  # under workqueue it would stay serial
        ),
    ):
        yield


def assert_same_bits(name: str, dtype: Any) -> None:
    """On any number of threads, a kernel gives the bytes of one thread, with whole tiles and lines and without."""
    for sizes in ((1, 1, 1), (7, 31, 33), (33, 127, 32), (49, 784, 17), (127, 33, 31), (784, 7, 127)):
        arrays = operands(name, Sizes(*sizes), dtype)
        with threads(1):
            serial = run(name, arrays)
        for n in range(2, MOST_THREADS + 1):
            with threads(n):
                assert same_bytes(run(name, arrays), serial), (sizes, n)


def _every_second(array: Array) -> Array:
    spread = np.full(tuple(2 * n for n in array.shape), 77).astype(array.dtype)
    view = spread[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _backwards(array: Array) -> Array:
    every = tuple(slice(None, None, -1) for _ in array.shape)
    return np.ascontiguousarray(array[every])[every]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _misaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def memory_mapped(array: Array, mode: Literal["r", "c"] = "r") -> Array:
    if array.size == 0:  # an empty file can't be mapped
        return _read_only(array)
    with tempfile.TemporaryFile() as file:
        file.write(array.tobytes())
        file.flush()
        return np.memmap(file, array.dtype, mode, shape=array.shape)


# The same numbers, lying in memory in another way.
DISGUISES: dict[str, Callable[[Array], Array]] = {
    "plain": np.copy,
    "read-only": _read_only,
    "Fortran": np.asfortranarray,
    "every second": _every_second,
    "backwards": _backwards,
    "misaligned": _misaligned,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "memory-mapped": memory_mapped,
}


def all_kernels() -> list[launch.Kernel]:
    """Every compiled kernel of the package."""
    kernels = [program(kind).kernel for kind in KINDS]
    found = {id(kernel): kernel for kernel in kernels}
    for name, module in sys.modules.items():
        if name.startswith("fastnn.kernels."):
            found.update({id(value): value for value in vars(module).values() if isinstance(value, launch.Kernel)})
    return list(found.values())
