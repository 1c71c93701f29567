"""Conversion of scikit-learn's fitted classifiers and regressors to fastnn's, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.network.network import Network


def from_sklearn(estimator: type[Any], fitted: Any) -> Any:
    """What `MLPClassifier.from_sklearn` does; `estimator` is fastnn's class, `fitted` scikit-learn's classifier."""
    from sklearn.neural_network import MLPClassifier as Sklearns

    clf = _with_parameters(estimator, fitted, Sklearns)
    weights, biases = list(fitted.coefs_), list(fitted.intercepts_)
    several = fitted._label_binarizer.y_type_ == "multilabel-indicator"
    if not several and len(fitted.classes_) == 2:
        # One logistic output is a softmax of two, whose first logit is 0.
        weights[-1] = np.column_stack([np.zeros_like(weights[-1]), weights[-1]])
        biases[-1] = np.append(np.zeros_like(biases[-1]), biases[-1])
    classes = np.asarray(fitted.classes_)
    names = getattr(fitted, "feature_names_in_", None)
    network = Network(weights, biases, fitted.activation, classes, names, "logistic" if several else "softmax")
    clf.adopt(network, samples_seen=int(fitted.t_), loss_curve=list(getattr(fitted, "loss_curve_", [])))
    return clf


def regressor_from_sklearn(estimator: type[Any], fitted: Any) -> Any:
    """What `MLPRegressor.from_sklearn` does; `estimator` is fastnn's class, `fitted` scikit-learn's regressor."""
    from sklearn.neural_network import MLPRegressor as Sklearns

    reg = _with_parameters(estimator, fitted, Sklearns)
    names = getattr(fitted, "feature_names_in_", None)
    weights, biases = fitted.coefs_, fitted.intercepts_
    network = Network(weights, biases, fitted.activation, feature_names=names, output=fitted.out_activation_)
    reg.adopt(network, samples_seen=int(fitted.t_), loss_curve=list(getattr(fitted, "loss_curve_", [])))
    return reg


def _with_parameters(estimator: type[Any], fitted: Any, kind: type[Any]) -> Any:
    """An estimator of fastnn's with the parameters of a fitted one of scikit-learn's class `kind`."""
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(fitted, kind):
        raise TypeError(f"fitted must be scikit-learn's {kind.__name__}, got {type(fitted).__name__}.")
    check_is_fitted(fitted, "coefs_")
    known = estimator().get_params()
    parameters = {name: value for name, value in fitted.get_params().items() if name in known}
    if parameters["solver"] == "lbfgs":
        parameters["solver"] = "adam"  # for later fits: it doesn't change the weights that are taken over
    dtype = "float64" if fitted.coefs_[0].dtype == np.float64 else "float32"
    return estimator(**{**parameters, "dtype": dtype})


def to_sklearn(clf: Any) -> Any:
    """What `MLPClassifier.to_sklearn` does, for `clf`, a fitted classifier of fastnn's."""
    from sklearn.neural_network import MLPClassifier as Sklearns
    from sklearn.preprocessing import LabelBinarizer

    net = clf.network_
    fitted = _with_their_parameters(clf, Sklearns)
    coefs, intercepts = net.weights, net.biases
    if net.output == "softmax" and net.n_classes == 2:
        coefs[-1] = coefs[-1][:, 1:] - coefs[-1][:, :1]
        intercepts[-1] = intercepts[-1][1:] - intercepts[-1][:1]
    binary = net.output == "logistic" or net.n_classes == 2
    labels = np.eye(net.n_classes, dtype=int) if net.output == "logistic" else clf.classes_
    vars(fitted).update(
        **_records(clf, coefs, intercepts),
        classes_=clf.classes_.copy(),
        out_activation_="logistic" if binary else "softmax",
        _label_binarizer=LabelBinarizer().fit(labels),
    )
    return fitted


def regressor_to_sklearn(reg: Any) -> Any:
    """What `MLPRegressor.to_sklearn` does, for `reg`, a fitted regressor of fastnn's."""
    from sklearn.neural_network import MLPRegressor as Sklearns

    net = reg.network_
    if net.output != "identity" and "loss" not in Sklearns().get_params():
        raise ValueError(f"scikit-learn's MLPRegressor has no loss={reg.loss!r} before version 1.7.")
    fitted = _with_their_parameters(reg, Sklearns)
    vars(fitted).update(**_records(reg, net.weights, net.biases), out_activation_=net.output)
    return fitted


def _with_their_parameters(ours: Any, kind: type[Any]) -> Any:
    """An estimator of scikit-learn's class `kind` with the parameters of a fitted one of fastnn's.

    Raises a ValueError if scikit-learn lacks something of the network.
    """
    net = ours.network_
    if net.n_members > 1:
        raise ValueError("scikit-learn has no ensemble of networks in one: take the members of network_ one by one.")
    if net.gains:
        raise ValueError(f"scikit-learn's {kind.__name__} has no layer normalisation.")
    theirs = {"identity", "tanh", "relu", "logistic"}
    if not isinstance(net.activation, str) or net.activation not in theirs:
        raise ValueError(
            f"scikit-learn's {kind.__name__} has one activation of {sorted(theirs)}, not {net.activation!r}."
        )
    known = kind().get_params()
    parameters = {name: value for name, value in ours.get_params().items() if name in known}
    parameters["solver"] = "adam" if parameters["solver"] == "adamw" else parameters["solver"]
    parameters["early_stopping"] = ours._stops_early
    if parameters["learning_rate"] == "cosine":
        parameters["learning_rate"] = "constant"
    return kind(**parameters)


def _records(ours: Any, coefs: list[Any], intercepts: list[Any]) -> dict[str, Any]:
    """The fitted attributes that scikit-learn's classifiers and regressors share."""
    from sklearn.utils import check_random_state

    names = {"feature_names_in_": ours.feature_names_in_} if hasattr(ours, "feature_names_in_") else {}
    return {
        "coefs_": coefs,
        "intercepts_": intercepts,
        "n_features_in_": ours.n_features_in_,
        "n_layers_": ours.n_layers_,
        "n_outputs_": coefs[-1].shape[1],
        "_random_state": check_random_state(ours.random_state),
        "loss_": ours.loss_curve_[-1] if ours.loss_curve_ else np.inf,
        "loss_curve_": list(ours.loss_curve_),
        "best_loss_": np.inf if ours.best_loss_ is None else ours.best_loss_,
        "validation_scores_": ours.validation_scores_,
        "best_validation_score_": ours.best_validation_score_,
        "n_iter_": ours.n_iter_,
        "t_": ours.t_,
        "_no_improvement_count": 0,
        **names,
    }
