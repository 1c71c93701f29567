"""Whatever a user passes gives the result of the same numbers in a plain array, or an error that says what to do.

Some of the tests run again in a build with bounds checks. Numba checks the compiled loops there, and the tile has
checks of its own (see ``kernels.simd.operands``).
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import DISGUISES
from child import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import MLPClassifier, Network, TrainingDivergedError, train

TESTS = Path(__file__).parent
EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "150"))
MANY = 5000

# Forms of an array that keep its numbers and change everything else. A list comes without a dtype.
FORMS = {**DISGUISES, "a list": lambda array: array.tolist(), "objects": lambda array: array.astype(object)}
DTYPES = ["f4", "f8", "f2", "?", *(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8))]
# Values of every size that the dtype of the arithmetic can add up without overflow.
VALUES = st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e-3, 7.0, 1e-45, -1e-40, 3e-39, 1e15, -3e15, 1e30])


@st.composite
def trainings(draw):
    """A network, samples in two forms with the same numbers, and options."""
    n, n_in, n_classes = draw(st.integers(1, 50)), draw(st.integers(1, 70)), draw(st.integers(2, 20))
    hidden = draw(st.lists(st.integers(1, 70), max_size=3))
    dtype, net_dtype = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.normal(scale=draw(st.sampled_from([1.0, 30.0])), size=(n, n_in))
    if dtype.kind == "f":
        spots = rng.random(X.shape) < draw(st.sampled_from([0.0, 0.1]))
        limit = float(np.finfo(dtype).max) / 2
        X[spots] = max(-limit, min(limit, draw(VALUES)))
    with np.errstate(all="ignore"):
        X = X.astype(dtype)
    y = rng.integers(0, n_classes, n)
    weight = rng.integers(0, 3, n) + (np.arange(n) == 0) if draw(st.booleans()) else None
    form, y_form = draw(st.sampled_from(list(FORMS))), draw(st.sampled_from(list(DISGUISES)))
    options = {
        "batch_size": draw(st.integers(1, 70)),
        "solver": draw(st.sampled_from(["sgd", "adam"])),
        "step_size": 0.01,
        "momentum": draw(st.sampled_from([0.0, 0.9])),
        "alpha": draw(st.sampled_from([0.0, 0.1])),
        "shuffle": draw(st.booleans()),
        "n_threads": draw(st.integers(1, 4)),
        "epochs": draw(st.integers(1, 3)),
    }
    activation = draw(st.sampled_from(["tanh", "relu", "logistic", "identity"]))
    # Layer normalisation is drawn in one dtype only, since its kernels have to be compiled, too.
    network = {
        "activation": activation,
        "dtype": net_dtype,
        "layer_norm": net_dtype == "float32" and draw(st.booleans()),
    }
    return (n_in, *hidden, n_classes), network, X, FORMS[form], y, DISGUISES[y_form], weight, options


def outcome(net, X, y, weight, options):
    """The bytes of what training and scoring give, or the error."""
    from fastnn.network.samples import Samples
    from fastnn.training.trainer import Trainer, TrainOptions

    options = dict(options)
    epochs, n_threads = options.pop("epochs"), options["n_threads"]
    try:
        trainer = Trainer(net, TrainOptions(**options))
        losses = [epoch.loss for epoch in trainer.epochs(Samples(X, y, weight), epochs)]
    except TrainingDivergedError as error:
        losses = str(error)
    assert np.isfinite(net.params).all()
    try:
        p = net.predict_proba(X, n_threads=n_threads)
    except ValueError as error:  # weights that a huge X has made huge
        assert "overflow" in str(error)
        return losses, net.params.tobytes(), str(error)
    assert np.all((p >= 0) & (p <= 1)) and np.allclose(p.sum(axis=1), 1, atol=1e-5)
    return losses, net.params.tobytes(), p.tobytes()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(trainings())
def test_only_the_numbers_count(training):
    sizes, network, X, form, y, y_form, weight, options = training
    plain = np.ascontiguousarray(X).astype(network["dtype"])
    if not np.isfinite(plain).all():  # numbers beyond the network's dtype have no plain form to compare with
        return
    nets = [Network.create(sizes, seed=1, **network) for _ in range(2)]
    expected = outcome(nets[0], plain, y, weight, {**options, "n_threads": 1})
    assert outcome(nets[1], form(X), y_form(y), weight, options) == expected


def checked_build(examples: int) -> None:
    """The test above in a build with bounds checks, whose compiled code is kept apart."""
    run(
        "import sys, pytest\nsys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))",
        f"{TESTS / 'test_hostile_input.py'}::test_only_the_numbers_count",
        timeout=3000,
        warnings="default",
        NUMBA_BOUNDSCHECK="1",
        NUMBA_NUM_THREADS="2",
        HOSTILE_EXAMPLES=str(examples),
    )


def test_nothing_is_touched_outside_its_array():
    checked_build(60)


@pytest.mark.parametrize("name", ["sparse", "table"])
def test_other_rows_are_read_within_their_arrays(name):
    run(
        "import sys, pytest\nsys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))",
        f"{TESTS / 'kernels' / 'forward' / f'test_{name}.py'}",
        timeout=3000,
        warnings="default",
        NUMBA_BOUNDSCHECK="1",
        NUMBA_NUM_THREADS="2",
    )


@pytest.mark.slow
def test_many_examples():
    run(
        "import sys, pytest\nsys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]]))",
        f"{TESTS / 'test_hostile_input.py'}::test_only_the_numbers_count",
        timeout=3000,
        warnings="default",
        NUMBA_NUM_THREADS="4",
        HOSTILE_EXAMPLES=str(MANY),
    )


@pytest.mark.slow
def test_many_examples_with_bounds_checks():
    checked_build(MANY)


@pytest.mark.parametrize("loop", ["tile", "numba"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_bounds_checks_see(loop, n_threads, tmp_path):
    """A kernel that reads or writes one number too many raises an error, or ends the process."""
    body = {
        "tile": """
    line = 64 // a.itemsize
    tile(Out(a, 0, line, 1, 1), Left(a, a.size - 3, 1, 1), Right(a, 0, 0), Init(a, 0), 4)""",
        "numba": """
    a[a.size - part] = 1""",
    }[loop]
    code = f"""
