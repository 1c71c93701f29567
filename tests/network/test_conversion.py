"""What callers pass is taken as it is, converted, or refused with a reason."""

import numpy as np
import pandas as pd
import pytest

from fastnn.network.conversion import as_class_indices, as_rows, as_weights, finite_rows

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
ROWS = [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    "X",
    [
        ROWS,
        tuple(map(tuple, ROWS)),
        np.array(ROWS, bool),
        np.array(ROWS, np.uint8),
        np.array(ROWS, np.float16),
        np.array(ROWS, np.longdouble),
        np.array(ROWS, ">f4"),
        np.array(ROWS, object),
        np.asfortranarray(ROWS, np.float32),
        np.array(ROWS, np.float32)[::-1][::-1],
        np.repeat(np.array(ROWS, np.float64), 2, axis=1)[:, ::2],
        pd.DataFrame(ROWS, columns=["a", "b"]),
    ],
    ids=lambda X: f"{type(X).__name__}-{getattr(X, 'dtype', '')}",
)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_real_numbers_of_any_kind_become_plain_rows(X, dtype):
    rows = finite_rows(as_rows(X, 2), dtype)
    assert rows.tolist() == ROWS
    assert rows.dtype == dtype and rows.dtype.isnative
    assert rows.flags.c_contiguous and rows.flags.aligned


@pytest.mark.parametrize("dtype", [F32, F64])
def test_plain_rows_are_not_copied(dtype):
    X = np.zeros((3, 2), dtype)
    X.flags.writeable = False
    assert finite_rows(as_rows(X, 2), dtype) is X


def test_rows_at_an_odd_address_are_copied():
    misaligned = np.zeros(3 * 2 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(3, 2)
    assert not misaligned.flags.aligned
    rows = finite_rows(as_rows(misaligned, 2), F32)
    assert rows.flags.aligned and not rows.any()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ma.masked_equal(ROWS, 0), TypeError, "masked array"),
        ([["a", "b"]], TypeError, "X must hold real numbers, got dtype <U1"),
        (np.array([["a", 1]], object), TypeError, "something else than numbers"),
        (np.eye(2) * 1j, TypeError, "real numbers, got dtype complex128"),
        (np.zeros((1, 2), "M8[D]"), TypeError, "real numbers, got dtype datetime64"),
        (np.zeros((1, 2), "S1"), TypeError, "real numbers, got dtype"),
        (np.zeros(2), ValueError, r"two dimensions.*shape \(2,\).*reshape\(1, -1\)"),
        (np.zeros((1, 2, 1)), ValueError, r"two dimensions.*shape \(1, 2, 1\)"),
        (3.0, ValueError, r"two dimensions.*shape \(\)"),
        (np.zeros((4, 3)), ValueError, "X has 3 features, but the network expects 2"),
        (np.zeros((0, 3)), ValueError, "X has 3 features"),
    ],
)
def test_rows_that_do_not_fit_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        as_rows(X, 2)


