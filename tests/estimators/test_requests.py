"""What scikit-learn's users asked of its MLPClassifier, by the number of the request there."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, log_loss
from sklearn.utils.class_weight import compute_sample_weight

from fastnn import MLPClassifier, Network

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

digits, labels = load_digits(return_X_y=True)
digits = digits / 16
X, y, X_val, y_val = digits[:400], labels[:400], digits[400:500], labels[400:500]
each_solver = pytest.mark.parametrize("solver", ["sgd", "adam"])


def small(**options):
    """With scikit-learn's defaults."""
    defaults = {"hidden_layer_sizes": (20,), "max_iter": 6, "random_state": 0, "batch_size": 200}
    defaults |= {"alpha": 1e-4, "learning_rate_init": 1e-3, "early_stopping": False}
    return MLPClassifier(**{**defaults, **options})


def state(clf):
    """All that a fit leaves, in bytes."""
    words = (
        "loss_curve_",
        "validation_loss_curve_",
        "validation_scores_",
        "best_validation_score_",
        "best_loss_",
        "t_",
    )
    return [getattr(clf, word) for word in words], clf.network_.params.tobytes()


def test_9113_sample_weights_and_class_weights():
    weight = np.random.default_rng(0).integers(0, 4, 400)
    options = {"batch_size": 2000, "dtype": "float64", "alpha": 0.01}  # one batch
    with pytest.warns(UserWarning, match="clipped"):
        weighted, repeated = small(**options), small(**options)
        weighted.fit(X, y, weight)
        repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
        np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], atol=1e-10)
        np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)

    by_class = {0: 3.0, 1: 0.5, 7: 0.0}
    for class_weight in (by_class, "balanced"):
        expected = small().fit(
            X, y, weight * compute_sample_weight(class_weight, y) if class_weight == by_class else None
        )
        if class_weight == "balanced":
            expected = small().fit(X, y, compute_sample_weight("balanced", y))
        found = small(class_weight=class_weight).fit(X, y, weight if class_weight == by_class else None)
        np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-6)
    parts = small(class_weight=by_class).partial_fit(X, y, classes=range(10))
    assert parts.loss_ == pytest.approx(small(class_weight=by_class, max_iter=1).fit(X, y).loss_)
    with pytest.raises(ValueError, match="compute_class_weight"):
        small(class_weight="balanced").partial_fit(X, y, classes=range(10))


@pytest.mark.parametrize("scoring", ["loss", "accuracy", None])
def test_18748_a_given_validation_set(scoring):
    """Nothing is held out of X, and the best weights are those that were best on the given samples."""
    clf = small(early_stopping=True, scoring=scoring, max_iter=40, n_iter_no_change=3, learning_rate_init=0.05)
    clf.fit(X, y, X_val=X_val, y_val=y_val)
    assert clf.t_ == clf.n_iter_ * 400 and clf.n_iter_ < 40
    losses, scores = clf.validation_loss_curve_, clf.validation_scores_
    best = np.argmin(losses) if scoring == "loss" else np.argmax(scores)
    assert clf.best_validation_score_ == scores[best] == clf.score(X_val, y_val)
    assert log_loss(y_val, clf.predict_proba(X_val)) == pytest.approx(losses[best], rel=1e-5)


def test_18748_a_given_validation_set_without_early_stopping_is_only_looked_at():
    plain, watched = small().fit(X, y), small().fit(X, y, None, X_val, y_val)
    assert plain.network_.params.tobytes() == watched.network_.params.tobytes()
    assert len(watched.validation_loss_curve_) == 6 and plain.validation_loss_curve_ is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"X_val": X_val}, "belong together"),
        ({"y_val": y_val}, "belong together"),
        ({"sample_weight_val": np.ones(100)}, "without X_val"),
        ({"X_val": X_val[:, 1:], "y_val": y_val}, "features"),
        ({"X_val": X_val, "y_val": y_val + 20}, "classes not in"),
        ({"X_val": X_val, "y_val": y_val[1:]}, "inconsistent"),
        ({"X_val": X_val * np.nan, "y_val": y_val}, "NaN"),
    ],
)
def test_18748_a_validation_set_that_does_not_fit(given, error):
    with pytest.raises(ValueError, match=error):
        small(early_stopping=True).fit(X, y, **given)


def test_18507_curves_of_loss_and_score():
    clf = small(early_stopping=True).fit(X, y)
    curves = clf.loss_curve_, clf.validation_loss_curve_, clf.validation_scores_
    assert [len(curve) for curve in curves] == [clf.n_iter_] * 3
    weighted = small(max_iter=1).fit(X, y, None, X_val, y_val, np.arange(100))
    right = weighted.predict(X_val) == y_val
    assert weighted.validation_scores_ == [pytest.approx(np.average(right, weights=np.arange(100)))]


def test_24411_early_stopping_by_any_scorer():
    clf = small(early_stopping=True, scoring="f1_macro", max_iter=30).fit(X, y, X_val=X_val, y_val=y_val)
    assert clf.best_validation_score_ == max(clf.validation_scores_)
    assert clf.best_validation_score_ == pytest.approx(f1_score(y_val, clf.predict(X_val), average="macro"))

    def scorer(estimator, rows, truth, sample_weight=None):
        return -log_loss(truth, estimator.predict_proba(rows), sample_weight=sample_weight)

    found, expected = (small(early_stopping=True, scoring=by, max_iter=30).fit(X, y) for by in (scorer, "loss"))
    assert found.n_iter_ == expected.n_iter_
    np.testing.assert_allclose(np.negative(found.validation_scores_), expected.validation_loss_curve_, rtol=1e-5)
    with pytest.raises(ValueError, match="scoring"):
        small(early_stopping=True, scoring="no such score").fit(X, y)


