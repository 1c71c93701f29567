"""MLPRegressor: scikit-learn's interface to a network with values for outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.base import BaseMLP
from fastnn.estimators.checks import checked_data, checked_weight
from fastnn.estimators.shape import OUTPUT_OF_LOSS
from fastnn.network.given import refuse_meanings
from fastnn.network.network import Network
from fastnn.network.samples import Samples

Array = NDArray[Any]


@dataclass(eq=False, repr=False, kw_only=True)
class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """Multilayer perceptron for regression with scikit-learn's interface, trained and served by compiled kernels.

    The parameters and their defaults are those of `MLPClassifier`, without `label_smoothing` and `class_weight`, and
    with one other default: `alpha` is 1e-4, as in scikit-learn, since the loss depends on the scale of y. One parameter
    is the regressor's alone, and can only be given by name.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        The loss of a regression. "squared_error" is half the squared error. "poisson" is half of the Poisson
        distribution's deviance, for counts and other values that are at least 0. The network's outputs are exponentials
        then.

    Attributes
    ----------
    network_ : fastnn.Network or fastnn.Ensemble
        The trained network; ``network_.save(path)`` writes the model file.
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_loss_curve_, n_iter_, t_
        As those of `MLPClassifier`.
    validation_scores_ : list of float or None
        The score on the held-out samples after each epoch. It is R², unless `scoring` is another scorer.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_
        As those of `MLPClassifier`.
    out_activation_ : str
        "identity", or "exp" with the Poisson loss.

    Notes
    -----
    A sample's loss is added over the outputs. It is ``sum_j (f_j(x) - y_j)**2 / 2`` for the squared error. scikit-learn
    reports the mean over the outputs instead of this sum, but its gradients are those of the sum, too. The Poisson loss
    is ``sum_j f_j(x) - y_j + y_j * log(y_j / f_j(x))``, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, np.newaxis]
    >>> reg = MLPRegressor(random_state=0, max_iter=500, learning_rate_init=0.01).fit(X, np.sin(3 * X[:, 0]))
    >>> reg.score(X, np.sin(3 * X[:, 0])) > 0.99
    True
    """

    if TYPE_CHECKING:  # annotations in the body itself would be parameters
        _y_ndim: int
        _n_values: int

    _default_scoring = "r2"

    loss: str = "squared_error"

    @classmethod
    def from_sklearn(cls, fitted: Any) -> MLPRegressor:
        """A regressor with the parameters, weights and records of scikit-learn's fitted `MLPRegressor`.

        It predicts the same. Training goes on from the weights, with a new solver's state.

        Parameters
        ----------
        fitted : sklearn.neural_network.MLPRegressor

        Returns
        -------
        MLPRegressor
            Of the dtype of the weights.
        """
        from fastnn.estimators.interchange import regressor_from_sklearn

        reg: MLPRegressor = regressor_from_sklearn(cls, fitted)
        return reg

    def to_sklearn(self) -> Any:
        """scikit-learn's fitted `MLPRegressor` with this one's parameters and weights.

        Returns
        -------
        sklearn.neural_network.MLPRegressor

        Raises
        ------
        ValueError
            If scikit-learn doesn't have the activation or the loss, or if the network is an ensemble or has normalised
            layers.
        """
        check_is_fitted(self, "network_")
        from fastnn.estimators.interchange import regressor_to_sklearn

        return regressor_to_sklearn(self)

    def adopt(self, network: Network, samples_seen: int, loss_curve: list[float]) -> None:
        """Become fitted with a network that was trained elsewhere."""
        self._n_values = network.n_classes
        self._y_ndim = 1 if self._n_values == 1 else 2
        self._adopt(network, samples_seen, loss_curve)

    def _validate(self, X: Any, y: Any, sample_weight: Any, restart: bool, known: bool = False) -> Samples:
        """Checked samples, with a column of values for each output."""
        if hasattr(y, "toarray"):
            y = y.toarray()
        refuse_meanings("y", y)
        X, y = checked_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32), reset=restart
        )
        sample_weight = checked_weight(sample_weight, X)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if restart:
            self._y_ndim, self._n_values = y.ndim, 1 if y.ndim == 1 else y.shape[1]
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != self._n_values:
            raise ValueError(f"y has {columns.shape[1]} values a sample, {self._n_values} were there before.")
        return Samples(X, columns, sample_weight)

    def _outputs(self) -> dict[str, Any]:
        return {"n_outputs": self._n_values, "output": OUTPUT_OF_LOSS[self.loss]}

    def _predicted(self, outputs: Array) -> Array:
        return outputs.reshape(-1) if self._y_ndim == 1 else outputs