# A sum may overflow to infinity, or to NaN where infinities of both signs meet: no reason to refuse or to warn.
@pytest.mark.parametrize("row", [[3e38, 3e38], [3e38, -3e38], [1e38, 1e38] * 50, [3e38] * 64 + [-3e38] * 64])
def test_large_numbers_are_not_infinite(row):
    X = np.array([row] * 40, np.float32)
    assert finite_rows(X, F32) is X
    assert finite_rows(np.vstack([X, -X]), F32).shape == (80, len(row))


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("bad", [[np.nan, 0], [np.inf, 0], [-np.inf, 0], [np.inf, -np.inf], [np.nan, np.inf]])
def test_nan_and_infinity_are_refused(dtype, bad):
    for given in (F32, F64, np.dtype(np.float16)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            finite_rows(np.array([[0, 0], bad], given), dtype)


def test_what_float32_cannot_hold_is_refused_by_name():
    for X in (np.array([[1e300]]), np.array([[0.0], [-3.5e38]]), np.array([[1e39]], np.longdouble)):
        with pytest.raises(ValueError, match="too large for float32"):
            finite_rows(X, F32)
        assert finite_rows(X, F64) == pytest.approx(X.astype(float))


@pytest.mark.parametrize(
    ("classes", "labels", "indices"),
    [
        (np.array(["b", "a", "c"]), ["a", "c", "b", "a"], [1, 2, 0, 1]),
        (np.array(["b", "a"], object), np.array(["a", "b"], object), [1, 0]),
        (np.array([10, -3, 7]), [7, 10, -3], [2, 0, 1]),
        (np.array([10, -3, 7]), np.array([7.0, 10.0]), [2, 0]),
        (np.array([False, True]), [True, False], [1, 0]),
        (np.array([0, 1]), [True, False], [1, 0]),
        (np.array([0.5, 1.5]), [1.5, 0.5], [1, 0]),
        (np.array(["a"]), pd.Series(["a", "a"]), [0, 0]),
        (np.array(["a", "b"]), pd.Categorical(["b", "a"]), [1, 0]),
        (np.array(["a", "b"]), np.array([], str), []),
        (None, np.array([2, 0, 1], np.uint8), [2, 0, 1]),
        (None, np.array([], int), []),
    ],
)
def test_labels_become_class_indices(classes, labels, indices):
    found = as_class_indices(labels, len(indices), 3 if classes is None else len(classes), classes)
    assert found.dtype == np.int64
    assert found.tolist() == indices


@pytest.mark.parametrize(
    ("classes", "y", "unknown"),
    [
        (["a", "b"], ["a", "z", "y", "z"], "y, z"),
        (["a", "b"], [1, 2], "1, 2"),
        ([1, 2], ["1", "2"], "1, 2"),
        ([1, 2], [1, 2.5], "2.5"),
        ([1, 2], [1, np.nan], "nan"),
        (["a", "b"], ["a", None], "None"),
        ([0, 1], list(range(100, 200)), "100, 101, 102, 103, 104"),
    ],
)
def test_labels_that_the_network_does_not_have_are_named(classes, y, unknown):
    with pytest.raises(ValueError, match=rf"^y holds labels that the network doesn't have: {unknown}\.$"):
        as_class_indices(y, len(y), len(classes), np.array(classes))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1], ValueError, r"shape \(3,\), one label for each row of X, got \(2,\)"),
        ([[0], [1], [2]], ValueError, r"got \(3, 1\)"),
        ([0, 1, 3], ValueError, "from 0 to 2, got 0 to 3"),
        ([-1, 0, 1], ValueError, "from 0 to 2, got -1 to 1"),
        (np.array([2**63, 0, 0], np.uint64), ValueError, "from 0 to 2"),
        ([0.0, 1.0, 2.0], TypeError, "integer dtype, got float64.*classes="),
        ([True, False, True], TypeError, "integer dtype, got bool"),
        (["0", "1", "2"], TypeError, "integer dtype, got <U1"),
    ],
)
def test_indices_that_do_not_fit_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        as_class_indices(y, 3, 3, None)


def test_weights():
    assert as_weights(None, 3, F32).size == 0
    given = np.array([1.0, 0.0, 2.5])
    weights = as_weights(given, 3, F64)
    assert weights.tolist() == given.tolist()
    assert as_weights([1, 0, 2], 3, F32).dtype == F32
    for bad, message in (
        ([1, 2], r"shape \(3,\), one weight for each row, got \(2,\)"),
        (2.0, r"got \(\)"),
        ([1, np.nan, 1], "NaN"),
        ([1, np.inf, 1], "infinity"),
        ([1, 1e300, 1], "too large for float32"),
    ):
        with pytest.raises(ValueError, match=message):
            as_weights(bad, 3, F32)
    with pytest.raises(TypeError, match="sample_weight must hold real numbers, got dtype <U1"):
        as_weights(["a", "b", "c"], 3, F32)
