"""MLPClassifier: scikit-learn's interface. Validation, labels and fitted attributes; no arithmetic on samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.base import BaseMLP
from fastnn.estimators.checks import check_class_weight, checked_data, checked_weight
from fastnn.estimators.constraints import constraints
from fastnn.network.given import exact_labels
from fastnn.network.network import Network
from fastnn.network.samples import Samples
from fastnn.training.option_table import CLASSIFIER

Array = NDArray[Any]


@dataclass(eq=False, repr=False, kw_only=True)
class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """Multilayer perceptron classifier with scikit-learn's interface, trained and served by compiled kernels.

    Every parameter means what it means in `sklearn.neural_network.MLPClassifier`. The defaults are scikit-learn's, too,
    except that `activation` is tanh, and that four were chosen by measurement (see docs/quality.md): `alpha`,
    `learning_rate_init`, `early_stopping`, and the size that ``batch_size="auto"`` stands for. There are additional
    parameters, such as `dtype` and `n_threads`, but no ``solver="lbfgs"``. A binary problem has two softmax outputs
    where scikit-learn has one logistic output. If a sample may have several labels (y is a matrix of 0 and 1), each
    label has a logistic output.

    Parameters
    ----------
    hidden_layer_sizes : int or array_like of int, default=(100,)
        The number of units in each hidden layer.
    activation : {"identity", "tanh", "relu", "logistic", "leaky_relu", "gelu", "silu"} or sequence, default="tanh"
        The activation function of the hidden layers. A sequence names one for each hidden layer.
    solver : {"sgd", "adam", "adamw"}, default="adam"
        The optimiser: stochastic gradient descent, Adam, or Adam with decoupled weight decay.
    alpha : float, default=0.1
        The L2 penalty's strength. The penalty is ``alpha / 2 * sum(W**2)``, divided by the number of samples in the
        mini-batch.
    batch_size : int or "auto", default="auto"
        The number of samples in a mini-batch. The last mini-batch of an epoch may be smaller. If one mini-batch holds
        all samples, they aren't shuffled. "auto" is a fiftieth of the samples, but at least 32 and at most 200.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine"}, default="constant"
        The schedule of the step size. "invscaling" and "adaptive" are scikit-learn's, and have an effect with
        ``solver="sgd"`` only. With "cosine" and any solver, the step size falls along half a cosine to nothing over all
        epochs.
    learning_rate_init : float, default=0.002
        The step size (learning rate). `learning_rate` may change it between epochs.
    power_t : float, default=0.5
        The exponent of the schedule "invscaling". The step size is the first one divided by
        ``(number of samples seen + 1) ** power_t``.
    warmup_epochs : int, default=0
        The number of epochs in which the step size rises to the one that is given.
    max_iter : int, default=200
        The number of passes over the samples. Training may stop earlier; see `n_iter_no_change`.
    shuffle : bool, default=True
        Whether each epoch takes the samples in a new random order. Otherwise it takes them as they are given.
    random_state : int, RandomState instance or None, default=None
        The seed of the initial weights, the shuffle and the choice of held-out samples.
    tol : float, default=0.0001
        The least improvement that counts. An epoch whose loss (or score on held-out samples) improves by less than
        `tol` counts as no improvement.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last `fit`.
    momentum : float, default=0.9
        The momentum of ``solver="sgd"``: the share of the last step that is added to the next one.
    nesterovs_momentum : bool, default=True
        Whether the momentum of ``solver="sgd"`` is Nesterov's.
    early_stopping : bool or "auto", default="auto"
        Whether to stop when `scoring` on held-out samples no longer improves, and to keep the best epoch's weights.
        "auto" does so in `fit` with a validation set or at least 300 samples, and never in `partial_fit`. After a call
        of `partial_fit` with early stopping, the network has the weights of the best epoch so far. The next call goes
        on from those of the last epoch.
    validation_fraction : float, default=0.1
        The share of the samples that is held out for validation. It matters to `early_stopping` only, and not if `fit`
        is given a validation set.
    scoring : str, callable or None, default="loss"
        The measure that `early_stopping` watches. It is "loss", "accuracy" (None means the same), or another scorer of
        scikit-learn.
    beta_1 : float, default=0.9
        The decay rate of the mean of gradients in ``solver="adam"`` and "adamw".
    beta_2 : float, default=0.999
        The decay rate of the mean of squared gradients in ``solver="adam"`` and "adamw".
    epsilon : float, default=1e-8
        The number that keeps the denominator of a step above 0 in ``solver="adam"`` and "adamw".
    n_iter_no_change : int or inf, default=10
        Training stops after more than this many epochs in a row without an improvement.
    max_fun : int, default=15000
        A parameter without effect, so that scikit-learn's `get_params` can be passed on. In scikit-learn it belongs to
        ``solver="lbfgs"``, which fastnn doesn't have.
    weight_decay : float, default=0.01
        The weight decay of ``solver="adamw"``. Each step first multiplies every weight (not the biases) by
        ``1 - step size * weight_decay``.
    dropout : float, default=0.0
        The probability that the output of a hidden unit is left out (set to 0) for a training sample.
    clip_norm : float or None, default=None
        The largest norm of a mini-batch's gradient. A longer gradient is scaled down to it. None: gradients of any
        length are taken.
    layer_norm : bool, default=False
        Whether to normalise the inputs of each hidden layer's activation, for each sample over the layer's units. The
        result is multiplied by a trained gain for each unit before the unit's bias is added.
    n_ensemble : int, default=1
        The number of networks to train. Several networks are trained at the same time. They differ in their seed (the
        seed that is given, the one after it, and so on), and their outputs are averaged.
    dtype : {"float32", "float64"}, default="float32"
        The number format of weights and arithmetic.
    n_threads : int or None, default=None
        The most threads to use. The result is the same for any number. None: all threads that the process may use.
    label_smoothing : float, default=0.0
        The share of each target that is spread evenly over all classes.
    class_weight : dict, "balanced" or None, default=None
        The weights of the classes in the training loss, as in scikit-learn. They multiply the weights of the samples,
        also of those that are held out.

    Attributes
    ----------
    network_ : fastnn.Network or fastnn.Ensemble
        The trained network; ``network_.save(path)`` writes the model file.
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of the network's outputs.
    coefs_ : list of ndarray of shape (n_in, n_out)
        The weights of each layer, as read-only copies. An ensemble has no `coefs_`, but ``network_.members``.
    intercepts_ : list of ndarray of shape (n_out,)
        The biases of each layer, as read-only copies. An ensemble has none. Gains are in ``network_.gains``.
    loss_ : float
        The mean training loss of the last epoch.
    best_loss_ : float or None
        The least training loss of any epoch; None with `early_stopping`.
    loss_curve_ : list of float
        The mean training loss of each epoch.
    validation_loss_curve_ : list of float or None
        The mean loss on the held-out samples after each epoch; None without such samples.
    validation_scores_ : list of float or None
        The score on the held-out samples after each epoch. It is the accuracy, unless `scoring` is another scorer.
    best_validation_score_ : float or None
        The best of `validation_scores_`. If `early_stopping` goes by the loss, it is the score of the epoch with the
        least validation loss.
    n_iter_ : int
        The number of epochs in the last call of `fit` or `partial_fit`.
    t_ : int
        The number of samples seen in training, over all epochs.
    n_features_in_ : int
        The number of features of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        The names of the features; missing unless X had names that are all strings.
    n_layers_, n_outputs_ : int
        The number of layers, including the input layer, and the number of the network's outputs.
    out_activation_ : str
        "softmax", or "logistic" if a sample may have several labels.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(random_state=0, max_iter=500).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    """

    if TYPE_CHECKING:  # annotations in the body itself would be parameters
        classes_: Array
        _labels_a_sample: int  # the dimensions of y: 1, or 2 where a sample may have several labels

    _default_scoring = "accuracy"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(CLASSIFIER)

    alpha: float = 0.1
    label_smoothing: float = 0.0
    class_weight: Any = None

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train for one epoch. The first call names all classes; a later call goes on from where the last one ended.

        What goes on is everything: the solver, the schedule and the shuffle. The other parameters are those of `fit`.

        Parameters
        ----------
        classes : array_like of shape (n_classes,), optional
            All labels that any call's y may hold; needed in the first call.

        Returns
        -------
        self
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all of y at once: pass partial_fit the weights of sklearn.utils."
                "class_weight.compute_class_weight('balanced', classes=classes, y=y), as a dict."
            )
        first_call = _check_partial_fit_first_call(self, exact_labels(classes))
        restart = first_call or not hasattr(self, "network_")
        samples = self._validate(X, y, sample_weight, restart=restart, known=True)
        return self._partial_fit(samples, (X_val, y_val, sample_weight_val), restart)

    @classmethod
    def from_sklearn(cls, fitted: Any) -> MLPClassifier:
        """A classifier with the parameters, weights and records of scikit-learn's fitted `MLPClassifier`.

        It predicts the same. Training goes on from the weights, with a new solver's state.

        Parameters
        ----------
        fitted : sklearn.neural_network.MLPClassifier

        Returns
        -------
        MLPClassifier
            Of the dtype of the weights.
        """
        from fastnn.estimators.interchange import from_sklearn

        clf: MLPClassifier = from_sklearn(cls, fitted)
        return clf

    def to_sklearn(self) -> Any:
        """scikit-learn's fitted `MLPClassifier` with this one's parameters and weights.

        Returns
        -------
        sklearn.neural_network.MLPClassifier

        Raises
        ------
        ValueError
            If scikit-learn doesn't have the activation, or if the network is an ensemble or has normalised layers.
        """
        check_is_fitted(self, "network_")
        from fastnn.estimators.interchange import to_sklearn

        return to_sklearn(self)

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (F1, F2, F3).

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes), of the network's dtype
            Columns in the order of `classes_`.
        """
        return self._forward(X)

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the class probabilities.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            log_p: Array = np.log(self.predict_proba(X))
        return log_p

    def _validate(self, X: Any, y: Any, sample_weight: Any, restart: bool, known: bool = False) -> Samples:
        """Checked samples; sets `classes_`, unless they are known."""
        y = exact_labels(y)
        dtype = getattr(y, "dtype", None)
        if getattr(dtype, "kind", "") in ("m", "M", "V"):  # times and records
            raise TypeError(f"labels must be integers, floats, booleans or strings, got {dtype}.")
        if hasattr(y, "toarray") and y.ndim == 1:  # scikit-learn only expects sparse matrices of several labels
            y = y.toarray()
        X, y = checked_data(self, X, y, multi_output=True, dtype=(np.float64, np.float32), reset=restart)
        try:
            check_classification_targets(y)
        except TypeError as error:
            if "not supported between instances" not in str(error):
                raise
            raise TypeError("y mixes labels that can't be put in order: make all of them strings.") from None
        sample_weight = checked_weight(sample_weight, X)
        if type_of_target(y) == "multilabel-indicator":
            y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            labels = np.arange(y.shape[1])
        else:
            y = column_or_1d(y, warn=True)
            labels = unique_labels(y)
        if not restart and y.ndim != self._labels_a_sample:
            raise ValueError("y has several labels a sample in one call and one in another: fit anew.")
        if y.ndim == 2 and (known or not restart) and len(labels) != len(self.classes_):
            raise ValueError(f"y has {len(labels)} labels, {len(self.classes_)} were there before.")
        self._labels_a_sample = y.ndim
        if known:
            if np.setdiff1d(labels, self.classes_).size:
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {labels}."
                )
        elif restart:
            self.classes_ = labels
        elif set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {labels}"
            )
        return Samples(X, y, sample_weight)

    def _predicted(self, outputs: Array) -> Array:
        labels: Array = (
            (outputs > 0.5).astype(np.int64) if self._multilabel() else self.classes_[outputs.argmax(axis=1)]
        )
        return labels

    def _outputs(self) -> dict[str, Any]:
        output = "logistic" if self._labels_a_sample == 2 else "softmax"
        return {"n_outputs": len(self.classes_), "output": output, "classes": self.classes_}

    def adopt(self, network: Network, samples_seen: int, loss_curve: list[float]) -> None:
        """Become fitted with a network that was trained elsewhere."""
        self.classes_ = np.asarray(network.classes)
        self._labels_a_sample = 2 if network.output == "logistic" else 1
        self._adopt(network, samples_seen, loss_curve)

    def _multilabel(self) -> bool:
        return self.network_.output == "logistic"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _weighted(self, samples: Samples) -> Samples:
        """The samples' weights times those of their classes."""
        if self.class_weight is None:
            return samples
        if samples.y.ndim == 2:
            raise ValueError("class_weight needs one label for each sample. For several labels, use sample_weight.")
        if isinstance(self.class_weight, dict):
            check_class_weight(self.class_weight)
        of_classes = compute_class_weight(
            self.class_weight, classes=self.classes_, y=samples.y, sample_weight=samples.sample_weight
        )
        weight = of_classes[np.searchsorted(self.classes_, samples.y)]
        earlier = 1 if samples.sample_weight is None else samples.sample_weight
        return replace(samples, sample_weight=weight * earlier)

    def _strata(self, y: Array) -> Array | None:
        return y if y.ndim == 1 and len(self.classes_) <= 2 else None  # of more classes some may be rare
