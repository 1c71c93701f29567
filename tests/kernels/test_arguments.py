"""What callers pass: any memory form gives the same bits, overlaps are safe, and errors name the mistake."""

from __future__ import annotations

import numpy as np
import pytest
from cases import (
    CASES,
    DISGUISES,
    STEP_SIZE,
    Sizes,
    each_case,
    each_dtype,
    memory_mapped,
    operands,
    poisoned,
    run,
    same_bytes,
)

from fastnn import kernels

# The forms that `out` may have; the others aren't writable.
OUT_FORMS = ("plain", "Fortran", "every second", "backwards", "misaligned")


@each_dtype
@each_case
def test_any_memory_form(name: str, dtype: type) -> None:
    """One operand or all are read-only, strided, misaligned, ...: the result is the same, in any writable `out`."""
    case = CASES[name]
    for sizes in (Sizes(1, 1, 1), Sizes(7, 5, 3), Sizes(0, 4, 3), Sizes(33, 32, 31), Sizes(9, 33, 64)):
        if name == "cross_entropy" and sizes.n == 0:
            continue  # this is an error: see the tests of the outputs
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
@pytest.mark.parametrize("width", [32, 33])  # only rows of whole lines are written into `out` directly
def test_out_may_overlap_operands(width: int, name: str, dtype: type) -> None:
    """`out` is an operand itself, a view of it, or shifted against it by a few elements."""
    case, sizes = CASES[name], Sizes(width, width, width)
    arrays = operands(name, sizes, dtype)
    expected = run(name, arrays)
    if not case.out:
        return
    for key, array in arrays.items():
        for shift in (0, 1, width - 1, width):
            # The operand and `out` share memory. With a shift of 0 they are the same array, or begin at the same place.
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
    """The gradient may be the parameters themselves, or begin a few numbers before or after them."""
    for before, after in ((0, 0), (0, 5), (5, 0)):
        memory = np.arange(100, dtype=dtype)
        param, grad = memory[before : before + 90].reshape(9, 10), memory[after : after + 90].reshape(9, 10)
        expected = param - dtype(STEP_SIZE) * grad
        kernels.sgd_step(param, grad, STEP_SIZE)
        assert same_bytes(param, expected)


@each_dtype
@each_case
def test_what_is_not_finite_stays_so(name: str, dtype: type) -> None:
    """The results have NaN and infinities where NumPy's have them, and nowhere else."""
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


# The axes whose length no other operand restricts.
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
        if name in ("tanh", "sgd_step"):  # these take any shape
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
    """The mask would go on hiding what was written, and whether Numba takes a masked array varies."""
    arrays = operands(name, Sizes(4, 3, 5), np.float64)
    result = run(name, arrays)
    with pytest.raises(TypeError, match=r"^out "):
        CASES[name].kernel(*arrays.values(), out=np.ma.array(np.zeros_like(result), mask=result > 0))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].out and name != "bias_gradient"])
def test_out_of_a_subclass(name: str) -> None:
    """A matrix or a memory map can be `out`, like any array."""
    arrays = operands(name, Sizes(4, 3, 5), np.float64)
    result = run(name, arrays)
    for out in (np.matrix(poisoned(result.shape, result.dtype)), memory_mapped(np.zeros_like(result), "c")):
        assert CASES[name].kernel(*arrays.values(), out=out) is out
        assert same_bytes(out, result)
