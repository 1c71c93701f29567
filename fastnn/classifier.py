"""MLPClassifier: scikit-learn's interface. Validation, labels and fitted attributes; no arithmetic on samples."""

from __future__ import annotations

import operator
import os
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnn.checkpoint import Checkpoint
from fastnn.kernels.activation import CODES
from fastnn.network import Network
from fastnn.samples import Samples, refuse_no_numbers
from fastnn.schedule import Schedule
from fastnn.stopping import Stopping, ValidationStopping
from fastnn.trainer import Epoch, Trainer, TrainOptions

Array = NDArray[Any]

_AUTO_BATCH_SIZE = 200


class MLPClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multilayer perceptron classifier with scikit-learn's interface, trained and served by compiled kernels.

    Every parameter means what it means in `sklearn.neural_network.MLPClassifier`, and has its default there, except
    `activation`, which is the article's tanh. `dtype` and `n_threads` come on top; ``solver="lbfgs"`` and `max_fun`
    don't exist. A binary problem has two softmax outputs where scikit-learn has one logistic output.

    Parameters
    ----------
    hidden_layer_sizes : int or array_like of int, default=(100,)
        Units of each hidden layer.
    activation : {"tanh", "relu", "logistic", "identity"}, default="tanh"
        The hidden layers' activation.
    solver : {"sgd", "adam"}, default="adam"
    alpha : float, default=1e-4
        Strength of the L2 penalty, ``alpha / 2 * sum W**2``, divided by a batch's samples.
    batch_size : int or "auto", default="auto"
        Samples of a mini-batch; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        The schedule of the step size, for ``solver="sgd"``.
    learning_rate_init : float, default=1e-3
        The (first) step size.
    power_t : float, default=0.5
        The exponent of "invscaling".
    max_iter : int, default=200
        Epochs at most.
    shuffle : bool, default=True
        A new order of the samples for each epoch.
    random_state : int, RandomState instance or None, default=None
        Of the initial weights, the shuffle and the validation split.
    tol : float, default=1e-4
        An improvement below it is none.
    verbose : bool, default=False
        Print the loss of each epoch.
    warm_start : bool, default=False
        `fit` goes on from the weights of the last one.
    momentum : float, default=0.9
        For ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        For ``solver="sgd"`` with momentum.
    early_stopping : bool, default=False
        Hold a part of the samples out, stop when the accuracy on it improves no more, and keep the best weights.
    validation_fraction : float, default=0.1
        The part that `early_stopping` holds out.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        For ``solver="adam"``.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement after which training stops.
    dtype : {"float32", "float64"}, default="float32"
        What is computed in.
    n_threads : int or None, default=None
        The most threads to use; None: all that the process may. The result is the same.

    Attributes
    ----------
    network_ : fastnn.Network
        The trained network; ``network_.save(path)`` writes the model file.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coefs_ : list of ndarray of shape (n_in, n_out)
        The weights of each layer, read-only copies.
    intercepts_ : list of ndarray of shape (n_out,)
        The biases of each layer, read-only copies.
    loss_ : float
        The last epoch's mean loss.
    best_loss_ : float or None
        The least loss of any epoch; None with `early_stopping`.
    loss_curve_ : list of float
        The mean loss of each epoch.
    validation_scores_ : list of float or None
        The accuracy on the held-out samples after each epoch, with `early_stopping`.
    best_validation_score_ : float or None
        The best of them.
    n_iter_ : int
        Epochs of the last `fit`.
    t_ : int
        Samples seen in training.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had names that are all strings.
    n_layers_, n_outputs_ : int
        Layers, the input included; outputs.
    out_activation_ : str
        "softmax".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(random_state=0, max_iter=500).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    """

    network_: Network
    classes_: Array

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(CODES))],
        "solver": [StrOptions({"sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "dtype": [StrOptions({"float32", "float64"})],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "tanh",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        dtype: str = "float32",
        n_threads: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dtype = dtype
        self.n_threads = n_threads

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
    ) -> MLPClassifier:
        """Train on samples X with labels y.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
        y : array_like of shape (n_samples,)
            Integers, strings, booleans or floats.
        sample_weight : array_like of shape (n_samples,), optional
            Each sample's weight in the mean loss.
        checkpoint : str or path-like, optional
            A file to keep the progress in. A `fit` with the same data and parameters goes on from there, and ends in
            the bytes of a `fit` that wasn't interrupted; without a `random_state` its seed is that of the file.
        checkpoint_every : int, default=1
            Epochs from one checkpoint to the next.

        Returns
        -------
        self

        Raises
        ------
        TrainingDivergedError
            If the loss or a weight stops being finite.
        ModelFileError
            If `checkpoint` is damaged, or holds the unfinished progress of another training.
        TypeError, ValueError
            If the data or a parameter doesn't fit.

        Notes
        -----
        Ctrl-C ends training within a tenth of a second, with a warning: the estimator is fitted, its weights are those
        of the last finished epoch, and the checkpoint is written.
        """
        kept = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
        restart = not (self.warm_start and hasattr(self, "network_"))
        samples = self._validate(X, y, sample_weight, restart)
        seed = self._seed(kept)
        held_out = None
        if self.early_stopping:
            samples, held_out = self._hold_out(samples, seed)
        options, stopping = self._options(seed, samples), self._stopping_rule(held_out)
        if restart:
            self._start(samples, seed)
        self._trainer = Trainer(self.network_, options)
        self._trainer.samples_seen = self.t_
        if not restart:
            stopping.go_on_from(self._stopping)
        self._stopping: Stopping = stopping
        self.n_iter_ = 0
        try:
            for epoch in self._trainer.epochs(samples, self.max_iter, self._stopping, kept):
                self._record(epoch, samples)
            if self.n_iter_ == self.max_iter and not self._stopping.stopped:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                    "reached and the optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        except KeyboardInterrupt:
            warnings.warn(
                f"Training interrupted by user. The weights are those after epoch {self.n_iter_}.", stacklevel=2
            )
        finally:
            if isinstance(stopping, ValidationStopping):
                stopping.restore_best(self.network_)
                stopping.held_out = Samples([], [])  # a pickle of the estimator shall not hold its training data
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Train for one epoch, going on from where the last call ended, the solver's state included.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
        y : array_like of shape (n_samples,)
        sample_weight : array_like of shape (n_samples,), optional
        classes : array_like of shape (n_classes,), optional
            All labels that any call's y may hold; needed in the first call.

        Returns
        -------
        self
        """
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first_call = _check_partial_fit_first_call(self, classes)
        restart = first_call or not hasattr(self, "network_")
        samples = self._validate(X, y, sample_weight, restart=restart, known_classes=True)
        if restart:
            seed = self._seed()
            options = self._options(seed, samples)
            self._start(samples, seed)
            self._trainer = Trainer(self.network_, options)
        if restart or isinstance(self._stopping, ValidationStopping):
            self._stopping = self._stopping_rule(None)
        self.n_iter_ = 0
        for epoch in self._trainer.epochs(samples, 1, self._stopping):
            self._record(epoch, samples)
        return self

    def predict(self, X: Any) -> Array:
        """The most probable label of each sample.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        indices = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[indices]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Class probabilities (F1, F2, F3).

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes), of the network's dtype
            Columns in the order of `classes_`.
        """
        check_is_fitted(self, "network_")
        if self._is_plain(X):
            try:
                return self.network_.predict_proba(X, n_threads=self.n_threads)
            except ValueError:
                pass  # scikit-learn's own words for what is wrong
        refuse_no_numbers(X)
        X = validate_data(self, X, reset=False)
        return self.network_.predict_proba(X, n_threads=self.n_threads)

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the class probabilities.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            log_p: Array = np.log(self.predict_proba(X))
        return log_p

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, as read-only copies."""
        return [_read_only(W) for W in self.network_.weights]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, as read-only copies."""
        return [_read_only(b) for b in self.network_.biases]

    @property
    def n_layers_(self) -> int:
        """Layers, the input included."""
        return len(self.network_.sizes)

    @property
    def n_outputs_(self) -> int:
        """Outputs: one for each class."""
        return self.network_.n_classes

    @property
    def out_activation_(self) -> str:
        """The output layer's activation."""
        self.network_  # noqa: B018  # an attribute of fitted estimators only
        return "softmax"

    def _validate(self, X: Any, y: Any, sample_weight: Any, restart: bool, known_classes: bool = False) -> Samples:
        """Checked samples; sets `classes_`, unless they are known."""
        refuse_no_numbers(X)
        X, y = validate_data(self, X, y, multi_output=True, dtype=(np.float64, np.float32), reset=restart)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        labels = unique_labels(y)
        if known_classes:
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

    def _seed(self, checkpoint: Checkpoint | None = None) -> int:
        """The 64-bit seed of everything random: `random_state` itself, or one number drawn from it."""
        if self.random_state is None and checkpoint is not None:
            kept = checkpoint.seed()
            if kept is not None:
                return kept
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        random = check_random_state(self.random_state)
        return int(random.randint(0, np.iinfo(np.int64).max, dtype=np.int64))

    def _start(self, samples: Samples, seed: int) -> None:
        """A new network, and empty records."""
        hidden = self.hidden_layer_sizes
        hidden = [operator.index(n) for n in hidden] if hasattr(hidden, "__iter__") else [int(hidden)]
        if any(n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        names = getattr(self, "feature_names_in_", None)
        sizes = [samples.X.shape[1], *hidden, len(self.classes_)]
        self.network_ = Network.create(sizes, self.activation, seed, self.dtype, self.classes_, names)
        self.t_ = 0
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_: float | None = None
        self.best_loss_: float | None = None

    def _options(self, seed: int, samples: Samples) -> TrainOptions:
        n_samples = samples.X.shape[0]
        batch_size = _AUTO_BATCH_SIZE
        if self.batch_size != "auto":
            batch_size = int(self.batch_size)
            if batch_size > n_samples:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=3
                )
        return TrainOptions(
            solver=self.solver,
            step_size=self.learning_rate_init,
            batch_size=batch_size,
            shuffle=bool(self.shuffle),
            seed=seed,
            momentum=self.momentum,
            nesterovs_momentum=bool(self.nesterovs_momentum),
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            alpha=self.alpha,
            n_threads=self.n_threads,
        )

    def _stopping_rule(self, held_out: Samples | None) -> Stopping:
        kind = self.learning_rate if self.solver == "sgd" else "constant"
        schedule = Schedule(kind, self.learning_rate_init, self.power_t)
        if held_out is None:
            return Stopping(self.tol, self.n_iter_no_change, schedule)
        return ValidationStopping(held_out, self.tol, self.n_iter_no_change, schedule, self.n_threads)

    def _hold_out(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """Split off the validation samples: two classes in their proportions; of more, some may be rare."""
        arrays = [samples.X, samples.y] + ([] if samples.sample_weight is None else [samples.sample_weight])
        split = train_test_split(
            *arrays,
            random_state=seed % 2**32,
            test_size=self.validation_fraction,
            stratify=samples.y if len(self.classes_) <= 2 else None,
        )
        if split[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        training, held_out = Samples(*split[0::2]), Samples(*split[1::2])
        if held_out.sample_weight is not None and not np.any(held_out.sample_weight):
            raise ValueError("Sample weights must contain at least one non-zero number: those held out are all zero.")
        return training, held_out

    def _record(self, epoch: Epoch, samples: Samples) -> None:
        """Write an epoch into the fitted attributes, and print it if asked to."""
        self.n_iter_ += 1
        self.t_ += samples.X.shape[0]
        self.loss_ = epoch.loss
        self.loss_curve_.append(epoch.loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {epoch.loss:.8f}")
        if epoch.validation_score is None:
            self.best_loss_ = epoch.loss if self.best_loss_ is None else min(self.best_loss_, epoch.loss)
        else:
            if self.validation_scores_ is None:  # a warm start from a fit without early stopping
                self.validation_scores_ = []
            self.validation_scores_.append(epoch.validation_score)
            best = self.best_validation_score_
            self.best_validation_score_ = epoch.validation_score if best is None else max(best, epoch.validation_score)
            if self.verbose:
                print(f"Validation score: {epoch.validation_score:f}")

    def _is_plain(self, X: Any) -> bool:
        """Whether X needs none of scikit-learn's validation, which costs more than scoring a few rows."""
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[0] > 0
            and X.dtype == self.network_.dtype
            and X.flags.c_contiguous
            and self.network_.feature_names is None
        )


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array
