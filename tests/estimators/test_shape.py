"""A training that goes on obeys every parameter that was changed, or refuses those that shape the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn import MLPClassifier, MLPRegressor
from fastnn.estimators.shape import hidden_sizes
from fastnn.training.option_table import CLASSIFIER, REGRESSOR, options_of

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 5))
y = (X[:, 0] + rng.normal(size=120) > 0).astype(int) + (X[:, 1] > 1)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (9, 5), "max_iter": 2, "random_state": 0, "early_stopping": False}
ESTIMATORS = {CLASSIFIER: MLPClassifier, REGRESSOR: MLPRegressor}
ADAPTIVE = {"learning_rate": "adaptive", "tol": 1e9, "n_iter_no_change": 1}
each_estimator = pytest.mark.parametrize("interface", ESTIMATORS, ids=["MLPClassifier", "MLPRegressor"])

# Another value of each parameter that shapes the network, as it is given and as the message names the network's own.
SHAPE: dict[str, tuple[Any, str]] = {
    "hidden_layer_sizes": ((9, 6), r"\(9, 5\)"),
    "activation": ("relu", "'tanh'"),
    "layer_norm": (True, "False"),
    "n_ensemble": (2, "1"),
    "dtype": ("float64", "'float32'"),
    "loss": ("poisson", "'squared_error'"),
}
# What is set from the beginning, and what is changed before the training goes on.
SGD, STOPS = {"solver": "sgd"}, {"early_stopping": True, "max_iter": 5}
OBEYED: dict[str, tuple[dict[str, Any], Any]] = {
    "solver": ({}, "sgd"),
    "alpha": ({}, 3.0),
    "batch_size": ({}, 17),
    "learning_rate": (SGD, "invscaling"),
    "learning_rate_init": ({}, 0.05),
    "power_t": ({**SGD, "learning_rate": "invscaling"}, 0.1),
    "warmup_epochs": ({}, 9),
    "max_iter": ({}, 3),
    "shuffle": ({}, False),
    "random_state": ({}, 1),
    "tol": ({"n_iter_no_change": 1, "max_iter": 9}, 1e9),
    "n_iter_no_change": ({"tol": 1e9, "n_iter_no_change": 9, "max_iter": 9}, 1),
    "momentum": (SGD, 0.5),
    "nesterovs_momentum": (SGD, False),
    "early_stopping": ({}, True),
    "validation_fraction": (STOPS, 0.4),
    "scoring": (STOPS, "neg_mean_absolute_error"),
    "beta_1": ({}, 0.5),
    "beta_2": ({}, 0.5),
    "epsilon": ({}, 0.1),
    "weight_decay": ({"solver": "adamw"}, 1.0),
    "dropout": ({}, 0.5),
    "clip_norm": ({}, 0.001),
    "label_smoothing": ({}, 0.2),
    "class_weight": ({}, "balanced"),
}
# These change no result.
WITHOUT_EFFECT = {"verbose", "n_threads", "warm_start", "max_fun"}


def started(interface: Any, **options: Any) -> Any:
    return ESTIMATORS[interface](**{**SMALL, "warm_start": True, **options}).fit(X, y)


def outcome(estimator: Any) -> tuple[Any, ...]:
    return estimator.network_.params.tobytes(), estimator.n_iter_, estimator.validation_scores_


@each_estimator
def test_every_parameter_is_of_one_kind(interface: Any) -> None:
    assert options_of(interface).keys() == {*SHAPE, *OBEYED, *WITHOUT_EFFECT} & options_of(interface).keys()


@each_estimator
@pytest.mark.parametrize("name", SHAPE)
def test_another_shape_is_refused(interface: Any, name: str) -> None:
    if name not in options_of(interface):
        return
    value, earlier = SHAPE[name]
    estimator = started(interface)
    before = outcome(estimator)
    estimator.set_params(**{name: value})
    with pytest.raises(ValueError, match=rf"^{name} is .* has {name}={earlier}: set {name} back .* warm_start=False"):
        estimator.fit(X, y)
    with pytest.raises(ValueError, match=rf"^{name} is .* or call fit with warm_start=False for a new network\.$"):
        estimator.partial_fit(X, y)
    assert outcome(estimator) == before
    estimator.set_params(warm_start=False).fit(X, y)
    assert outcome(estimator) != before


@each_estimator
@pytest.mark.parametrize("name", OBEYED)
def test_another_way_to_train_is_obeyed(interface: Any, name: str) -> None:
    if name not in options_of(interface):
        return
    options, value = OBEYED[name]
    if name == "scoring" and interface is CLASSIFIER:
        value = "f1_macro"
    same, other = (started(interface, **options) for _ in range(2))
    assert outcome(same) == outcome(other)
    assert outcome(same.fit(X, y)) != outcome(other.set_params(**{name: value}).fit(X, y))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"learning_rate": "invscaling"}, {"learning_rate": "constant"}),
        ({"learning_rate": "constant"}, {"learning_rate": "invscaling"}),
        (
            {**ADAPTIVE, "max_iter": 7},
            {"learning_rate": "constant"},
        ),
        ({"learning_rate": "invscaling"}, {"solver": "adam"}),
        ({"learning_rate": "cosine", "max_iter": 9}, {"learning_rate_init": 0.01}),
        ({"warmup_epochs": 50}, {"warmup_epochs": 0}),
    ],
    ids=str,
)
def test_another_schedule_begins_with_the_next_epoch(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """The step size of an epoch is that of the parameters in force: one left over from before would show."""
    reg = started(REGRESSOR, solver="sgd", learning_rate_init=0.1, **earlier).set_params(**later)
    schedule, trainer = reg._schedule(), reg._trainer
    expected = schedule.after_epoch(schedule.initial, trainer.samples_seen, trainer.epochs_done)
    assert trainer.step_size != pytest.approx(expected)
    steps: list[float] = []
    run = trainer.epochs
    trainer.epochs = lambda *a, **k: steps.append(trainer.step_size) or run(*a, **k)
    reg.fit(X, y)
    assert steps == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"hidden_layer_sizes": 9}, {"hidden_layer_sizes": [9]}),
        ({"hidden_layer_sizes": (9, 5)}, {"hidden_layer_sizes": np.array([9, 5])}),
        ({"activation": "relu"}, {"activation": ["relu", "relu"]}),
        ({"hidden_layer_sizes": (), "layer_norm": False}, {"layer_norm": True, "activation": "gelu"}),
        ({"n_ensemble": 2}, {"n_ensemble": np.int64(2)}),
    ],
    ids=str,
)
def test_the_same_shape_in_other_words_goes_on(options: dict[str, Any], same: dict[str, Any]) -> None:
    reg = started(REGRESSOR, **options)
    reg.set_params(**same).fit(X, y)
    assert len(reg.loss_curve_) == 4


@pytest.mark.parametrize("value", [(2.5,), [[3], [4]], (None,), ("3",), {3: None, "a": 1}], ids=str)
def test_hidden_layers_of_something_else(value: Any) -> None:
    with pytest.raises(TypeError, match="hidden_layer_sizes must be a whole number or a sequence of them, got"):
        hidden_sizes(value)
