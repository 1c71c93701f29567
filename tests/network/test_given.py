"""Numbers and labels as a caller gives them: what is wrong with them is said in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastnn
from fastnn import Ensemble, Network
from fastnn.network.given import as_numbers, exact_labels

BIG = 2**63
X = np.random.default_rng(0).normal(size=(6, 3))
# What is no array of real numbers.
NO_NUMBERS: dict[str, tuple[Any, type[Exception], str]] = {
    "masked": (np.ma.masked_array([1.0] * 6, [True] + [False] * 5), TypeError, "is a masked array: fill its holes"),
    "times": (np.arange(6).astype("M8[D]"), TypeError, "must hold real numbers, got dtype datetime64"),
    "durations": (np.arange(6).astype("m8[D]"), TypeError, "must hold real numbers, got dtype timedelta64"),
    "records": (np.zeros(6, [("a", int)]), TypeError, "must hold real numbers, got dtype"),
    "complex": (np.ones(6, complex), TypeError, "must hold real numbers, got dtype complex128"),
    "words": (["a"] * 6, TypeError, "must hold real numbers, got dtype <U1"),
    "numbers in words": (["1"] * 6, TypeError, "must hold real numbers, got dtype <U1"),
    "bytes": ([b"1"] * 6, TypeError, r"must hold real numbers, got dtype \|S1"),
    "words among objects": (np.array(["a", 1] * 3, object), TypeError, "holds something else than numbers"),
    "a dict": ({"a": 1}, TypeError, "holds something else than numbers"),
    "a generator": ((i for i in range(6)), TypeError, "holds something else than numbers"),
    "huge": ([10**400] * 6, ValueError, "holds whole numbers that are too large for float64"),
    "ragged": ([[1], [1, 2]] * 3, ValueError, "isn't an array of one shape"),
    "sparse": (scipy.sparse.csr_array(np.ones((6, 1))), TypeError, "must not be sparse: pass .*toarray"),
}
each_wrong = pytest.mark.parametrize(("value", "error", "message"), NO_NUMBERS.values(), ids=NO_NUMBERS)


@each_wrong
def test_what_is_no_number(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^sample_weight {message}"):
        as_numbers("sample_weight", value)
    for output in ("identity", "exp", "logistic"):
        with pytest.raises(error, match=f"^y {message}"):
            fastnn.train(Network.create([3, 1], output=output), X, value)


@pytest.mark.parametrize("value", [[1, 2], [True, False], np.array([1, 2.5], object), np.array([2**70], object), 3])
def test_numbers(value: Any) -> None:
    np.testing.assert_array_equal(as_numbers("y", value).astype(float), np.array(value, float))


@pytest.mark.parametrize(
    "labels",
    [[BIG, 1, 7], (2**64 - 1, 2**64 - 2), [BIG, BIG + 1], [2**53 + 1, 2**53], [-BIG, BIG - 1], [1, 2], ["a", "b"]],
    ids=str,
)
def test_whole_numbers_stay_exact(labels: Any) -> None:
    """NumPy makes floats of a list with numbers below and above 2**63: some labels would be lost."""
    assert np.asarray(exact_labels(labels)).tolist() == list(labels)


@pytest.mark.parametrize(
    "labels", [[BIG, -1], [2**64, 1], [-BIG - 1], np.array([2**70, 1], object), [10**400, 1]], ids=lambda v: str(v)[:20]
)
def test_whole_numbers_that_no_type_holds_are_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"^labels from .* fit neither int64 nor uint64: make them strings"):
        exact_labels(labels)
    with pytest.raises(ValueError, match="fit neither int64 nor uint64"):
        Network.create([3, len(labels)], classes=labels)


@pytest.mark.parametrize("kind", ["network", "ensemble"])
@pytest.mark.parametrize("classes", [[BIG + 1, 0, BIG], [2**53, 2**53 + 1, 2**53 + 2], [7, -1, 3]], ids=str)
@pytest.mark.parametrize("dtype", ["int64", "uint64", "list"])
def test_labels_of_either_type_are_found(classes: list[int], dtype: str, kind: str, tmp_path: Any) -> None:
    net = Network.create([3, 3], classes=classes) if kind == "network" else Ensemble.create(2, [3, 3], classes=classes)
    assert net.classes is not None and net.classes.tolist() == classes
    net.save(tmp_path / "model")
    again = type(net).load(tmp_path / "model")
    assert again.classes is not None and again.classes.tolist() == classes
    given = [label for label in classes if dtype == "list" or np.iinfo(dtype).min <= label <= np.iinfo(dtype).max]
    given = (given * 6)[:6]
    y = given if dtype == "list" else np.array(given, dtype)
    checked = again.checked(fastnn.network.samples.Samples(X, y))
    assert [classes[index] for index in checked.y] == given


@pytest.mark.parametrize(
    ("classes", "y"),
    [([2**53 + 1, 0], np.array([2**53] * 6, np.int64)), (np.array([2**64 - 1, 0], np.uint64), np.array([-1] * 6))],
    ids=["neighbours", "the same bits"],
)
def test_labels_that_are_nearly_the_same_are_unknown(classes: Any, y: Any) -> None:
    net = Network.create([3, 2], classes=np.array(classes, np.uint64))
    with pytest.raises(ValueError, match="labels that the network doesn't have"):
        fastnn.train(net, X, y)


def test_masked_labels_are_refused() -> None:
    y = np.ma.masked_array([0, 1] * 3, [True] + [False] * 5)
    for net in (Network.create([3, 2]), Network.create([3, 2], classes=[0, 1])):
        with pytest.raises(TypeError, match="labels are a masked array"):
            fastnn.train(net, X, y)


def test_activations_that_are_no_names() -> None:
    for activation in (5, np.array("tanh"), None):
        with pytest.raises(TypeError, match="activation must be a name, or a sequence of names, got"):
            Network.create([3, 4, 2], activation)  # type: ignore[arg-type]
