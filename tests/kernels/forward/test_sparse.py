"""Sparse samples: the bits of the same samples in plain rows, whatever the network, the options and the threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from cases import MOST_THREADS, each_dtype

import fastnn
from fastnn.network.samples import Samples
from fastnn.training.trainer import Trainer, TrainOptions

N, N_IN = 203, 131
# First layers of one line, of whole panels, of panels and a line left over, and of several groups of panels (see
# `sum_of_rows`).
SIZES = ((N_IN, 100, 7), (N_IN, 7), (N_IN, 40, 300, 7), (N_IN, 17, 7))
OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sgd with a penalty": {"alpha": 0.1},
    "nesterov": {"momentum": 0.9, "nesterovs_momentum": True, "shuffle": False},
    "adam": {"solver": "adam", "step_size": 0.01, "alpha": 0.01},
    "adamw, clipped": {"solver": "adamw", "step_size": 0.01, "weight_decay": 0.1, "clip_norm": 0.3},
    "dropout, smoothed": {"dropout": 0.2, "label_smoothing": 0.1},
}


def matrix(dtype: Any, n: int = N) -> Any:
    """Rows with some entries, with none and with all; some columns without entries."""
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(n, N_IN)) * (rng.random((n, N_IN)) < 0.05)
    dense[n // 2], dense[n // 3] = 0, rng.normal(size=N_IN)
    dense[:, [0, 17, N_IN - 1]] = 0
    return scipy.sparse.csr_array(dense.astype(dtype))


def trained(net: fastnn.Network, X: Any, weight: Any = None, **options: Any) -> list[float]:
    options = {"batch_size": 32, "seed": 3, **options}
    samples = Samples(X, np.arange(X.shape[0]) % 7, weight)
    return [epoch.loss for epoch in Trainer(net, TrainOptions(**options)).epochs(samples, 3)]


@each_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_training_has_the_bits_of_plain_rows(dtype: type, sizes: tuple[int, ...], options: dict[str, Any]) -> None:
    X, weight = matrix(dtype), np.random.default_rng(1).uniform(0, 2, N)
    plain = fastnn.Network.create(sizes, seed=5, dtype=dtype)
    losses = trained(plain, X.toarray(), weight, **options)
    for n_threads in {1, MOST_THREADS}:
        sparse = fastnn.Network.create(sizes, seed=5, dtype=dtype)
        assert trained(sparse, X, weight, **options, n_threads=n_threads) == losses
        np.testing.assert_array_equal(sparse.params, plain.params)


@each_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_scoring_has_the_bits_of_plain_rows(dtype: type, sizes: tuple[int, ...]) -> None:
    net = fastnn.Network.create(sizes, "gelu", seed=5, dtype=dtype)
    for n in (0, 1, 7, 97, 203):
        X = matrix(dtype, max(n, 4))[:n]
        expected = net.predict_proba(X.toarray())
        for n_threads in {1, MOST_THREADS}:
            np.testing.assert_array_equal(net.predict_proba(X, n_threads=n_threads), expected)


def frozen(X: Any) -> Any:
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    return X


def unordered(X: Any) -> Any:
    backwards = np.concatenate([np.arange(b - 1, a - 1, -1) for a, b in zip(X.indptr, X.indptr[1:], strict=False)])
    return scipy.sparse.csr_array((X.data[backwards], X.indices[backwards], X.indptr), X.shape)


def repeated(X: Any) -> Any:
    """Each entry in two halves."""
    return scipy.sparse.csr_array((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), X.indptr * 2), X.shape)


FORMS = {
    "other formats": lambda X: X.tocsc(),
    "a matrix": scipy.sparse.csr_matrix,
    "float64": lambda X: X.astype(np.float64),
    "64-bit indices": lambda X: scipy.sparse.csr_array(
        (X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), X.shape
    ),
    "read-only": lambda X: frozen(X.copy()),
    "unordered": unordered,
    "repeated": repeated,
    "zeros written down": lambda X: scipy.sparse.csr_array(
        (np.append(X.data, 0), np.append(X.indices, 0), np.append(X.indptr[:-1], X.nnz + 1)), X.shape
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_form_does_not_matter_and_stays(form: Any) -> None:
    X = matrix(np.float32)
    net = fastnn.Network.create(SIZES[0], seed=5)
    expected = net.predict_proba(X)
    given = form(X)
    before = [part.copy() for part in (given.data, given.indices, given.indptr)]
    np.testing.assert_array_equal(net.predict_proba(given), expected)
    losses = trained(fastnn.Network.create(SIZES[0], seed=5), given)
    assert losses == trained(fastnn.Network.create(SIZES[0], seed=5), X)
    for part, kept in zip((given.data, given.indices, given.indptr), before, strict=True):
        np.testing.assert_array_equal(part, kept)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda X: X * np.nan, ValueError, "NaN or infinity"),
        (lambda X: X.astype(np.float64) * 1e300, ValueError, "too large for float32"),
        (lambda X: X * 1j, TypeError, "real numbers"),
        (lambda X: X[:, :-1], ValueError, "X has 130 features, but the network expects 131"),
        (lambda X: X / X.max() * np.float32(3e38), ValueError, "standardise X"),
    ],
)
def test_what_does_not_fit_is_refused(spoil: Any, error: type[Exception], message: str) -> None:
    net = fastnn.Network([np.full((N_IN, 2), 2.0, np.float32)], [np.zeros(2, np.float32)])
    with pytest.raises(error, match=message), np.errstate(over="ignore"):
        net.predict_proba(spoil(abs(matrix(np.float32))))


UNSOUND = {
    "a column too far": ([0, 2 * 10**9], [0, 2]),
    "a column before the first": ([0, -1], [0, 2]),
    "starts beyond the entries": ([0, 1], [0, 10**9, 3]),
    "starts that go back": ([0, 1], [0, -(10**9), 2]),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("case", UNSOUND)
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.csr_matrix])
def test_parts_that_do_not_fit_together_are_refused(case: str, kind: Any) -> None:
    """SciPy accepts such parts. Its own methods would read beyond the arrays, and so would the kernels."""
    indices, starts = UNSOUND[case]
    parts = (np.ones(2, np.float32), np.array(indices, np.int32), np.array(starts, np.int32))
    n = len(starts) - 1
    X = kind((1, 5) if n == 1 else (n, 5)) if kind is not scipy.sparse.csc_array else kind((5, n))
    X.data, X.indices, X.indptr = parts
    net = fastnn.Network.create([X.shape[1], 40, 2])
    clf = fastnn.MLPClassifier((4,), max_iter=1).fit(np.eye(X.shape[1]), np.arange(X.shape[1]) % 2)
    for call in (
        lambda: net.predict_proba(X),
        lambda: fastnn.train(net, X, np.zeros(X.shape[0], int)),
        lambda: clf.predict(X),
    ):
        with pytest.raises(ValueError, match=r"sound|index|indptr|indices"):
            call()


def test_an_order_that_was_changed_behind_scipys_back() -> None:
    X = matrix(np.float32)
    net = fastnn.Network.create(SIZES[0], seed=5)
    expected = net.predict_proba(X)
    assert X.has_canonical_format  # SciPy remembers this
    X.indices[:], X.data[:] = unordered(X).indices, unordered(X).data
    np.testing.assert_array_equal(net.predict_proba(X), expected)


def test_a_checkpoint_knows_its_sparse_data(tmp_path: Any) -> None:
    X, path = matrix(np.float32), tmp_path / "progress"
    whole, parts, other = (fastnn.Network.create(SIZES[0], seed=5) for _ in range(3))
    y = np.arange(N) % 7
    fastnn.train(whole, X, y, epochs=4)
    fastnn.train(parts, X, y, epochs=4, checkpoint=path, callbacks=[lambda epoch: epoch.number == 2])
    again = fastnn.Network.create(SIZES[0], seed=5)
    fastnn.train(again, X, y, epochs=4, checkpoint=path)
    assert again.params.tobytes() == whole.params.tobytes() != parts.params.tobytes()
    fastnn.train(other, X, y, epochs=2, checkpoint=tmp_path / "other", callbacks=[lambda epoch: True])
    with pytest.raises(fastnn.ModelFileError, match="other data"):
        fastnn.train(fastnn.Network.create(SIZES[0], seed=5), X * 2, y, epochs=2, checkpoint=tmp_path / "other")