@each_solver
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scoring", [None, "loss", "accuracy"])
def test_25693_partial_fit_with_early_stopping(solver, dtype, scoring):
    """Calls of one epoch equal one fit: they show the best weights, but training goes on from the last weights."""
    options = {"early_stopping": scoring is not None, "n_iter_no_change": np.inf, "learning_rate_init": 0.05}
    options |= {"solver": solver, "dtype": dtype, "scoring": scoring}
    fit = small(**options, max_iter=8).fit(X, y)
    parts = small(**options)
    for _ in range(8):
        parts.partial_fit(X, y, classes=np.unique(y))
    assert state(parts) == state(fit)


@each_solver
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_6091_and_13656_a_warm_start_goes_on_as_if_it_had_never_stopped(solver, learning_rate, early_stopping):
    """The solver's state, the schedule and the shuffle go on, through a pickle too."""
    options = {"solver": solver, "learning_rate": learning_rate, "early_stopping": early_stopping}
    options |= {"n_iter_no_change": 2, "tol": 0.05} if learning_rate == "adaptive" else {"n_iter_no_change": np.inf}
    whole = small(**options, max_iter=9).fit(X, y)
    parts = small(**options, warm_start=True, max_iter=1)
    for number in range(whole.n_iter_):
        parts = pickle.loads(pickle.dumps(parts.fit(X, y)))
        assert parts.n_iter_ == 1 and len(parts.loss_curve_) == number + 1
    assert state(parts) == state(whole)


def test_13656_a_random_state_that_moves_on_is_asked_once():
    whole = small(random_state=np.random.RandomState(3), max_iter=4).fit(X, y)
    parts = small(random_state=np.random.RandomState(3), warm_start=True, max_iter=1)
    for _ in range(4):
        parts.fit(X, y)
    assert state(parts) == state(whole)


def test_a_warm_start_with_other_options_takes_them():
    parts = small(warm_start=True, max_iter=2).fit(X, y)
    parts.set_params(learning_rate_init=1e-9, alpha=0.0).fit(X, y)
    assert np.ptp(parts.loss_curve_[2:]) < 1e-5  # a step of nothing
    parts.set_params(solver="sgd", learning_rate_init=0.1).fit(X, y)
    assert parts.loss_curve_[-1] < parts.loss_curve_[-2] < parts.loss_curve_[3]
    assert clone(parts).fit(X, y).loss_curve_ == small(**clone(parts).get_params()).fit(X, y).loss_curve_


def test_weights_that_somebody_changed_are_gone_on_from():
    clf = small(early_stopping=True, warm_start=True, n_iter_no_change=np.inf).fit(X, y)
    clf.network_.params[:] = 0
    changed = clf.fit(X, y).loss_curve_[6]
    assert changed == pytest.approx(np.log(10), rel=0.01)


@pytest.mark.parametrize("activation", ["gelu", "silu", "leaky_relu", ("relu", "tanh")])
def test_10097_an_activation_for_each_layer(activation, tmp_path):
    clf = small(hidden_layer_sizes=(16, 8), activation=activation, max_iter=40, learning_rate_init=0.01).fit(X, y)
    assert clf.score(X, y) > 0.95
    clf.network_.save(tmp_path / "m")
    assert Network.load(tmp_path / "m").predict_proba(X).tobytes() == clf.predict_proba(X).tobytes()
    with pytest.raises(ValueError, match="activation has 1 names, but the network has 2 hidden layers"):
        small(hidden_layer_sizes=(16, 8), activation=("relu",)).fit(X, y)
    with pytest.raises(ValueError, match="activation must be one of"):
        small(activation=("unknown",)).fit(X, y)


def test_7407_dropout():
    options = {"hidden_layer_sizes": (64,), "dropout": 0.5, "max_iter": 60, "learning_rate_init": 0.01}
    options["n_iter_no_change"] = np.inf
    clf = small(**options).fit(X, y)
    assert clf.score(X_val, y_val) > 0.9
    assert state(small(**options, n_threads=1).fit(X, y)) == state(clf)
    parts = small(**{**options, "max_iter": 30}, warm_start=True)
    assert state(parts.fit(X, y).fit(X, y)) == state(clf)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adamw", "weight_decay": 0.1},
        {"label_smoothing": 0.2},
        {"clip_norm": 0.1},
        {"learning_rate": "cosine", "warmup_epochs": 5},
        {"solver": "sgd", "learning_rate": "cosine", "learning_rate_init": 0.1},
    ],
)
def test_regularised_and_scheduled_fits_learn(options):
    clf = small(**{"max_iter": 60, "learning_rate_init": 0.01, "n_iter_no_change": np.inf, **options}).fit(X, y)
    assert clf.score(X_val, y_val) > 0.85
    plain = small(max_iter=60, learning_rate_init=0.01, n_iter_no_change=np.inf).fit(X, y)
    assert clf.loss_curve_ != plain.loss_curve_


def test_several_labels_a_sample():
    several = np.c_[y % 2, y > 4, y == 7]
    clf = small(max_iter=80, learning_rate_init=0.01, early_stopping=True).fit(X, several)
    assert clf.classes_.tolist() == [0, 1, 2] and clf.out_activation_ == "logistic"
    assert clf.predict_proba(X).shape == (400, 3) and set(np.unique(clf.predict(X))) <= {0, 1}
    assert clf.score(X, several) > 0.85
    with pytest.raises(ValueError, match="class_weight needs one label for each sample"):
        small(class_weight="balanced").fit(X, several)
    with pytest.raises(ValueError, match="fit anew"):
        clf.set_params(warm_start=True).fit(X, y)
    parts = small()
    parts.partial_fit(X, several, classes=[0, 1, 2]).partial_fit(X, several)
    assert parts.fit(X, y).predict(X).ndim == 1