import subprocess, sys
import numpy as np
from fastnn.kernels.simd.operands import Init, Left, Out, Right
from fastnn.kernels.simd.products import tile
from fastnn.runtime import launch
from fastnn.runtime.compiler import jit

@jit
def one_too_many(a, part, parts):{body}

kernel = launch.kernel(one_too_many)
try:
    launch.launch(kernel, np.zeros(64, np.float32), {n_threads})
except IndexError:
    sys.exit(3)
"""
    with pytest.raises(AssertionError, match=r"exit code (-4|-5|-6|3)\b"):
        run(code, NUMBA_BOUNDSCHECK="1", NUMBA_NUM_THREADS="2", FASTNN_CACHE_DIR=str(tmp_path))


# Shapes of arrays that occur in practice


def test_a_million_columns():
    X = np.random.default_rng(0).random((3, 1_000_000), np.float32)
    y = np.array([0, 1, 1])
    net = Network.create([1_000_000, 3, 2])
    train(net, X, y, epochs=2, step_size=1e-4)
    assert np.allclose(net.predict_proba(X).sum(axis=1), 1)
    clf = MLPClassifier((2,), max_iter=1, n_iter_no_change=1, tol=1.0).partial_fit(X, y, classes=[0, 1])
    assert clf.predict(X[:1]).shape == (1,)


def test_a_million_rows_of_one_column():
    X = np.arange(1_000_000, dtype=np.float32)[:, None] / 1e6
    net = Network.create([1, 2, 2])
    train(net, X, np.zeros(1_000_000, int), epochs=1, batch_size=1_000_000)
    assert net.predict_proba(X).shape == (1_000_000, 2)


def test_no_rows():
    net = Network.create([3, 4, 2])
    assert net.predict_proba(np.zeros((0, 3))).shape == (0, 2)
    assert net.predict(np.zeros((0, 3), np.float32)).shape == (0,)
    with pytest.raises(ValueError, match="no rows"):
        train(net, np.zeros((0, 3)), [])


@pytest.mark.parametrize("sizes", [[2**40, 2**40, 2], [2**31, 2**31, 2], [2**62, 3], [3, 2**50, 3]])
def test_sizes_that_no_memory_holds(sizes):
    """A product that overflows 64 bits would make a small array."""
    with pytest.raises((ValueError, MemoryError)):
        Network.create(sizes)


@pytest.mark.parametrize("batch_size", [2**31, 2**62, 2**63 - 1, 2**70])
def test_batches_beyond_all_data_are_one(batch_size):
    X = np.ones((3, 2), np.float32)
    nets = [Network.create([2, 40, 2]) for _ in range(2)]
    for net, size in zip(nets, (batch_size, 3), strict=True):
        train(net, X, [0, 1, 1], epochs=1, batch_size=size)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()


STRANGE = {
    "sparse": (lambda: __import__("scipy.sparse").sparse.csr_matrix(np.eye(3) * 1j), "real numbers"),
    "masked": (lambda: np.ma.masked_array(np.eye(3), np.eye(3)), "filled"),
    "complex": (lambda: np.eye(3) * 1j, "real numbers"),
    "dates": (lambda: np.full((3, 3), np.datetime64("2020-01-01")), "real numbers"),
    "words": (lambda: np.full((3, 3), "a"), "numbers"),
    "objects": (lambda: np.array([[1, 2, object()]] * 3), "numbers"),
    "ragged": (lambda: [[1, 2, 3], [4]], ""),
    "records": (lambda: np.zeros((3, 3), [("a", "f4")]), "numbers"),
    "a number": (lambda: 3.0, "dimensions"),
    "none": (lambda: None, ""),
    "one row": (lambda: np.zeros(3), "reshape"),
    "three dimensions": (lambda: np.zeros((3, 3, 3)), "dimensions"),
    "nan": (lambda: np.full((3, 3), np.nan), "NaN"),
    "too large": (lambda: np.full((3, 3), 1e300), "large"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_can_not_be_rows_is_refused_in_words(name):
    make, told = STRANGE[name]
    X = make()
    net = Network.create([3, 4, 2])
    before = net.params.tobytes()
    for work in (lambda: net.predict_proba(X), lambda: net.predict(X), lambda: train(net, X, [0, 1, 1])):
        with pytest.raises((TypeError, ValueError)) as raised:
            work()
        assert told.lower() in str(raised.value).lower()
    for work in (
        lambda: MLPClassifier().fit(X, [0, 1, 1]),
        lambda: MLPClassifier().partial_fit(X, [0, 1, 1], None, [0, 1]),
    ):
        with pytest.raises((TypeError, ValueError)):
            work()
    assert net.params.tobytes() == before


@pytest.mark.parametrize("output", ["softmax", "logistic", "identity", "exp"])
def test_outputs_that_overflow_are_an_error_and_no_nan(output):
    net = Network([np.full((2, 2), 1e28, np.float32)], [np.zeros(2, np.float32)], output=output)
    rows = np.full((100, 2), 1e30, np.float32)
    rows[:99] = 0
    assert np.isfinite(net.predict(rows[:99])).all()
    if output == "logistic":
        assert net.predict(rows)[-1].tolist() == [1, 1]  # the right answer in spite of it
        return
    with pytest.raises(ValueError, match="overflow float32: standardise X"):
        net.predict(rows)


def test_huge_and_tiny_numbers_give_probabilities():
    top = float(np.finfo(np.float32).max)
    net = Network.create([4, 5, 3])
    for value in (top, -top, 1e-45, -1e-39, 0.0):
        p = net.predict_proba(np.full((5, 4), value, np.float32))
        assert np.isfinite(p).all() and np.allclose(p.sum(axis=1), 1)
    assert fastnn.kernels.softmax(np.array([[top, -top, 0]], np.float32)).tolist() == [[1, 0, 0]]
    assert sys.float_info.max > top
