"""What callers pass: any memory form gives the same bits, overlaps are safe, mistakes are named, edges are kept."""

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
    each_case,
    each_dtype,
    memory_mapped,
    operands,
    poisoned,
    run,
    same_bytes,
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
# The forms that `out` may have: it must be writable.
OUT_FORMS = ("plain", "Fortran", "every second", "backwards", "misaligned")


@each_dtype
@each_case
def test_any_memory_form(name: str, dtype: type) -> None:
    """Operands read-only, strided, misaligned, ..., one of them or all: the same bytes, in any writable `out`."""
    case = CASES[name]
    for sizes in (Sizes(1, 1, 1), Sizes(7, 5, 3), Sizes(0, 4, 3), Sizes(33, 32, 31), Sizes(9, 33, 64)):
        if name == "cross_entropy" and sizes.n == 0:
            continue  # an error: see the tests of the loss
        arrays = operands(name, sizes, dtype)
        plain = run(name, arrays)
        for form, disguise in DISGUISES.items():
            everything = {key: disguise(array) for key, array in arrays.items()}
            for changed in (everything, *(arrays | {key: everything[key]} for key in arrays)):
                assert same_bytes(run(name, changed), plain), (form, sizes)
            for out_form in OUT_FORMS if case.out else ():
                out = DISGUISES[out_form](poisoned(plain.shape, dtype))
                before = None if out.base is None else out.base.copy()
                assert case.kernel(*everything.values(), out=out) is out
                assert same_bytes(out, plain), (form, out_form, sizes)
                if out_form == "every second" and out.size:
                    assert (out.base[1::2] == before[1::2]).all(), "what lies between out's elements is untouched"


@each_case
def test_array_likes(name: str) -> None:
    """Nested lists of floats are float64 arrays."""
    arrays = operands(name, Sizes(7, 5, 3), np.float64)
    assert same_bytes(CASES[name].kernel(*(array.tolist() for array in arrays.values())), run(name, arrays))


@each_dtype
@each_case
@pytest.mark.parametrize("width", [32, 33])  # of whole lines, where kernels write into `out` at once, and not
def test_out_may_overlap_operands(width: int, name: str, dtype: type) -> None:
    """`out` is an operand itself, a view of it, or shifted against it by a few elements."""
    case, sizes = CASES[name], Sizes(width, width, width)
    arrays = operands(name, sizes, dtype)
    expected = run(name, arrays)
    if not case.out:
        return
    for key, array in arrays.items():
        for shift in (0, 1, width - 1, width):
            # The operand and `out`, in one memory; with a shift of 0 they are one array, or one ends inside the other.
            memory = np.zeros(max(array.size, expected.size) + width, array.dtype)
            operand = memory[: array.size].reshape(array.shape)
            operand[...] = array
            target = memory[shift:].view(dtype)[: expected.size].reshape(expected.shape)
            if shift == 0 and target.shape == operand.shape and array.dtype == dtype:
                target = operand
            assert case.kernel(*(arrays | {key: operand}).values(), out=target) is target
            assert same_bytes(target, expected), (key, shift)
    if case.reference in (CASES["tanh"].reference, CASES["softmax"].reference):
        backwards = arrays["z"].copy()
        case.kernel(backwards, out=backwards[::-1, ::-1])
        assert same_bytes(backwards[::-1, ::-1], expected)


@each_dtype
def test_sgd_step_may_overlap(dtype: type) -> None:
    """The gradient may be the parameters themselves, or lie a little before or after them."""
    for before, after in ((0, 0), (0, 5), (5, 0)):
        memory = np.arange(100, dtype=dtype)
        param, grad = memory[before : before + 90].reshape(9, 10), memory[after : after + 90].reshape(9, 10)
        expected = param - dtype(STEP_SIZE) * grad
        kernels.sgd_step(param, grad, STEP_SIZE)
        assert same_bytes(param, expected)


