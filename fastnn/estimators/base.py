"""The part of scikit-learn's interface that both estimators share: validation sets, training, scoring."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils.validation import check_is_fitted

from fastnn.callbacks import Epoch, called
from fastnn.estimators.checks import checked_data
from fastnn.estimators.fit_task import CallbackSupportMixin, begin_fit_task
from fastnn.estimators.hold_out import hold_out
from fastnn.estimators.parameters import Parameters, warn
from fastnn.estimators.records import Records
from fastnn.estimators.shape import check_shape, hidden_sizes
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.network.samples import Samples
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.options import TrainOptions
from fastnn.training.stopping import LOSS, VALIDATION_LOSS, VALIDATION_SCORE, Stopping
from fastnn.training.trainer import Trainer
from fastnn.training.validation import Validation

Array = NDArray[Any]

# Early stopping by default begins at this many samples: with 200 it costs 0.6 % of accuracy (docs/quality.md).
_ENOUGH_TO_HOLD_OUT = 300


@dataclass(frozen=True)
class _Call:
    """How one call of `fit` or `partial_fit` trains.

    Parameters
    ----------
    n_epochs : int
        The number of epochs at most.
    given : tuple, optional
        X, y and the sample weights as `fit` got them; None in `partial_fit`, which neither stops by itself nor warns.
    callbacks : iterable of callable
    checkpoint : Checkpoint, optional
    """

    n_epochs: int
    given: tuple[Any, Any, Any] | None = None
    callbacks: Iterable[Callable[[Epoch], Any]] = ()
    checkpoint: Checkpoint | None = None

    @property
    def is_fit(self) -> bool:
        """Whether this is a call of `fit`."""
        return self.given is not None


class BaseMLP(Records, CallbackSupportMixin, BaseEstimator, Parameters):  # type: ignore[misc]
    """An estimator around a `Network`. A subclass implements the last methods, which depend on what y means."""

    _trainer: Trainer
    _stopping: Stopping
    _stops_early = False
    _default_scoring: ClassVar[str]

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        *,
        callbacks: Iterable[Callable[[Epoch], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
    ) -> Self:
        """Train on samples X with labels or values y.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            A classifier's labels: integers, strings, booleans or floats, or a matrix of 0 and 1 if a sample may have
            several labels. A regressor's values.
        sample_weight : array_like of shape (n_samples,), optional
            Each sample's weight in the mean loss.
        X_val : array_like or sparse matrix of shape (n_val, n_features), optional
            Samples to validate by after each epoch. `early_stopping` uses them in the place of a part of X.
        y_val, sample_weight_val : array_like, optional
            Their labels (all of which must occur in `y`) or values, and their weights.
        callbacks : iterable of callable
            Functions that are called with every finished `Epoch`; see `fastnn.callbacks`. Training stops when one of
            them returns something true. Those of scikit-learn's `set_callbacks` are called, too.
        checkpoint : str, path-like or None
            The file that keeps the progress. After a kill, the same call with the same data goes on from there, and
            ends in the bytes of a training that wasn't interrupted. Without a `random_state`, the seed is taken from
            the file.
        checkpoint_every : int
            The number of epochs from one checkpoint to the next.

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
        Ctrl-C ends training within a tenth of a second with a warning, after the checkpoint is written. The weights are
        those of the last finished epoch, or of the best one with `early_stopping`.
        """
        kept = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
        restart = not (self.warm_start and hasattr(self, "network_"))
        samples = self._validate(X, y, sample_weight, restart)
        held_out = self._validate_held_out(X_val, y_val, sample_weight_val)
        return self._fit(samples, held_out, restart, _Call(self.max_iter, (X, y, sample_weight), callbacks, kept))

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train for one epoch, going on from where the last call ended: solver, schedule, shuffle and all.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As for `fit`.

        Returns
        -------
        self
        """
        restart = not hasattr(self, "network_")
        samples = self._validate(X, y, sample_weight, restart)
        return self._partial_fit(samples, (X_val, y_val, sample_weight_val), restart)

    def _fit(self, samples: Samples, held_out: Samples | None, restart: bool, call: _Call) -> Self:
        """Train on checked samples: a new network if `restart`, otherwise the present one."""
        if not restart:
            new = "fit with warm_start=False" if call.is_fit else "call fit with warm_start=False"
            check_shape(self, self.network_, f"{new} for a new network")
        seed = self._seed(call.checkpoint) if restart else self._seed_to_go_on_with(self._trainer.options.seed)
        samples = self._weighted(samples)
        self._stops_early = self._shall_stop_early(samples, held_out is not None, call.is_fit)
        if held_out is None and self._stops_early:
            samples, held_out = hold_out(samples, seed, self.validation_fraction, self._strata(samples.y))
        options = self._options(seed, samples.X.shape[0])
        if restart:
            self._start(samples.X.shape[1], seed)
            self._trainer = Trainer(self.network_, options)
            self._trainer.step_size = self._schedule().first()
        else:
            self._go_on_with(options)
        stopping = self._stopping_rule(held_out)
        if not restart:
            self._take_up(stopping)
        self._stopping = stopping
        self.n_iter_ = 0
        task = None
        try:
            task = begin_fit_task(self, call.n_epochs, call.given) if call.given is not None else None
            self._run(samples, call, [task] if task else [])
        except KeyboardInterrupt:
            if not call.is_fit:
                raise
            kept = "those after it" if stopping.best_params is None else "the best epoch's"
            warn(f"Training interrupted by user after epoch {self.n_iter_}. The weights are {kept}.")
        else:
            if call.is_fit:
                self._say_why(call.n_epochs)
        finally:
            self._show_best(stopping)
            stopping.validation = None  # a pickle of the estimator must not hold the data
        if task is not None:
            task.finish()
        return self

    def _run(self, samples: Samples, call: _Call, tasks: list[Any]) -> None:
        """Train epoch by epoch, and record each."""
        stopping, n_samples = self._stopping, samples.X.shape[0]
        with (
            called([*call.callbacks, *tasks], call.n_epochs) as stops,
            closing(self._trainer.epochs(samples, call.n_epochs, stopping, call.checkpoint)) as epochs,
        ):
            for epoch in epochs:
                self._record(epoch, n_samples, stopping.watch)
                if stops(epoch):
                    stopping.stopped = True
                    break

    def _shall_stop_early(self, samples: Samples, given: bool, is_fit: bool) -> bool:
        """The meaning of `early_stopping` in this call. `given` says that there is a validation set."""
        if self.early_stopping != "auto":
            return bool(self.early_stopping)
        if given or not is_fit:
            return is_fit
        strata = self._strata(samples.y)
        divisible = strata is None or bool(np.unique(strata, return_counts=True)[1].min() >= 2)
        return divisible and samples.X.shape[0] >= _ENOUGH_TO_HOLD_OUT

    def _say_why(self, n_epochs: int) -> None:
        """Say why training has ended, in scikit-learn's words."""
        if self._stopping.stopped:
            if self.verbose:
                what = "Training loss" if self._stopping.watch == LOSS else self._stopping.watch.capitalize()
                print(
                    f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive "
                    "epochs. Stopping."
                )
        elif self.n_iter_ == n_epochs:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({n_epochs}) reached and the optimization hasn't converged "
                "yet.",
                ConvergenceWarning,
            )

    def _go_on_with(self, options: TrainOptions) -> None:
        """Use other options, and begin the schedule of the step size anew if it is another one."""
        self._trainer.go_on_with(options)
        schedule, trainer = self._schedule(), self._trainer
        # Another `max_iter` alone only matters to the cosine, which takes it up with its next epoch.
        if replace(self._stopping.schedule, epochs=schedule.epochs) != schedule:
            trainer.step_size = schedule.after_epoch(schedule.initial, trainer.samples_seen, trainer.epochs_done)

    def _take_up(self, stopping: Stopping) -> None:
        """Go on from where the last fit ended. The rule takes over the earlier rule's memory if both watch the same."""
        earlier = self._stopping
        stopping.go_on_from(earlier)
        params, last, shown = self.network_.params, self._last_params, earlier.best_params
        # If the network still has the weights of the best epoch, training goes on from those of the last epoch instead.
        if last is not None and shown is not None and earlier.watch == stopping.watch and np.array_equal(params, shown):
            params[:] = last
        self._last_params = None

    def _adopt(self, network: Network, samples_seen: int, loss_curve: list[float]) -> None:
        """Become fitted with a network that was trained elsewhere."""
        self.n_features_in_ = network.n_features
        if network.feature_names is not None:
            self.feature_names_in_ = np.array(network.feature_names, object)
        self.network_ = network
        self._begin_records()
        self.t_, self.loss_curve_, self.n_iter_ = samples_seen, loss_curve, len(loss_curve)
        if loss_curve:
            self.loss_, self.best_loss_ = loss_curve[-1], min(loss_curve)
        self._trainer = Trainer(network, self._options(self._seed(), n_samples=None))
        self._trainer.samples_seen = samples_seen
        self._stopping = self._stopping_rule(None)

    def _start(self, n_features: int, seed: int) -> None:
        """Make a new network and empty records."""
        outputs = self._outputs()
        sizes = [n_features, *hidden_sizes(self.hidden_layer_sizes), outputs.pop("n_outputs")]
        names = getattr(self, "feature_names_in_", None)
        options = {"dtype": self.dtype, "feature_names": names, "layer_norm": self.layer_norm, **outputs}
        if self.n_ensemble == 1:
            self.network_ = Network.create(sizes, self.activation, seed, **options)
        else:
            self.network_ = Ensemble.create(self.n_ensemble, sizes, self.activation, seed, **options)
        self._begin_records()

    def _stopping_rule(self, held_out: Samples | None) -> Stopping:
        """The rule that says when training stops by itself."""
        schedule = self._schedule()
        if held_out is None:
            return Stopping(self.tol, self.n_iter_no_change, schedule)
        watch = LOSS
        if self._stops_early:
            watch = VALIDATION_LOSS if self.scoring == "loss" else VALIDATION_SCORE
        validation = Validation(self.network_, held_out, self.n_threads, self._scorer(held_out))
        return Stopping(self.tol, self.n_iter_no_change, schedule, validation, watch)

    def _scorer(self, held_out: Samples) -> Callable[[], float] | None:
        """The scorer that `scoring` asks for; None if `Validation` computes that score anyway."""
        if self.scoring in ("loss", None, self._default_scoring):
            return None
        scorer = check_scoring(self, self.scoring)
        nameless = copy.copy(self)  # the held-out samples have been validated, and no longer have feature names
        nameless.__dict__.pop("feature_names_in_", None)
        weight = {} if held_out.sample_weight is None else {"sample_weight": held_out.sample_weight}
        return lambda: float(scorer(nameless, held_out.X, held_out.y, **weight))

    def predict(self, X: Any) -> Array:
        """The most probable label of each sample, or the values of a regression.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of the shape that the y of `fit` had
            A classifier's labels; a matrix of 0 and 1 if a sample may have several labels. A regressor's values, of the
            network's dtype.
        """
        return self._predicted(self._forward(X))

    def _forward(self, X: Any) -> Array:
        """The network's outputs for X. scikit-learn validates X unless X is a plain array of the network's dtype."""
        check_is_fitted(self, "network_")
        if self._is_plain(X):
            try:
                return self.network_.outputs(X, n_threads=self.n_threads)
            except ValueError:
                pass  # scikit-learn's validation below says what is wrong in its own words
        X = checked_data(self, X, reset=False)
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validate_held_out(self, X: Any, y: Any, sample_weight: Any) -> Samples | None:
        """The given validation samples, checked; None if there are none."""
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val is given without X_val and y_val.")
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val belong together: one is missing.")
        return self._validate(X, y, sample_weight, restart=False, known=True)

    def _partial_fit(self, samples: Samples, validation_set: tuple[Any, Any, Any], restart: bool) -> Self:
        """Train for one epoch. `validation_set` is X_val, y_val and sample_weight_val as `partial_fit` got them."""
        return self._fit(samples, self._validate_held_out(*validation_set), restart, _Call(1))

    # A subclass implements these.

    def _validate(self, X: Any, y: Any, sample_weight: Any, restart: bool, known: bool = False) -> Samples:
        """The validated samples. With `known`, a classifier's y may hold only labels that are in `classes_`."""
        raise NotImplementedError

    def _predicted(self, outputs: Array) -> Array:
        """What `predict` returns for these outputs of the network."""
        raise NotImplementedError

    def _outputs(self) -> dict[str, Any]:
        """What y decides of a new network: ``n_outputs``, ``output`` and, for a classifier, ``classes``."""
        raise NotImplementedError

    def _weighted(self, samples: Samples) -> Samples:
        """The training samples with all of their weights."""
        return samples

    def _strata(self, y: Array) -> Array | None:
        """The groups that keep their proportions when samples are held out; None for a plain random split."""
        return None
