"""The estimators as parts: of pipelines, searches, ensembles and metadata routing, as scikit-learn's own are."""

import inspect

import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import parallel_config
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.metrics import accuracy_score, get_scorer, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from fastnn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

X, y = load_iris(return_X_y=True)
names = np.array(["setosa", "versicolor", "virginica"])[y]
rows, values = load_diabetes(return_X_y=True)
rows, values = StandardScaler().fit_transform(rows), (values - values.mean()) / values.std()
weight = np.random.default_rng(0).uniform(0, 3, 150)
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


def classifier(**options):
    common = {"hidden_layer_sizes": (8,), "max_iter": 40, "learning_rate_init": 0.02, "random_state": 0}
    return MLPClassifier(**{**common, **options})


def regressor(**options):
    common = {"hidden_layer_sizes": (8,), "max_iter": 30, "learning_rate_init": 0.01, "alpha": 1.0, "random_state": 0}
    return MLPRegressor(**{**common, **options})


each_estimator = pytest.mark.parametrize(
    ("estimator", "data"), [(classifier(), (X, y)), (regressor(), (rows, values))], ids=["classifier", "regressor"]
)


def same(one, other):
    """Whether two fitted estimators hold the same network, to the bit."""
    return one.network_.params.tobytes() == other.network_.params.tobytes()


# Estimators as such


@each_estimator
def test_a_clone_has_all_parameters_and_nothing_else(estimator, data):
    """A clone has the parameters as the caller gave them, unconverted. A parameter may have any value."""
    given = [8, 4]
    original = clone(estimator).set_params(hidden_layer_sizes=given, dropout=0.1, clip_norm=2.0).fit(*data)
    copy = clone(original)
    parameters = copy.get_params()
    assert parameters == original.get_params() and parameters["hidden_layer_sizes"] == given
    assert set(parameters) == set(inspect.signature(type(copy)).parameters)
    assert set(vars(copy)) == set(parameters)
    assert same(copy.fit(*data), original)
    for name, value in parameters.items():  # each parameter arrives where it belongs
        other = object()
        assert getattr(type(copy)(**{**parameters, name: other}), name) is other, (name, value)


@each_estimator
def test_a_notebook_shows_the_parameters(estimator, data):
    """The text has the parameters that differ from the defaults. The page has all, in a pipeline too."""
    model = make_pipeline(StandardScaler(), clone(estimator).set_params(dropout=0.25))
    name = type(estimator).__name__
    assert f"{name}(" in repr(model) and "dropout=0.25" in repr(model) and "beta_1" not in repr(model)
    for shown in (model[-1], model, model.fit(*data)):
        page = shown._repr_html_()
        assert name in page and all(parameter in page for parameter in estimator.get_params())
        assert "0.25" in page


# Pipelines and tables


