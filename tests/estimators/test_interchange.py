"""To scikit-learn's classifier and back."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.neural_network import MLPClassifier as Sklearns
from sklearn.neural_network import MLPRegressor as SklearnsRegressor
from sklearn.preprocessing import scale

from fastnn import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge"),
]


def problem(name):
    if name == "several labels":
        rows, labels = load_iris(return_X_y=True)
        return scale(rows), np.c_[labels == 0, labels > 0, rows[:, 0] > 5].astype(int)
    rows, labels = (load_iris if name == "three classes" else load_breast_cancer)(return_X_y=True)
    return scale(rows), np.array(["x", "y", "z"])[labels]


each_problem = pytest.mark.parametrize("name", ["two classes", "three classes", "several labels"])


@each_problem
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_scikit_learn_and_back(name, solver, dtype):
    X, y = problem(name)
    X = X.astype(dtype)
    theirs = Sklearns((9, 5), activation="relu", solver=solver, max_iter=20, random_state=0).fit(X, y)
    ours = MLPClassifier.from_sklearn(theirs)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    p = ours.predict_proba(X)
    if name == "several labels" or p.shape[1] > 2:
        np.testing.assert_allclose(p, theirs.predict_proba(X), atol=tolerance)
    else:
        np.testing.assert_allclose(p[:, 1], theirs.predict_proba(X)[:, 1], atol=tolerance)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == theirs.score(X, y) and ours.network_.dtype == theirs.coefs_[0].dtype
    assert ours.get_params()["hidden_layer_sizes"] == (9, 5)
    back = ours.to_sklearn()
    np.testing.assert_allclose(back.predict_proba(X), theirs.predict_proba(X), atol=tolerance)
    np.testing.assert_array_equal(back.predict(X), theirs.predict(X))
    for clf in (ours, back):
        clf.set_params(warm_start=True, max_iter=3).fit(X, y)
        assert len(clf.loss_curve_) >= 3


@each_problem
def test_to_scikit_learn_and_back(name):
    X, y = problem(name)
    ours = MLPClassifier((9,), max_iter=30, random_state=0, learning_rate="cosine", solver="adamw").fit(X, y)
    theirs = ours.to_sklearn()
    np.testing.assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))
    assert theirs.n_iter_ == ours.n_iter_ and theirs.loss_curve_ == ours.loss_curve_
    again = MLPClassifier.from_sklearn(theirs)
    np.testing.assert_allclose(again.predict_proba(X), ours.predict_proba(X), atol=1e-6)


def test_names_go_along():
    X, y = problem("three classes")
    frame = pd.DataFrame(X, columns=list("abcd"))
    theirs = Sklearns((3,), max_iter=5).fit(frame, y)
    ours = MLPClassifier.from_sklearn(theirs)
    assert ours.predict(frame).tolist() == theirs.predict(frame).tolist()
    assert ours.to_sklearn().feature_names_in_.tolist() == list("abcd")


def test_what_scikit_learn_does_not_have():
    X, y = problem("two classes")
    with pytest.raises(ValueError, match="has one activation of"):
        MLPClassifier((3,), activation="gelu", max_iter=2).fit(X, y).to_sklearn()
    with pytest.raises(ValueError, match="has one activation of"):
        MLPRegressor((3,), activation="gelu", max_iter=2).fit(X, y == "x").to_sklearn()


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regressors_go_to_scikit_learn_and_back(loss, n_outputs, dtype):
    X = load_iris(return_X_y=True)[0]
    frame = pd.DataFrame(scale(X).astype(dtype), columns=list("abcd"))
    values = np.abs(X[:, 0]) if n_outputs == 1 else np.abs(X[:, :2])
    theirs = SklearnsRegressor(loss, (9, 5), activation="relu", max_iter=20, random_state=0).fit(frame, values)
    ours = MLPRegressor.from_sklearn(theirs)
    back = ours.to_sklearn()
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for regressor in (ours, back):
        assert regressor.loss == loss and regressor.out_activation_ == theirs.out_activation_
        assert regressor.predict(frame).shape == values.shape
        np.testing.assert_allclose(regressor.predict(frame), theirs.predict(frame), rtol=tolerance, atol=tolerance)
        regressor.set_params(warm_start=True, max_iter=3).fit(frame, values)
        assert len(regressor.loss_curve_) >= 3


def test_the_parameters_of_scikit_learns_estimators_can_be_passed_on():
    """`max_fun` has no effect. What is lacking is named when the estimator is fitted."""
    X, y = problem("two classes")
    for ours, theirs, target in ((MLPClassifier, Sklearns, y), (MLPRegressor, SklearnsRegressor, X[:, 0])):
        parameters = theirs(max_iter=3, max_fun=7, random_state=0).get_params()
        estimator = ours(**parameters).fit(X, target)
        assert {name: estimator.get_params()[name] for name in parameters} == parameters
        assert estimator.to_sklearn().max_fun == 7
        with pytest.raises(ValueError, match=r"'solver' parameter of MLP.* must be a str among .*Got 'lbfgs' instead"):
            ours(**theirs(solver="lbfgs").get_params()).fit(X, target)
        with pytest.raises(ValueError, match="'max_fun' parameter"):
            ours(max_fun=0).fit(X, target)


def test_only_estimators_of_the_same_kind_are_taken_over():
    X, y = problem("two classes")
    with pytest.raises(TypeError, match="fitted must be scikit-learn's MLPRegressor, got MLPClassifier"):
        MLPRegressor.from_sklearn(Sklearns((3,), max_iter=2).fit(X, y))
    with pytest.raises(TypeError, match="fitted must be scikit-learn's MLPClassifier, got MLPRegressor"):
        MLPClassifier.from_sklearn(SklearnsRegressor(max_iter=2).fit(X, X[:, 0]))
