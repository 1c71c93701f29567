"""F3, F4 and B1: their errors, extreme logits, and the arguments that are refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import reference
from cases import (
    SIZES,
    Sizes,
    assert_same_bits,
    each_dtype,
    needs_threads,
    operands,
    run,
    same_bytes,
    tolerance,
    ulps,
    wide,
)

from fastnn import kernels


@each_dtype
@pytest.mark.parametrize("scale", [1, 40, 1000])
def test_softmax_error(scale: float, dtype: type) -> None:
    """The error is at most 4 ULP plus the error of the sum over classes, down to subnormal probabilities."""
    for shape in product(SIZES, repeat=2):
        z = operands("softmax", Sizes(shape[0], 0, shape[1]), dtype)["z"] * dtype(scale)
        p = run("softmax", {"z": z})
        assert p.shape == shape
        assert p.dtype == dtype
        assert (ulps(p, reference.softmax(wide(z))) <= 4 + np.sqrt(shape[1])).all(), shape
        if shape[1]:
            assert np.allclose(p.sum(axis=1), 1, rtol=tolerance(dtype, shape[1]))


@each_dtype
def test_extreme_logits(dtype: type) -> None:
    """At ±1000 nothing overflows, and nothing is rounded."""
    z = np.array([[1000, -1000], [-1000, 1000], [1000, 1000], [-1000, -1000]], dtype)
    half = np.log(dtype(2), dtype=dtype)
    assert same_bytes(kernels.softmax(z), np.array([[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]], dtype))
    for row, y, loss in ((0, 0, 0), (0, 1, 2000), (1, 1, 0), (1, 0, 2000), (2, 0, half), (3, 1, half)):
        assert kernels.cross_entropy(z[row : row + 1], np.array([y])) == loss
    largest = np.finfo(dtype).max
    assert same_bytes(kernels.softmax(np.array([[largest, -largest]])), np.array([[1, 0]], dtype))
    assert same_bytes(kernels.softmax(np.array([[-np.inf, 3]], dtype)), np.array([[0, 1]], dtype))


@each_dtype
@pytest.mark.parametrize("scale", [1, 40, 1000])
def test_cross_entropy_error(scale: float, dtype: type) -> None:
    """A sample's loss is a difference of logits plus the log of a sum, whose error is the sum's relative error."""
    for n, n_classes in product(SIZES[1:], repeat=2):
        arrays = operands("cross_entropy", Sizes(n, 0, n_classes), dtype)
        z, y = arrays["z"] * dtype(scale), arrays["y"]
        loss = run("cross_entropy", {"z": z, "y": y})
        exact = wide(z)
        below_largest = exact.max(axis=1) - exact[np.arange(n), y]
        bound = tolerance(dtype, n_classes) * (1 + 2 * below_largest).mean()
        assert isinstance(loss, float)
        assert abs(loss - reference.cross_entropy(exact, y)) <= bound, (n, n_classes)


def test_cross_entropy_of_a_sure_right_answer_is_small_and_not_negative() -> None:
    for gap in range(60):
        z = np.array([[0.0, gap]])
        assert 0 <= kernels.cross_entropy(z, np.array([1])) <= np.log1p(np.exp(-gap)) + 1e-15


@each_dtype
def test_output_delta_error(dtype: type) -> None:
    for n, n_classes in product(SIZES, repeat=2):
        if n and not n_classes:
            continue  # no class index is valid
        arrays = operands("output_delta", Sizes(n, 0, n_classes), dtype)
        arrays["p"] = kernels.softmax(arrays["p"])
        delta = run("output_delta", arrays)
        exact = reference.output_delta(wide(arrays["p"]), arrays["y"])
        assert delta.shape == (n, n_classes)
        assert (ulps(delta, exact) <= 4).all(), (n, n_classes)


@needs_threads
@each_dtype
@pytest.mark.parametrize("name", ["softmax", "cross_entropy", "output_delta"])
def test_same_bits(name: str, dtype: type) -> None:
    assert_same_bits(name, dtype)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_cross_entropy_of_nothing(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one row and one class"):
        kernels.cross_entropy(np.zeros(shape), np.zeros(shape[0], int))


@pytest.mark.parametrize(
    ("y", "error"),
    [
        (np.array([0, 1, 3]), ValueError),
        (np.array([0, -1, 2]), ValueError),
        (np.array([0, 2**63 + 1, 2], np.uint64), ValueError),
        (np.array([0, 1]), ValueError),
        (np.array([[0, 1, 2]]), ValueError),
        (np.array([0.0, 1.0, 2.0]), TypeError),
        (np.array([True, False, True]), TypeError),
        (np.array(["0", "1", "2"]), TypeError),
        (None, TypeError),
    ],
    ids=repr,
)
def test_wrong_class_indices(y: object, error: type[Exception]) -> None:
    for kernel in (kernels.cross_entropy, kernels.output_delta):
        with pytest.raises(error, match=r"^y "):
            kernel(np.ones((3, 3)), y)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "uint64", ">i4", ">i8"])
def test_any_integers_are_class_indices(dtype: str) -> None:
    z, y = operands("cross_entropy", Sizes(33, 0, 7), np.float32).values()
    assert kernels.cross_entropy(z, y.astype(dtype)) == kernels.cross_entropy(z, y)
    assert same_bytes(kernels.output_delta(z, y.astype(dtype)), kernels.output_delta(z, y))
    assert kernels.cross_entropy(z, y.tolist()) == kernels.cross_entropy(z, y)