def people(n=240):
    """A table of numbers and words, and what follows from them."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"age": rng.uniform(20, 70, n), "city": rng.choice(["Bern", "Rome", "Oslo"], n)})
    table["income"] = rng.lognormal(10, 0.3, n)
    older = table["age"] > 45
    return table, np.where(older ^ (table["city"] == "Rome"), "yes", "no"), older + np.log(table["income"])


@pytest.mark.parametrize(("estimator", "target"), [(classifier(max_iter=150), 1), (regressor(max_iter=150), 2)])
def test_a_column_transformer_that_gives_tables(estimator, target):
    """The network knows the names of the columns that reach it, and refuses others."""
    table, goal = people()[0], people()[target]
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age"]),
            ("logarithm", make_pipeline(FunctionTransformer(np.log, feature_names_out="one-to-one"), StandardScaler()),
             ["income"]),
            ("words", OneHotEncoder(sparse_output=False), ["city"]),
        ],
        verbose_feature_names_out=False,
    )  # fmt: skip
    model = make_pipeline(columns, clone(estimator)).set_output(transform="pandas").fit(table, goal)
    expected = ["age", "income", "city_Bern", "city_Oslo", "city_Rome"]
    assert model[-1].feature_names_in_.tolist() == model[-1].network_.feature_names == expected
    assert model.score(table, goal) > (0.9 if target == 1 else 0.7)  # eight units can't make the step at 45 steep
    shuffled = model.predict(table[["income", "city", "age"]])  # the transformer knows columns by name
    assert shuffled.tolist() == model.predict(table).tolist()
    with pytest.raises(ValueError, match="feature names should match"):
        model[-1].predict(columns.transform(table)[expected[::-1]])
    # Without names the numbers are the same.
    plain = make_pipeline(clone(columns), clone(estimator)).set_output(transform="default").fit(table, goal)
    assert same(plain[-1], model[-1]) and not hasattr(plain[-1], "feature_names_in_")


def test_functions_and_unions_before_the_network():
    squares = FeatureUnion([("itself", "passthrough"), ("squares", FunctionTransformer(np.square))])
    model = make_pipeline(StandardScaler(), squares, classifier()).fit(X, names)
    scaled = StandardScaler().fit_transform(X)
    assert same(model[-1], classifier().fit(np.hstack([scaled, scaled**2]), names))
    assert model.n_features_in_ == 4 and model[-1].n_features_in_ == 8
    assert model.classes_.tolist() == np.unique(names).tolist()


def test_a_sparse_column_transformer():
    table, goal, _ = people()
    columns = make_column_transformer(
        (OneHotEncoder(), ["city"]), (StandardScaler(), ["age"]), sparse_threshold=1.0, remainder="drop"
    )
    assert hasattr(columns.fit_transform(table), "tocsr")
    model = make_pipeline(columns, classifier(max_iter=150)).fit(table, goal)
    dense = classifier(max_iter=150).fit(columns.transform(table).toarray(), goal)
    np.testing.assert_allclose(
        model.predict_proba(table), dense.predict_proba(columns.transform(table).toarray()), atol=1e-4
    )


# Searches


@each_estimator
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_over_learning_rate_and_width_in_parallel(estimator, data, backend):
    """The scores are those of each fit by itself, wherever it was done; the best one is fitted again."""
    steps = make_pipeline(StandardScaler(), estimator)
    step = steps.steps[-1][0]
    grid = {f"{step}__learning_rate_init": [0.003, 0.03], f"{step}__hidden_layer_sizes": [(3,), (12,)]}
    folds = KFold(2, shuffle=True, random_state=0)
    with parallel_config(backend):
        search = GridSearchCV(steps, grid, cv=folds, n_jobs=2).fit(*data)
    alone = [cross_validate(clone(steps).set_params(**parameters), *data, cv=folds)["test_score"].tolist()
             for parameters in search.cv_results_["params"]]  # fmt: skip
    found = np.c_[search.cv_results_["split0_test_score"], search.cv_results_["split1_test_score"]]
    assert found.tolist() == alone
    assert same(search.best_estimator_[-1], clone(steps).set_params(**search.best_params_).fit(*data)[-1])
    assert search.best_score_ > np.min(found.mean(axis=1))


@each_estimator
def test_learning_curves(estimator, data):
    """The curves can also be learnt by `partial_fit`, which goes on with more and more rows, an epoch each."""
    options = {"train_sizes": [0.2, 1.0], "cv": 3, "shuffle": True, "random_state": 0}
    if is_classifier(estimator):
        _, _, scores = learning_curve(estimator, *data, **options)
        assert scores[1].mean() > scores[0].mean()
    sizes, _, scores = learning_curve(estimator, *data, exploit_incremental_learning=True, **options)
    assert scores.shape == (2, 3)
    other = clone(estimator)
    folds = FOLDS.__class__(3) if is_classifier(estimator) else KFold(3)
    train, test = next(iter(folds.split(*data)))
    train = np.random.RandomState(0).permutation(train)
    classes = {"classes": np.unique(data[1])} if is_classifier(estimator) else {}
    first, rest = train[: sizes[0]], train[sizes[0] : sizes[1]]
    other.partial_fit(data[0][first], data[1][first], **classes).partial_fit(data[0][rest], data[1][rest], **classes)
    assert other.score(data[0][test], data[1][test]) == scores[1, 0]


def test_importances_by_permutation():
    """The most important feature is the one that decides the target."""
    for estimator, goal in ((classifier(), X[:, 2] > 3), (regressor(alpha=0.0, max_iter=200), X[:, 2])):
        importances = permutation_importance(estimator.fit(X, goal), X, goal, n_repeats=3, random_state=0, n_jobs=2)
        assert importances.importances_mean.argmax() == 2 and importances.importances_mean[2] > 0.2


# Ensembles and what wraps an estimator


def test_calibration():
    """Calibration by folds, with weights, and of a fitted network. It improves probabilities that are too sure."""
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(150) < 0.3, rng.permutation(y), y)
    train, test = np.arange(150) % 2 == 0, np.arange(150) % 2 == 1
    sure = classifier(hidden_layer_sizes=(40,), max_iter=400, alpha=0.0, n_iter_no_change=400, batch_size=50)
    sure.fit(X[train], noisy[train])
    calibrated = CalibratedClassifierCV(sure, cv=3).fit(X[train], noisy[train], sample_weight=weight[train])
    plain = CalibratedClassifierCV(sure, cv=3).fit(X[train], noisy[train])
    for model in (calibrated, plain):
        assert log_loss(noisy[test], model.predict_proba(X[test])) < log_loss(noisy[test], sure.predict_proba(X[test]))
    assert np.abs(calibrated.predict_proba(X) - plain.predict_proba(X)).max() > 1e-3
    # Each fold's network has had the weights of its rows.
    first, _ = next(iter(StratifiedKFold(3).split(X[train], noisy[train])))
    one = clone(sure).fit(X[train][first], noisy[train][first], weight[train][first])
    assert same(calibrated.calibrated_classifiers_[0].estimator, one)
    frozen = CalibratedClassifierCV(FrozenEstimator(sure), method="isotonic").fit(X[test], noisy[test])
    assert same(frozen.calibrated_classifiers_[0].estimator, sure)


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_votes(voting):
    voters = [(str(seed), classifier(random_state=seed)) for seed in range(3)]
    model = VotingClassifier(voters, voting=voting, n_jobs=2).fit(X, names, sample_weight=weight)
    alone = [classifier(random_state=seed).fit(X, names, weight) for seed in range(3)]
    assert all(map(same, model.estimators_, [clf.fit(X, y, weight) for clf in alone]))
    if voting == "soft":
        expected = np.mean([clf.predict_proba(X) for clf in alone], axis=0)
        np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-6)
    assert accuracy_score(names, model.predict(X)) > 0.9
    mean = VotingRegressor([("a", regressor()), ("b", regressor(random_state=1))]).fit(rows, values)
    each = [regressor(random_state=seed).fit(rows, values).predict(rows) for seed in (0, 1)]
    np.testing.assert_allclose(mean.predict(rows), np.mean(each, axis=0), rtol=1e-5)


def test_stacks():
    """The final estimator learns from the networks' predictions of rows that these networks haven't seen."""
    model = StackingClassifier([("a", classifier())], final_estimator=classifier(random_state=1), cv=FOLDS).fit(
        X, names
    )
    said = cross_val_predict(classifier(), X, y, cv=FOLDS, method="predict_proba")
    assert same(model.final_estimator_, classifier(random_state=1).fit(said, y))
    assert same(model.estimators_[0], classifier().fit(X, y)) and model.score(X, names) > 0.9
    model = StackingRegressor([("a", regressor())], final_estimator=regressor(random_state=1), cv=KFold(3))
    said = cross_val_predict(regressor(), rows, values, cv=KFold(3)).reshape(-1, 1)
    assert same(model.fit(rows, values).final_estimator_, regressor(random_state=1).fit(said, values))


def test_bags():
    """Bags pass the rows that they draw as sample weights. In threads and in processes, the networks are the same."""
    for bag, estimator, data in (
        (BaggingClassifier, classifier(), (X, names)),
        (BaggingRegressor, regressor(), (rows, values)),
    ):
        alone = bag(estimator, n_estimators=3, random_state=0).fit(*data)
        assert alone.score(*data) > (0.9 if bag is BaggingClassifier else 0.3)
        for backend in ("threading", "loky"):
            with parallel_config(backend):
                at_once = bag(estimator, n_estimators=3, random_state=0, n_jobs=2).fit(*data)
            assert all(map(same, at_once.estimators_, alone.estimators_))


def test_several_targets():
    both = np.c_[names, np.where(X[:, 0] > 5.8, "long", "short")]
    model = MultiOutputClassifier(classifier(), n_jobs=2).fit(X, both, sample_weight=weight)
    for column, estimator in enumerate(model.estimators_):
        assert same(estimator, classifier().fit(X, both[:, column], weight))
        assert estimator.classes_.tolist() == np.unique(both[:, column]).tolist()
    model = MultiOutputRegressor(regressor()).fit(rows, np.c_[values, -values])
    assert same(model.estimators_[1], regressor().fit(rows, -values))
    two = np.c_[y == 0, X[:, 0] > 5.8].astype(int)
    chain = ClassifierChain(classifier(max_iter=100)).fit(X, two)
    assert same(chain.estimators_[1], classifier(max_iter=100).fit(np.c_[X, two[:, 0]], two[:, 1]))


def test_one_against_the_rest():
    model = OneVsRestClassifier(classifier(max_iter=100), n_jobs=2).fit(X, names)
    for label, estimator in enumerate(model.estimators_):
        assert same(estimator, classifier(max_iter=100).fit(X, (y == label).astype(int)))
    positive = np.column_stack([estimator.predict_proba(X)[:, 1] for estimator in model.estimators_])
    np.testing.assert_allclose(model.predict_proba(X), positive / positive.sum(axis=1, keepdims=True), rtol=1e-6)
    assert model.score(X, names) > 0.9


def test_targets_that_are_transformed():
    model = TransformedTargetRegressor(regressor(), transformer=StandardScaler()).fit(rows, values * 50 + 150)
    assert model.score(rows, values * 50 + 150) == pytest.approx(regressor().fit(rows, values).score(rows, values))


def test_a_tuned_threshold():
    model = TunedThresholdClassifierCV(classifier(), scoring="f1", cv=3, random_state=0).fit(X, y == 2)
    positive = model.estimator_.predict_proba(X)[:, 1]
    assert (model.predict(X) == (positive >= model.best_threshold_)).all()


# Metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@each_estimator
def test_weights_are_routed_to_fit_and_score(routing, estimator, data):
    """Each fold's network is the one of a fit with the weights of its rows, and scored with those of the others."""
    asking = clone(estimator).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    weights = np.random.default_rng(0).uniform(0, 3, len(data[1]))
    found = cross_validate(
        asking, *data, params={"sample_weight": weights}, cv=KFold(3, shuffle=True, random_state=0),
        return_estimator=True, return_indices=True,
    )  # fmt: skip
    for number, fitted in enumerate(found["estimator"]):
        train, test = found["indices"]["train"][number], found["indices"]["test"][number]
        rows_of, goal = data
        expected = clone(estimator).fit(rows_of[train], goal[train], weights[train])
        assert same(fitted, expected) and not same(fitted, clone(estimator).fit(rows_of[train], goal[train]))
        assert found["test_score"][number] == expected.score(rows_of[test], goal[test], weights[test])
    with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="set_fit_request"):
        cross_validate(estimator, *data, params={"sample_weight": weights}, cv=2)


