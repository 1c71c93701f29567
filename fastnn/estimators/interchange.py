"""Conversion of scikit-learn's fitted classifiers to fastnn's, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.network.network import Network


def from_sklearn(estimator: type[Any], fitted: Any) -> Any:
    """What `MLPClassifier.from_sklearn` does; `estimator` is fastnn's class, `fitted` scikit-learn's classifier."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(fitted, "coefs_")
    known = estimator().get_params()
    parameters = {name: value for name, value in fitted.get_params().items() if name in known}
    if parameters["solver"] == "lbfgs":
        parameters["solver"] = "adam"  # for later fits: it doesn't change the weights that are taken over
    dtype = "float64" if fitted.coefs_[0].dtype == np.float64 else "float32"
    clf = estimator(**{**parameters, "dtype": dtype})
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


def to_sklearn(clf: Any) -> Any:
    """What `MLPClassifier.to_sklearn` does, for `clf`, a fitted classifier of fastnn's."""
    from sklearn.neural_network import MLPClassifier as Sklearns
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_random_state

    net = clf.network_
    if net.n_members > 1:
        raise ValueError("scikit-learn has no ensemble of networks in one: take the members of network_ one by one.")
    if net.gains:
        raise ValueError("scikit-learn's MLPClassifier has no layer normalisation.")
    theirs = {"identity", "tanh", "relu", "logistic"}
    if not isinstance(net.activation, str) or net.activation not in theirs:
        raise ValueError(
            f"scikit-learn's MLPClassifier has one activation of {sorted(theirs)}, not {net.activation!r}."
        )
    known = Sklearns().get_params()
    parameters = {name: value for name, value in clf.get_params().items() if name in known}
    parameters["solver"] = "adam" if parameters["solver"] == "adamw" else parameters["solver"]
    parameters["early_stopping"] = clf._stops_early
    if parameters["learning_rate"] == "cosine":
        parameters["learning_rate"] = "constant"
    fitted = Sklearns(**parameters)
    coefs, intercepts = net.weights, net.biases
    if net.output == "softmax" and net.n_classes == 2:
        coefs[-1] = coefs[-1][:, 1:] - coefs[-1][:, :1]
        intercepts[-1] = intercepts[-1][1:] - intercepts[-1][:1]
    binary = net.output == "logistic" or net.n_classes == 2
    labels = np.eye(net.n_classes, dtype=int) if net.output == "logistic" else clf.classes_
    binarizer = LabelBinarizer().fit(labels)
    vars(fitted).update(
        coefs_=coefs,
        intercepts_=intercepts,
        classes_=clf.classes_.copy(),
        n_features_in_=clf.n_features_in_,
        n_layers_=clf.n_layers_,
        n_outputs_=coefs[-1].shape[1],
        out_activation_="logistic" if binary else "softmax",
        _label_binarizer=binarizer,
        _random_state=check_random_state(clf.random_state),
        loss_=clf.loss_curve_[-1] if clf.loss_curve_ else np.inf,
        loss_curve_=list(clf.loss_curve_),
        best_loss_=np.inf if clf.best_loss_ is None else clf.best_loss_,
        validation_scores_=clf.validation_scores_,
        best_validation_score_=clf.best_validation_score_,
        n_iter_=clf.n_iter_,
        t_=clf.t_,
        _no_improvement_count=0,
    )
    if hasattr(clf, "feature_names_in_"):
        fitted.feature_names_in_ = clf.feature_names_in_
    return fitted
