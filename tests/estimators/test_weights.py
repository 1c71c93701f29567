"""What sample weights mean: a sample of weight 3 is as good as three rows, and a sample of weight 0 as no row."""

import numpy as np
import pytest

from fastnn import MLPClassifier, MLPRegressor
from fastnn.kernels.epoch.general import GENERAL
from fastnn.kernels.epoch.lanes import LANES
from fastnn.kernels.epoch.panels import PANELS
from fastnn.training.calls import Calls

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Got `batch_size` less than 1 or larger")

rng = np.random.default_rng(0)
N = 80
X = rng.normal(size=(N, 7))
classes = np.array(["a", "b", "c"])[(X @ rng.normal(size=(7, 3))).argmax(axis=1)]
several = (X[:, :3] + 0.3 * rng.normal(size=(N, 3)) > 0).astype(int)
value = X[:, 0] * X[:, 1] + X[:, 2]
counts = rng.integers(0, 4, N)

# Networks for three of the programs that train. The sums of a narrow network (a panel of float64 is 16 wide) go over
# lines of samples, those of a wide network over samples, and `GENERAL` trains networks with rarer options and outputs.
NARROW, WIDE = (9, 5), (40, 17)
TASKS = {
    "narrow": (MLPClassifier, classes, LANES, {"hidden_layer_sizes": NARROW}),
    "wide": (MLPClassifier, classes, PANELS, {"hidden_layer_sizes": WIDE, "activation": "relu"}),
    "linear": (MLPClassifier, classes, LANES, {"hidden_layer_sizes": ()}),
    "balanced": (MLPClassifier, classes, LANES, {"hidden_layer_sizes": NARROW, "class_weight": "balanced"}),
    "smoothed, narrow": (MLPClassifier, classes, GENERAL, {"hidden_layer_sizes": NARROW, "label_smoothing": 0.1}),
    "clipped, wide": (MLPClassifier, classes, GENERAL, {"hidden_layer_sizes": WIDE, "clip_norm": 0.1}),
    "gelu": (MLPClassifier, classes, GENERAL, {"hidden_layer_sizes": NARROW, "activation": "gelu"}),
    "several labels, narrow": (MLPClassifier, several, GENERAL, {"hidden_layer_sizes": NARROW}),
    "several labels, wide": (MLPClassifier, several, GENERAL, {"hidden_layer_sizes": WIDE}),
    "regression, narrow": (MLPRegressor, value, GENERAL, {"hidden_layer_sizes": NARROW}),
    "regression, wide": (MLPRegressor, np.c_[value, X[:, 3]], GENERAL, {"hidden_layer_sizes": WIDE}),
}
SOLVERS = {
    "sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "adam": {"solver": "adam"},
    "adamw": {"solver": "adamw"},
}
each_task = pytest.mark.parametrize("task", TASKS)
each_solver = pytest.mark.parametrize("solver", SOLVERS)


def fitted(task, solver, rows, weight=None, **options):
    """An estimator that was trained on these rows of the task."""
    estimator, y, _, of_task = TASKS[task]
    common = {"alpha": 0.01, "learning_rate_init": 0.02, "max_iter": 25, "tol": 0.0, "random_state": 0}
    common |= {"batch_size": 200}
    made = estimator(**{**common, "dtype": "float64", **of_task, **SOLVERS[solver], **options})
    return made.fit(X[rows], y[rows], weight)


def assert_same_training(found, expected, curves=True):
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)
    if curves:
        np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-10)


@each_task
@each_solver
def test_whole_weights_are_repeated_rows(task, solver):
    """All samples are in one batch, also those that weigh 0."""
    repeated = np.repeat(np.arange(N), counts)
    assert 0 in counts and len(repeated) <= 200
    weighted = fitted(task, solver, np.arange(N), counts)
    assert_same_training(weighted, fitted(task, solver, repeated))
    assert np.abs(weighted.coefs_[0] - fitted(task, solver, np.arange(N)).coefs_[0]).max() > 1e-3


@each_task
@each_solver
def test_a_weight_of_nothing_is_no_row(task, solver):
    """A row that weighs 0 has no effect, whatever it holds."""
    kept = counts > 0
    weighted = fitted(task, solver, np.arange(N), np.where(kept, 1.5, 0))
    assert_same_training(weighted, fitted(task, solver, kept, np.full(kept.sum(), 1.5)))


@each_task
@each_solver
def test_a_weight_of_nothing_is_no_row_in_many_batches(task, solver):
    """Each batch of ten has four rows that weigh 0. Without them, there are batches of six.

    The results agree only in the rows' own order, and if each batch has as many rows that weigh 0. Otherwise these rows
    take the places of others, since batches (and the shuffle, which is of all rows) count rows whatever they weigh.
    """
    weight = np.ones((8, 10))
    for batch in weight:
        batch[rng.choice(10, 4, replace=False)] = 0
    in_order = {"shuffle": False}
    weighted = fitted(task, solver, np.arange(N), weight.reshape(-1), batch_size=10, **in_order)
    assert_same_training(weighted, fitted(task, solver, weight.reshape(-1) > 0, batch_size=6, **in_order))


@each_task
@each_solver
def test_a_batch_of_nothing_is_no_step(task, solver):
    """A batch that weighs 0 is no step for the weights, momentum, Adam's moments and their bias, or AdamW's decay.

    The curves differ: an epoch's loss is a mean over all samples, as in scikit-learn, and samples that weigh 0 add no
    loss to it.
    """
    weight = np.ones(N)
    weight[:20] = weight[40:50] = 0
    options = {"batch_size": 10, "shuffle": False}
    weighted = fitted(task, solver, np.arange(N), weight, **options)
    assert_same_training(weighted, fitted(task, solver, weight > 0, **options), curves=False)


@pytest.mark.parametrize("task", ["narrow", "several labels, wide", "regression, wide"])
def test_weights_of_validation_samples(task):
    repeated = np.repeat(np.arange(N), counts)
    y = TASKS[task][1]
    made = fitted(task, "adam", np.arange(N))
    made.fit(X, y, X_val=X, y_val=y, sample_weight_val=counts)
    expected = fitted(task, "adam", np.arange(N)).fit(X, y, X_val=X[repeated], y_val=y[repeated])
    for curve in ("validation_loss_curve_", "validation_scores_"):
        np.testing.assert_allclose(getattr(made, curve), getattr(expected, curve), rtol=1e-10)


@each_task
def test_the_tasks_use_the_kernels_that_they_are_for(task, monkeypatch):
    used = []
    init = Calls.__init__

    def noting(self, *arguments):
        init(self, *arguments)
        used.append(self.program)

    monkeypatch.setattr(Calls, "__init__", noting)
    fitted(task, "adam", np.arange(N), max_iter=1)
    assert used == [TASKS[task][2]]
