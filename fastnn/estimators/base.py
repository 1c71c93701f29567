"""What the estimators share: options, validation sets, training, fitted attributes; scikit-learn's interface."""

from __future__ import annotations

import copy
import operator
import os
import warnings
from collections.abc import Callable
from contextlib import closing
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.callbacks import Epoch, called
from fastnn.estimators.constraints import constraints
from fastnn.network.conversion import refuse_unusable
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.network.samples import Samples
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.option_table import REGRESSOR
from fastnn.training.schedule import Schedule
from fastnn.training.stopping import LOSS, VALIDATION_LOSS, VALIDATION_SCORE, Stopping
from fastnn.training.trainer import Trainer, TrainOptions
from fastnn.training.validation import Validation

Array = NDArray[Any]

# Early stopping by default begins here: with 200 samples it costs 0.6 % of accuracy (docs/quality.md).
_ENOUGH_TO_HOLD_OUT = 300


try:
    from sklearn.callback import CallbackSupportMixin
except ModuleNotFoundError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's."""


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator around a `Network`. What y means is the subclass's: `_validate`, `_outputs`, `_weighted`."""

    network_: Network | Ensemble
    _trainer: Trainer
    _stopping: Stopping
    _stops_early = False
    # The weights of the last epoch, where the network has those of the best one: training goes on from them.
    _last_params: Array | None = None
    loss_curve_: list[float]
    best_loss_: float | None
    best_validation_score_: float | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(REGRESSOR)

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "tanh",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.002,
        power_t: float = 0.5,
        warmup_epochs: int = 0,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: Any = "auto",
        validation_fraction: float = 0.1,
        scoring: Any = "loss",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        weight_decay: float = 0.01,
        dropout: float = 0.0,
        clip_norm: float | None = None,
        layer_norm: bool = False,
        n_ensemble: int = 1,
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
        self.warmup_epochs = warmup_epochs
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
        self.scoring = scoring
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.layer_norm = layer_norm
        self.n_ensemble = n_ensemble
        self.dtype = dtype
        self.n_threads = n_threads

    def _fit(self, samples: Samples, held_out: Samples | None, restart: bool, n_epochs: int, **further: Any) -> Self:
        """Train on checked samples; `further` is a checkpoint, and whether training may stop by itself."""
        checkpoint: Checkpoint | None = further.get("checkpoint")
        seed = self._seed(checkpoint) if restart else self._trainer.options.seed
        samples = self._weighted(samples)
        self._stops_early = self._shall_stop_early(samples, held_out is not None, further.get("stops", True))
        if held_out is None and self._stops_early:
            samples, held_out = self._hold_out(samples, seed)
        options = self._options(seed, samples.X.shape[0])
        if restart:
            self._start(samples.X.shape[1], seed)
            self._trainer = Trainer(self.network_, options)
            self._trainer.step_size = self._schedule().first()
        else:
            self._trainer.go_on_with(options)
        stopping = self._stopping_rule(held_out)
        if not restart:
            self._take_up(stopping)
        self._stopping = stopping
        self.n_iter_ = 0
        task = None
        try:
            task = self._begin_fit_task(n_epochs, *further["given"]) if "given" in further else None
            with (
                called([*further.get("callbacks", ()), *([task] if task else [])], n_epochs) as stops,
                closing(self._trainer.epochs(samples, n_epochs, stopping, checkpoint)) as epochs,
            ):
                for epoch in epochs:
                    self._record(epoch, samples)
                    if stops(epoch):
                        stopping.stopped = True
                        break
        except KeyboardInterrupt:
            if not further.get("stops", True):
                raise
            kept = "those after it" if stopping.best_params is None else "the best epoch's"
            warnings.warn(
                f"Training interrupted by user after epoch {self.n_iter_}. The weights are {kept}.", stacklevel=4
            )
        else:
            if further.get("stops", True):
                self._say_why(n_epochs)
        finally:
            self._finish()
        if task is not None:
            task.finish()
        return self

    def _shall_stop_early(self, samples: Samples, given: bool, whole: bool) -> bool:
        """What `early_stopping` comes to; `given` says that samples are held out, `whole` that this is `fit`."""
        if self.early_stopping != "auto":
            return bool(self.early_stopping)
        if given or not whole:
            return whole
        strata = self._strata(samples.y)
        divisible = strata is None or bool(np.unique(strata, return_counts=True)[1].min() >= 2)
        return divisible and samples.X.shape[0] >= _ENOUGH_TO_HOLD_OUT

    def _begin_fit_task(self, n_epochs: int, X: Any, y: Any, sample_weight: Any) -> _FitTask | None:
        """The callbacks of `set_callbacks`, if there are any, at work."""
        if not getattr(self, "_skl_callbacks", None):
            return None
        given = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        return _FitTask(self, self._init_callback_context(max_subtasks=n_epochs), given)

    def _say_why(self, n_epochs: int) -> None:
        """Why training has ended, in scikit-learn's words."""
        if self._stopping.stopped:
            if self.verbose:
                what = "Training loss" if self._stopping.watch == LOSS else self._stopping.watch.capitalize()
                print(
                    f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive "
                    "epochs. Stopping."
                )
        elif self.n_iter_ == n_epochs:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({n_epochs}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _finish(self) -> None:
        """Show the best weights, where the rule keeps them, and keep the last ones to go on from."""
        rule = self._stopping
        if rule.best_params is not None:
            self._last_params = self.network_.params.copy()
            rule.restore_best(self.network_)
        if self.validation_scores_:
            self.best_validation_score_ = max(self.validation_scores_) if rule.watch == LOSS else rule.best_score
        rule.validation = None  # a pickle of the estimator shall not hold its data

    def _take_up(self, stopping: Stopping) -> None:
        """Go on from where the last fit ended, its rule's memory included, if that rule watched the same."""
        earlier = self._stopping
        stopping.go_on_from(earlier)
        params, last, shown = self.network_.params, self._last_params, earlier.best_params
        # Unless somebody has changed the weights since.
        if last is not None and shown is not None and earlier.watch == stopping.watch and np.array_equal(params, shown):
            params[:] = last
        self._last_params = None

    def _adopt(self, network: Network, samples_seen: int, loss_curve: list[float]) -> None:
        """Take a network that was trained elsewhere."""
        self.network_ = network
        self._begin_records()
        self.t_, self.loss_curve_, self.n_iter_ = samples_seen, loss_curve, len(loss_curve)
        if loss_curve:
            self.loss_, self.best_loss_ = loss_curve[-1], min(loss_curve)
        self._trainer = Trainer(network, self._options(self._seed(), n_samples=None))
        self._trainer.samples_seen = samples_seen
        self._stopping = self._stopping_rule(None)

    def _start(self, n_features: int, seed: int) -> None:
        """A new network, and empty records."""
        hidden = self.hidden_layer_sizes
        hidden = [operator.index(n) for n in hidden] if hasattr(hidden, "__iter__") else [int(hidden)]
        if any(n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        outputs = self._outputs()
        sizes = [n_features, *hidden, outputs.pop("n_outputs")]
        names = getattr(self, "feature_names_in_", None)
        options = {"dtype": self.dtype, "feature_names": names, "layer_norm": self.layer_norm, **outputs}
        if self.n_ensemble == 1:
            self.network_ = Network.create(sizes, self.activation, seed, **options)
        else:
            self.network_ = Ensemble.create(self.n_ensemble, sizes, self.activation, seed, **options)
        self._begin_records()

    def _begin_records(self) -> None:
        self._last_params = None
        self.t_ = 0
        self.loss_curve_ = []
        self.validation_loss_curve_: list[float] | None = None
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_ = None
        self.best_loss_ = None

    def _record(self, epoch: Epoch, samples: Samples) -> None:
        """Write an epoch into the fitted attributes, and print it if asked to."""
        self.n_iter_ += 1
        self.t_ += samples.X.shape[0]
        self.loss_ = epoch.loss
        self.loss_curve_.append(epoch.loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {epoch.loss:.8f}")
        if self._stopping.watch == LOSS:
            self.best_loss_ = epoch.loss if self.best_loss_ is None else min(self.best_loss_, epoch.loss)
        if epoch.validation_loss is not None and epoch.validation_score is not None:
            if self.validation_scores_ is None or self.validation_loss_curve_ is None:
                self.validation_scores_, self.validation_loss_curve_ = [], []
            self.validation_loss_curve_.append(epoch.validation_loss)
            self.validation_scores_.append(epoch.validation_score)
            if self.verbose:
                print(f"Validation score: {epoch.validation_score:f}")

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

    def _options(self, seed: int, n_samples: int | None) -> TrainOptions:
        if self.batch_size == "auto":
            batch_size = auto_batch_size(n_samples)
        else:
            batch_size = int(self.batch_size)
            if n_samples is not None and batch_size > n_samples:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
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
            weight_decay=self.weight_decay if self.solver == "adamw" else 0.0,
            dropout=self.dropout,
            label_smoothing=getattr(self, "label_smoothing", 0.0),
            clip_norm=self.clip_norm,
            n_threads=self.n_threads,
        )

    def _schedule(self) -> Schedule:
        # In scikit-learn "invscaling" and "adaptive" are for sgd only.
        kind = self.learning_rate if self.solver == "sgd" or self.learning_rate == "cosine" else "constant"
        return Schedule(kind, self.learning_rate_init, self.power_t, self.max_iter, self.warmup_epochs)

    def _stopping_rule(self, held_out: Samples | None) -> Stopping:
        schedule = self._schedule()
        if held_out is None:
            return Stopping(self.tol, self.n_iter_no_change, schedule)
        watch = LOSS
        if self._stops_early:
            watch = VALIDATION_LOSS if self.scoring == "loss" else VALIDATION_SCORE
        validation = Validation(self.network_, held_out, self.n_threads, self._scorer(held_out))
        return Stopping(self.tol, self.n_iter_no_change, schedule, validation, watch)

    def _scorer(self, held_out: Samples) -> Callable[[], float] | None:
        """What `scoring` asks for; None where `Validation` has it anyway."""
        if self.scoring in ("loss", None, self._default_scoring):
            return None
        scorer = check_scoring(self, self.scoring)
        nameless = copy.copy(self)  # what is held out has been validated, and has no names any more
        nameless.__dict__.pop("feature_names_in_", None)
        weight = {} if held_out.sample_weight is None else {"sample_weight": held_out.sample_weight}
        return lambda: float(scorer(nameless, held_out.X, held_out.y, **weight))

    def _hold_out(self, samples: Samples, seed: int) -> tuple[Samples, Samples]:
        """Split off the validation samples."""
        arrays = [samples.X, samples.y] + ([] if samples.sample_weight is None else [samples.sample_weight])
        split = train_test_split(
            *arrays,
            random_state=seed % 2**32,
            test_size=self.validation_fraction,
            stratify=self._strata(samples.y),
        )
        if split[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        training, held_out = Samples(*split[0::2]), Samples(*split[1::2])
        if held_out.sample_weight is not None and not np.any(held_out.sample_weight):
            raise ValueError(
                "Sample weights must contain at least one non-zero number: those held out are all zero. "
                "Give X_val and y_val, or early_stopping=False."
            )
        return training, held_out

    def _forward(self, X: Any) -> Array:
        """The network's outputs for X, which scikit-learn validates unless it is plain."""
        check_is_fitted(self, "network_")
        if self._is_plain(X):
            try:
                return self.network_.outputs(X, n_threads=self.n_threads)
            except ValueError:
                pass  # scikit-learn's own words for what is wrong
        refuse_unusable(X)
        X = validate_data(self, X, accept_sparse="csr", reset=False)
        return self.network_.outputs(X, n_threads=self.n_threads)

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"layer_norm": False, **state})  # a pickle may be older than normalised layers

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # What the subclass says.

    _default_scoring: ClassVar[str]

    def _outputs(self) -> dict[str, Any]:
        """The number of outputs of the network, and its output and classes (see `Network`)."""
        raise NotImplementedError

    def _weighted(self, samples: Samples) -> Samples:
        """The training samples with all weights that they have."""
        return samples

    def _strata(self, y: Array) -> Array | None:
        """What is kept in its proportions where samples are held out."""
        return None

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, as read-only copies; an ensemble has those of its members only."""
        return [_read_only(W) for W in self.network_.weights]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, as read-only copies; an ensemble has those of its members only."""
        return [_read_only(b) for b in self.network_.biases]

    @property
    def n_layers_(self) -> int:
        """Layers, the input included."""
        return len(self.network_.sizes)

    @property
    def n_outputs_(self) -> int:
        """Outputs of the network."""
        return self.network_.n_classes

    @property
    def out_activation_(self) -> str:
        """The output layer's activation."""
        return self.network_.output

    def _validate_held_out(self, X: Any, y: Any, sample_weight: Any) -> Samples | None:
        """The given validation samples, if there are any."""
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val is given without X_val and y_val.")
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val belong together: one is missing.")
        return self._validate(X, y, sample_weight, restart=False, known=True)

    def _validate(self, X: Any, y: Any, sample_weight: Any, restart: bool, known: bool = False) -> Samples:
        """Checked samples; `known` says that what y may hold is known already."""
        raise NotImplementedError


def auto_batch_size(n_samples: int | None) -> int:
    """What ``batch_size="auto"`` comes to: a fiftieth of the samples, at least 32 and at most 200 (docs/quality.md)."""
    return 200 if n_samples is None else min(200, max(32, n_samples // 50), n_samples)


class _FitTask:
    """scikit-learn's callbacks as one of ours: a fit is a task of theirs, and each epoch one within that."""

    def __init__(self, estimator: BaseMLP, context: Any, given: dict[str, Any]) -> None:
        self.given: dict[str, Any] = {"estimator": estimator, **given}
        self.context = context
        self.context.call_on_fit_task_begin(**self.given)

    def __call__(self, epoch: Epoch) -> bool:
        task = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(**self.given)
        network = self.given["estimator"].network_
        # A copy, if anybody asks: what a callback keeps shall not be trained on.
        fitted = {"reconstruction_attributes": lambda: {"network_": copy.deepcopy(network)}}
        return bool(task.call_on_fit_task_end(**self.given, **fitted))

    def finish(self) -> None:
        """The whole fit is done; with the weights that it ends with."""
        self.context.call_on_fit_task_end(**self.given, reconstruction_attributes={})


def checkpoint_at(path: str | os.PathLike[str] | None, every: int) -> Checkpoint | None:
    """The checkpoint that `fit` was given."""
    return None if path is None else Checkpoint(path, every)


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array