@each_estimator
def test_weights_and_validation_samples_are_routed_through_a_pipeline(routing, estimator, data):
    """`transform_input` takes the validation samples through the steps before the network."""
    rows_of, goal = data
    train, held_out = slice(None, None, 2), slice(1, None, 2)
    weights = np.random.default_rng(0).uniform(0.1, 3, len(goal))
    stopping = clone(estimator).set_params(early_stopping=True, max_iter=60, n_iter_no_change=3, learning_rate_init=0.1)
    asking = clone(stopping).set_fit_request(X_val=True, y_val=True, sample_weight=True, sample_weight_val=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    model = Pipeline([("scale", scaler), ("net", asking)], transform_input=["X_val"])
    model.fit(rows_of[train], goal[train], sample_weight=weights[train], X_val=rows_of[held_out], y_val=goal[held_out],
              sample_weight_val=weights[held_out])  # fmt: skip
    scaled = StandardScaler().fit(rows_of[train])
    expected = stopping.fit(
        scaled.transform(rows_of[train]), goal[train], weights[train],
        scaled.transform(rows_of[held_out]), goal[held_out], weights[held_out],
    )  # fmt: skip
    net = model["net"]
    assert same(net, expected) and net.validation_loss_curve_ == expected.validation_loss_curve_
    assert net.n_iter_ == len(net.validation_loss_curve_) and net.t_ == net.n_iter_ * len(goal[train])


def test_weights_and_callbacks_are_routed_through_a_search(routing):
    """The scorer asks for the weights as well; a function that is called with each epoch goes along."""
    seen = []
    asking = classifier().set_fit_request(sample_weight=True, callbacks=True)
    scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
    search = GridSearchCV(asking, {"alpha": [1e-4, 1.0]}, cv=FOLDS, scoring=scorer)
    search.fit(X, y, sample_weight=weight, callbacks=[seen.append])
    assert len(seen) == 40 * (2 * 3 + 1)
    assert same(search.best_estimator_, classifier(**search.best_params_).fit(X, y, weight))
    train, test = next(iter(FOLDS.split(X, y)))
    p = classifier(alpha=1.0).fit(X[train], y[train], weight[train]).predict_proba(X[test])
    assert search.cv_results_["split0_test_score"][1] == -log_loss(y[test], p, sample_weight=weight[test])


def test_weights_without_routing():
    model = make_pipeline(StandardScaler(), classifier()).fit(X, y, mlpclassifier__sample_weight=weight)
    assert same(model[-1], classifier().fit(StandardScaler().fit_transform(X), y, weight))
    search = GridSearchCV(classifier(), {"alpha": [1.0]}, cv=2).fit(X, y, sample_weight=weight)
    assert same(search.best_estimator_, classifier(alpha=1.0).fit(X, y, weight))
