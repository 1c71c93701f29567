"""Arrays as kernels take them: Numba sees one type for each dtype, and no byte beyond their edges is touched."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from cases import (
    CASES,
    DISGUISES,
    MOST_THREADS,
    STEP_SIZE,
    Sizes,
    all_kernels,
    memory_mapped,
    operands,
    threads,
)
from numba import types
from tables import learnt

import fastnn
from fastnn import kernels
from fastnn.kernels.arrays import flat
from fastnn.kernels.simd.shape import LINE_BYTES
from fastnn.pipeline import Model, Schema

HERE = Path(__file__).parent


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (5,), ()])
def test_flat(shape: tuple[int, ...]) -> None:
    """To Numba every array is one-dimensional and writable; the memory of a read-only array outlives the array."""
    array = np.ones(shape)
    assert flat(array).size == array.size
    assert array.size == 0 or np.shares_memory(flat(array), array)
    array.flags.writeable = False
    view = flat(array)
    assert view.flags.writeable
    assert view.ndim == 1
    assert array.size == 0 or np.shares_memory(view, array)
    del array
    assert (view == 1).all()


def float_dtypes(signatures: list[Any]) -> list[Any]:
    """The dtype of the first floating-point array in the first argument of each signature."""

    def flattened(argument: Any) -> list[Any]:
        return (
            [leaf for member in argument.types for leaf in flattened(member)]
            if hasattr(argument, "types")
            else [argument]
        )

    found = []
    for signature in signatures:
        arrays = [member.dtype for member in flattened(signature[0]) if isinstance(member, types.Array)]
        found.append(next(dtype for dtype in arrays if isinstance(dtype, types.Float)))
    return found


def train_and_score_disguised(dtype: type) -> None:
    """Train and score in every way, with arrays in every memory form."""
    X, y = np.random.default_rng(0).standard_normal((20, 5)), np.arange(20) % 3
    for width in (4, 40):  # in the lanes, by panels
        net = fastnn.Network.create([5, width, 3], dtype=dtype)
        for disguise in DISGUISES.values():
            net.predict_proba(disguise(X.astype(dtype)))
            fastnn.train(net, disguise(X), disguise(y), epochs=1, batch_size=7)
    for options, output, target in (
        ({"dropout": 0.5}, "softmax", y),
        ({"clip_norm": 1.0}, "logistic", np.eye(3)[y]),
        ({}, "identity", X[:, :3]),
    ):
        net = fastnn.Network.create([5, 4, 3], "gelu", dtype=dtype, output=output)
        for disguise in DISGUISES.values():
            net.predict(disguise(X.astype(dtype)))
            fastnn.train(net, disguise(X), disguise(target), epochs=1, batch_size=7, **options)
    net, normalised = (fastnn.Network.create([5, 4, 3], dtype=dtype, layer_norm=norm) for norm in (False, True))
    for disguise in DISGUISES.values():
        normalised.predict_proba(disguise(X.astype(dtype)))
        fastnn.train(normalised, disguise(X), disguise(y), epochs=1, batch_size=7)
        sparse = scipy.sparse.csr_array(X.astype(dtype))
        sparse.data, sparse.indptr = disguise(sparse.data), disguise(sparse.indptr)
        sparse.indices = disguise(sparse.indices)
        net.predict_proba(sparse)
        normalised.predict_proba(sparse)
        fastnn.train(net, sparse, disguise(y), epochs=1, batch_size=7)
    for width in (4, 40):
        ensemble = fastnn.Ensemble.create(3, [5, width, 3], dtype=dtype)
        for disguise in DISGUISES.values():
            fastnn.train(ensemble, disguise(X), disguise(y), epochs=1, batch_size=7)
    holes = pa.array([1.5, None] * 10, pa.float32())
    columns = {"single": X[:, 0].astype("f4"), "double": X[:, 1], "whole": y, "holes": holes, "word": ["a", "b"] * 10}
    table = pa.RecordBatch.from_pydict(columns)
    preprocessor = learnt(pa.Table.from_batches([table]))
    net = fastnn.Network.create([len(preprocessor.inputs), 4, 3], dtype=dtype, classes=[0, 1, 2])
    model = Model(Schema.infer(table.schema), preprocessor, net, "y")
    for rows in (table, table.slice(1, 3), table.slice(0, 0)):
        preprocessor.transform(rows, np.dtype(dtype))
        model.predict_proba(rows)


def test_one_signature_a_dtype() -> None:
    """No argument makes a kernel compile again: serial or parallel, each kernel has one signature for each dtype."""
    for dtype in (np.float32, np.float64):
        for n in range(1, min(MOST_THREADS, 2) + 1):
            with threads(n):
                for name, case in CASES.items():
                    arrays = operands(name, Sizes(9, 5, 3), dtype)
                    for disguise in DISGUISES.values():
                        changed = {key: disguise(array) for key, array in arrays.items()}
                        result = case.kernel(*changed.values())
                        if case.out:
                            case.kernel(*changed.values(), out=DISGUISES["every second"](result))
                            case.kernel(*changed.values(), out=memory_mapped(result, "c"))
                train_and_score_disguised(dtype)
    for kernel in all_kernels():
        found = float_dtypes(kernel.compiled.signatures)
        assert len(found) == len(set(found)) == 2, (kernel.name, kernel.compiled.signatures)


def guarded(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of the array, after whose end (or before whose start) touching the next byte kills the process."""
    page = mmap.PAGESIZE
    n_pages = -(-max(1, array.nbytes) // page)
    memory = mmap.mmap(-1, (n_pages + 2) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for forbidden in (address, address + (n_pages + 1) * page):
        if libc.mprotect(ctypes.c_void_p(forbidden), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = (n_pages + 1) * page - array.nbytes if at_end else page
    copy = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    copy[...] = array
    return copy


def guarded_lines(n: int, dtype: Any) -> np.ndarray:
    """Memory like that of `aligned_zeros` and `aligned_empty`, with a forbidden page after the last line."""
    dtype = np.dtype(dtype)
    whole = -(-n * dtype.itemsize // LINE_BYTES) * LINE_BYTES
    return guarded(np.zeros(whole // dtype.itemsize, dtype), at_end=True)[:n]


def guard_our_memory() -> None:
    for name, module in list(sys.modules.items()):
        for function in ("aligned_zeros", "aligned_empty"):
            if name.startswith("fastnn.") and hasattr(module, function):
                setattr(module, function, guarded_lines)


# Layer sizes, samples, batch size: samples in lanes and in rows, tails of all kinds, a batch larger than the data.
TRAININGS = (
    ([2, 3, 2], 20, 20),
    ([2, 3, 2], 21, 4),
    ([65, 40, 9, 4], 70, 16),
    ([7, 100, 17], 30, 30),
    ([130, 20, 3], 25, 300),
    ([3, 5, 6, 7, 4], 999, 600),
)


def call_all_within_guards() -> None:
    """Run every kernel, score and train on arrays between forbidden pages; fastnn's own memory has such pages too."""
    guard_our_memory()
    every = [Sizes(1, 1, 1), Sizes(7, 33, 31), Sizes(50, 17, 32), Sizes(33, 127, 16)]
    for dtype in (np.float32, np.float64):
        for at_end in (True, False):
            for sizes in every:
                for name, case in CASES.items():
                    arrays = {key: guarded(array, at_end) for key, array in operands(name, sizes, dtype).items()}
                    result = case.kernel(*arrays.values())
                    if case.out:
                        out = guarded(np.zeros_like(result), at_end)
                        case.kernel(*arrays.values(), out=out)
                    if name == "sgd_step":
                        kernels.sgd_step(*arrays.values(), STEP_SIZE)
                X = guarded(np.ones((sizes.n, sizes.n_in), dtype), at_end)
                y = guarded(np.zeros(sizes.n, int), at_end)
                net = fastnn.Network.create([sizes.n_in, 17, sizes.n_out], dtype=dtype)
                net.params = guarded(net.params, at_end)
                net.predict_proba(X)
                for solver in ("sgd", "adam"):
                    fastnn.train(net, X, y, epochs=2, batch_size=7, solver=solver, alpha=0.1)
            for layer_sizes, n, batch_size in TRAININGS:
                X = guarded(np.ones((n, layer_sizes[0]), dtype), at_end)
                y = guarded(np.zeros(n, int), at_end)
                for shuffle in (True, False):
                    net = fastnn.Network.create(layer_sizes, dtype=dtype)
                    fastnn.train(net, X, y, epochs=2, batch_size=batch_size, shuffle=shuffle)
                    for rows in (X, X[:1], X[-1:]):
                        net.predict_proba(rows)
                    sparse = scipy.sparse.csr_array(np.eye(n, layer_sizes[0], dtype=dtype))
                    sparse.data, sparse.indices = guarded(sparse.data, at_end), guarded(sparse.indices, at_end)
                    sparse.indptr = guarded(sparse.indptr, at_end)
                    fastnn.train(net, sparse, y, epochs=2, batch_size=batch_size, shuffle=shuffle, clip_norm=1.0)
                    fastnn.train(net, sparse, y, epochs=2, batch_size=batch_size, shuffle=shuffle)
                    net.predict_proba(sparse)
                    normalised = fastnn.Network.create(layer_sizes, dtype=dtype, layer_norm=True)
                    normalised.params = guarded(normalised.params, at_end)
                    fastnn.train(normalised, X, y, epochs=2, batch_size=batch_size, shuffle=shuffle)
                    for rows in (X, X[:1], sparse):
                        normalised.predict_proba(rows)
                    ensemble = fastnn.Ensemble.create(3, layer_sizes, dtype=dtype)
                    fastnn.train(ensemble, X, y, epochs=2, batch_size=batch_size, shuffle=shuffle)


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect as Linux has it")
@pytest.mark.parametrize("n_threads", sorted({1, min(2, MOST_THREADS)}))
def test_nothing_beyond_the_edges(n_threads: int) -> None:
    """No kernel reads or writes a byte before or after its operands. A child process does it, as it would be killed."""
    script = (
        "from test_arrays import call_all_within_guards\n"
        "from cases import threads\n"
        f"with threads({n_threads}): call_all_within_guards()\n"
        "print('whole')"
    )
    path = f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]\n"
    child = subprocess.run([sys.executable, "-c", path + script], capture_output=True, text=True, check=False)
    assert child.stdout == "whole\n", f"exit code {child.returncode}\n{child.stderr}"
