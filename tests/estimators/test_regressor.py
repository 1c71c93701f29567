"""MLPRegressor: scikit-learn's own checks, and its results beside scikit-learn's."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPRegressor as Sklearns
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import MLPRegressor, Network

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 7))
y = X[:, 0] * X[:, 1] + 0.5 * X[:, 2]
Y = np.c_[y, X[:, 3] - y]
weight = rng.uniform(0.5, 2, 120)
counts = rng.poisson(np.exp(0.5 * Y))
quiet = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def rounding(estimator) -> dict[str, str]:
    if estimator.dtype == "float64":
        return {}
    reason = "rounding: float32 differs by more than 1e-7, relatively"
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [MLPRegressor(max_iter=100, dtype=dtype) for dtype in ("float64", "float32")], expected_failed_checks=rounding
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@quiet
@pytest.mark.parametrize("values", [y, Y], ids=["one output", "two outputs"])
@pytest.mark.parametrize("sample_weight", [None, weight], ids=["unweighted", "weighted"])
def test_trainings_are_scikit_learns(values, sample_weight):
    options = {"hidden_layer_sizes": (9, 5), "activation": "tanh", "solver": "sgd", "momentum": 0.0, "shuffle": False}
    options |= {"batch_size": 32, "alpha": 1e-3, "random_state": 0, "tol": 0.0, "learning_rate_init": 1e-300}
    theirs = Sklearns(**options, warm_start=True, max_iter=1).fit(X, values, sample_weight)
    ours = MLPRegressor(**options, dtype="float64", warm_start=True, max_iter=1).fit(X, values, sample_weight)
    ours.network_.params[:] = Network(theirs.coefs_, theirs.intercepts_, output="identity").params
    for regressor in (ours, theirs):
        regressor.set_params(learning_rate_init=0.05, max_iter=20).fit(X, values, sample_weight)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)
    if values.ndim == 1:
        np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-8)
    assert ours.predict(X).shape == values.shape and ours.out_activation_ == "identity"
    assert ours.n_outputs_ == theirs.n_outputs_


@quiet
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", [counts[:, 0], counts], ids=["one output", "two outputs"])
@pytest.mark.parametrize("sample_weight", [None, weight], ids=["unweighted", "weighted"])
def test_poisson_trainings_are_scikit_learns(values, sample_weight, dtype):
    options = {"hidden_layer_sizes": (9, 5), "activation": "tanh", "solver": "sgd", "momentum": 0.9, "shuffle": False}
    options |= {"batch_size": 32, "alpha": 1e-3, "random_state": 0, "tol": 0.0, "learning_rate_init": 0.02}
    rows = X.astype(dtype)
    theirs = Sklearns(**options, loss="poisson", max_iter=1).fit(rows, values, sample_weight)
    ours = MLPRegressor.from_sklearn(theirs)
    # Both begin with a new solver's state at the same weights.
    theirs._optimizer.velocities = [np.zeros_like(v) for v in theirs._optimizer.velocities]
    for regressor in (ours, theirs):
        for _ in range(20):
            regressor.partial_fit(rows, values, sample_weight)
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    for found, expected in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert found.dtype == expected.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=tolerance)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=10 * tolerance)
    assert ours.score(rows, values) == pytest.approx(theirs.score(rows, values), rel=100 * tolerance)
    assert ours.predict(rows).shape == values.shape and ours.out_activation_ == theirs.out_activation_ == "exp"


@quiet
@pytest.mark.parametrize("further", [{}, {"n_ensemble": 2}, {"layer_norm": True}, {"early_stopping": True}], ids=str)
def test_poisson_regressions_of_every_kind(further, tmp_path):
    reg = MLPRegressor((9,), loss="poisson", learning_rate_init=0.02, random_state=0, max_iter=40, **further)
    reg.fit(X, counts)
    assert np.all(reg.predict(X) > 0) and reg.loss_curve_[-1] < reg.loss_curve_[0]
    assert reg.network_.output == "exp" and reg.score(X, counts) == pytest.approx(r2_score(counts, reg.predict(X)))
    sparse = scipy.sparse.csr_array(X)
    np.testing.assert_allclose(reg.predict(sparse), reg.predict(X), rtol=1e-6)
    assert clone(reg).fit(sparse, counts).predict(X) == pytest.approx(reg.predict(X), rel=1e-4)
    reg.network_.save(tmp_path / "model")
    loaded = type(reg.network_).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), reg.predict(X))
    again = pickle.loads(pickle.dumps(reg))
    np.testing.assert_array_equal(again.predict(X), reg.predict(X))


def test_counts_below_zero_are_refused():
    with pytest.raises(ValueError, match=r"y must hold numbers of at least 0 for the Poisson loss, got -"):
        MLPRegressor((3,), loss="poisson").fit(X, y)
    reg = MLPRegressor((3,), loss="poisson")
    with pytest.raises(ValueError, match=r"at least 0 for the Poisson loss"):
        reg.fit(X, counts, X_val=X, y_val=Y)
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor must be a str among"):
        MLPRegressor((3,), loss="absolute_error").fit(X, y)


@quiet
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_early_stopping_by_loss_or_r2(dtype):
    for scoring in ("loss", "r2", None, "neg_mean_absolute_error"):
        reg = MLPRegressor((20,), early_stopping=True, scoring=scoring, learning_rate_init=0.01, dtype=dtype)
        reg.set_params(random_state=0, n_iter_no_change=10).fit(X[:90], Y[:90], X_val=X[90:], y_val=Y[90:])
        found = reg.predict(X[90:])
        best = np.argmin(reg.validation_loss_curve_) if scoring == "loss" else np.argmax(reg.validation_scores_)
        loss = ((found - Y[90:]) ** 2).sum(axis=1).mean() / 2
        assert reg.validation_loss_curve_[best] == pytest.approx(loss, rel=1e-5)
        if scoring in ("loss", "r2", None):
            assert reg.validation_scores_[best] == pytest.approx(r2_score(Y[90:], found), rel=1e-5)


@quiet
def test_a_real_regression():
    rows, values = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), MLPRegressor((30,), learning_rate_init=0.01, alpha=1.0, random_state=0))
    scaled = (values - values.mean()) / values.std()
    assert cross_val_score(model.set_params(mlpregressor__max_iter=30), rows, scaled, cv=3).mean() > 0.4


@quiet
def test_partial_fits_are_one_fit(tmp_path):
    options = {"hidden_layer_sizes": (5,), "random_state": 0, "n_iter_no_change": np.inf, "early_stopping": True}
    fit = MLPRegressor(**options, max_iter=6).fit(X, y)
    parts = MLPRegressor(**options)
    for _ in range(6):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y)))
    assert parts.network_.params.tobytes() == fit.network_.params.tobytes()
    fit.network_.save(tmp_path / "m")
    loaded = Network.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(X)[:, 0], fit.predict(X))
    with pytest.raises(ValueError, match="a regression has no probabilities: call predict"):
        loaded.predict_proba(X)
    MLPRegressor(**options, max_iter=3).fit(X, y, checkpoint=tmp_path / "c")
    resumed = MLPRegressor(**options, max_iter=6).fit(X, y, checkpoint=tmp_path / "c")
    assert resumed.network_.params.tobytes() == fit.network_.params.tobytes()


@quiet
def test_frames_and_names():
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    reg = MLPRegressor((3,), max_iter=2).fit(frame, y)
    assert reg.network_.feature_names == list("abcdefg")
    assert reg.predict(frame).shape == (120,)


@quiet
def test_another_number_of_values_is_refused():
    reg = MLPRegressor((3,), max_iter=2, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="y has 2 values a sample, 1 were there before"):
        reg.fit(X, Y)
    with pytest.raises(ValueError, match="too large for float32"):
        MLPRegressor((3,)).fit(X, y * 1e300)