@each_dtype
@each_case
def test_what_is_not_finite_stays_so(name: str, dtype: type) -> None:
    """NaN and infinities come out where NumPy has them, and nowhere else."""
    case, sizes = CASES[name], Sizes(9, 6, 5)
    for value in (np.nan, np.inf, -np.inf):
        arrays = operands(name, sizes, dtype)
        for key in list(arrays)[: -1 if case.y else None]:
            poisoned_one = arrays[key].copy()
            poisoned_one.flat[poisoned_one.size // 2] = value
            changed = arrays | {key: poisoned_one}
            with np.errstate(invalid="ignore"):
                exact = np.asarray(case.reference(*changed.values()))
            result = np.asarray(run(name, changed))
            assert (np.isnan(result) == np.isnan(exact)).all(), (key, value)
            infinite = np.isinf(exact)
            assert (np.isinf(result) == infinite).all(), (key, value)
            assert (result[infinite] == exact[infinite]).all(), (key, value)


# The axes of operands that no other operand is held against: they decide the result's shape.
FREE: dict[str, set[tuple[str, int]]] = {
    "linear": {("X", 0)},
    "linear_tanh": {("X", 0)},
    "tanh": {("z", 0), ("z", 1)},
    "softmax": {("z", 0), ("z", 1)},
    "cross_entropy": {("z", 1)},
    "output_delta": {("p", 1)},
    "weight_gradient": {("a_prev", 1), ("delta", 1)},
    "bias_gradient": {("delta", 0), ("delta", 1)},
    "hidden_delta": set(),
    "sgd_step": set(),
}


@each_case
def test_mistakes_in_operands_are_named(name: str) -> None:
    """Another dtype is a TypeError, another shape a ValueError, and each begins with the name of an operand."""
    case, sizes = CASES[name], Sizes(4, 3, 5)
    arrays = operands(name, sizes, np.float64)
    floats = [key for key in arrays if key != "y"]
    for key in floats:
        array = arrays[key]
        for other in (np.int64, np.float16, np.complex128, bool, object, str):
            with pytest.raises(TypeError, match=rf"^{key} must be float32 or float64, got "):
                case.kernel(*(arrays | {key: array.astype(other)}).values())
        if key != floats[0]:
            with pytest.raises(TypeError, match=rf"^{key} is float32, but the operands before it are float64"):
                case.kernel(*(arrays | {key: array.astype(np.float32)}).values())
        if name in ("tanh", "sgd_step"):  # which take any shape
            continue
        for wrong in (array[np.newaxis], array[0]):
            with pytest.raises(ValueError, match=rf"^({'|'.join(arrays)}) must have \d dimension"):
                case.kernel(*(arrays | {key: wrong}).values())
    bound = [(key, axis) for key in arrays for axis in range(arrays[key].ndim) if (key, axis) not in FREE[name]]
    for key, axis in bound:
        with pytest.raises(ValueError, match=rf"^({'|'.join(arrays)}) must have shape"):
            case.kernel(*(arrays | {key: np.delete(arrays[key], 0, axis)}).values())


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].out])
def test_mistakes_in_out_are_named(name: str) -> None:
    case = CASES[name]
    arrays = operands(name, Sizes(4, 3, 5), np.float64)
    shape = run(name, arrays).shape
    read_only = np.zeros(shape)
    read_only.flags.writeable = False
    for out, error in (
        (np.zeros(shape, np.float32), TypeError),
        (np.zeros(shape, ">f8"), TypeError),
        (np.zeros(shape).tolist(), TypeError),
        (np.zeros((*shape[:-1], shape[-1] + 1)), ValueError),
        (np.zeros((1, *shape)), ValueError),
        (read_only, ValueError),
    ):
        with pytest.raises(error, match=r"^out "):
            case.kernel(*arrays.values(), out=out)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].out])
def test_masked_out_is_refused(name: str) -> None:
    """Its mask would go on hiding what was written; and to Numba it is no array, or is one, as the day may be."""
    arrays = operands(name, Sizes(4, 3, 5), np.float64)
    result = run(name, arrays)
    with pytest.raises(TypeError, match=r"^out "):
        CASES[name].kernel(*arrays.values(), out=np.ma.array(np.zeros_like(result), mask=result > 0))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].out and name != "bias_gradient"])
def test_out_of_a_subclass(name: str) -> None:
    """A matrix or a memory map takes the result as an array does."""
    arrays = operands(name, Sizes(4, 3, 5), np.float64)
    result = run(name, arrays)
    for out in (np.matrix(poisoned(result.shape, result.dtype)), memory_mapped(np.zeros_like(result), "c")):
        assert CASES[name].kernel(*arrays.values(), out=out) is out
        assert same_bytes(out, result)


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (5,), ()])
def test_flat(shape: tuple[int, ...]) -> None:
    """One Numba type: writable in its eyes, one-dimensional; and a read-only array's memory outlives the array."""
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
    """Every way to train and to score, with arrays that lie in memory in every way."""
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
    """Nothing that a caller may pass compiles a kernel again: serial or parallel, all have one signature a dtype."""
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
    """A copy of the array in memory of its own that ends (or begins) where touching the next byte kills the process."""
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
    """What `aligned_zeros` and `aligned_empty` return, with a forbidden page behind its last line."""
    dtype = np.dtype(dtype)
    whole = -(-n * dtype.itemsize // LINE_BYTES) * LINE_BYTES
    return guarded(np.zeros(whole // dtype.itemsize, dtype), at_end=True)[:n]


def guard_our_memory() -> None:
    for name, module in list(sys.modules.items()):
        for function in ("aligned_zeros", "aligned_empty"):
            if name.startswith("fastnn.") and hasattr(module, function):
                setattr(module, function, guarded_lines)


# Layer sizes, samples, and a batch's: samples in the lanes and in rows, tails of all kinds, a batch beyond the data.
TRAININGS = (
    ([2, 3, 2], 20, 20),
    ([2, 3, 2], 21, 4),
    ([65, 40, 9, 4], 70, 16),
    ([7, 100, 17], 30, 30),
    ([130, 20, 3], 25, 300),
    ([3, 5, 6, 7, 4], 999, 600),
)


def call_all_within_guards() -> None:
    """Every kernel, scoring and training on arrays between forbidden pages, and in memory of ours that has them too."""
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
    """No kernel reads or writes a byte before or behind its operands. In a process of its own: it would be killed."""
    script = (
        "from test_arrays import call_all_within_guards\n"
        "from cases import threads\n"
        f"with threads({n_threads}): call_all_within_guards()\n"
        "print('whole')"
    )
    path = f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]\n"
    child = subprocess.run([sys.executable, "-c", path + script], capture_output=True, text=True, check=False)
    assert child.stdout == "whole\n", f"exit code {child.returncode}\n{child.stderr}"
