"""Network: one multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.equations import activation as activations
from fastnn.kernels.forward.rows import OUTPUTS
from fastnn.kernels.layout import Layout, aligned_zeros
from fastnn.network import parameters
from fastnn.network.conversion import check_names
from fastnn.network.description import built, describe
from fastnn.network.scoring import Scoring
from fastnn.network.trainable import Trainable

Array = NDArray[Any]


class Network(Trainable):
    """A multilayer perceptron: tanh (or other) hidden layers, softmax over the classes.

    Parameters
    ----------
    weights : sequence of ndarray of shape (n_in, n_out)
        The weights of each layer, all float32 or all float64.
    biases : sequence of ndarray of shape (n_out,)
        The biases of each layer.
    activation : str or sequence of str
        The hidden layers' activation, or that of each: "tanh", "relu", "logistic", "identity", "leaky_relu" (of slope
        0.01 below zero), "gelu" (in its approximation by tanh), "silu".
    classes : array_like of shape (n_classes,), optional
        The label of each output: integers, strings, booleans or floats. By default labels are class indices.
    feature_names : sequence of str, optional
        The name of each input. A data frame with other column names, or in another order, is an error then.
    output : {"softmax", "logistic", "identity", "exp"}
        The last layer's activation: softmax where each sample has one class of several, logistic where a sample may
        have any number of labels, identity for a regression, exp for a regression of counts (Poisson regression).
    gains : sequence of ndarray of shape (n_out,), optional
        The gains of each hidden layer. With gains the hidden layers are normalised before their activation f (layer
        normalisation): the output of a layer is ``f(gain * (z - mean(z)) / sqrt(var(z) + 1e-5) + b)`` with
        ``z = a_prev @ W``, where mean and variance are those of a sample over the layer's units.

    Raises
    ------
    TypeError
        If the arrays aren't all float32 or all float64.
    ValueError
        If the shapes don't fit together, a number isn't finite, or a name is unknown.

    Notes
    -----
    `params` is the flat vector that the kernels read: padded weights in panels, biases and gains (see
    ``kernels.layout``).
    """

    def __init__(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array],
        activation: str | Sequence[str] = "tanh",
        classes: Any = None,
        feature_names: Sequence[str] | None = None,
        output: str = "softmax",
        gains: Sequence[Array] | None = None,
    ) -> None:
        matrices = [np.asarray(W) for W in weights]
        vectors = [np.asarray(b) for b in biases]
        parameters.check_parameters(matrices, vectors)
        factors = [] if gains is None else parameters.check_gains(gains, matrices)
        self.layout = Layout(
            [matrices[0].shape[0], *(W.shape[1] for W in matrices)],
            matrices[0].dtype.newbyteorder("="),
            normalised=bool(factors),
        )
        self.activation = parameters.check_activation(activation, len(matrices) - 1)
        for layer, name in enumerate(self.activations, start=1):
            self.layout.layers["activation"][layer] = activations.CODES[name]
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, got {output!r}.")
        self.output = output
        self.classes = parameters.check_classes(classes, self.n_classes)
        self.feature_names = parameters.check_feature_names(feature_names, self.n_features)
        self.params = aligned_zeros(self.layout.n_params, self.dtype)
        arrays = {"weights": matrices, "biases": vectors, "gains": factors}
        self.fill(self.params, {f"{part}.{layer}": a for part in arrays for layer, a in enumerate(arrays[part])})
        self._scoring = Scoring(self.layout, output)

    @classmethod
    def create(
        cls,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "tanh",
        seed: int = 0,
        dtype: Any = "float32",
        classes: Any = None,
        feature_names: Sequence[str] | None = None,
        output: str = "softmax",
        layer_norm: bool = False,
    ) -> Network:
        """A network with random weights: Glorot uniform, as in scikit-learn, drawn with ``Generator(PCG64(seed))``.

        Parameters
        ----------
        sizes : sequence of int
            The number of inputs, of each hidden layer's units, and of outputs: ``[784, 128, 10]``.
        activation, classes, feature_names, output
            As for `Network` itself.
        seed : int
            The seed of the random weights and biases.
        dtype : {"float32", "float64"}
            The dtype of all parameters.
        layer_norm : bool
            Whether each hidden layer is normalised before its activation. The gains begin as 1.

        Returns
        -------
        Network

        References
        ----------
        X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
        J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016.
        """
        weights, biases, gains = parameters.initial(sizes, activation, seed, dtype, layer_norm)
        return cls(weights, biases, activation, classes, feature_names, output, gains)

    @property
    def n_members(self) -> int:
        """1: an `Ensemble` has several."""
        return 1

    @property
    def weights(self) -> list[Array]:
        """Copies of the weights, of shape (n_in, n_out), one for each layer."""
        return self._copies("weights")

    @property
    def biases(self) -> list[Array]:
        """Copies of the biases, of shape (n_out,), one for each layer."""
        return self._copies("biases")

    @property
    def gains(self) -> list[Array]:
        """Copies of the gains, of shape (n_out,), one for each hidden layer; none if layers aren't normalised."""
        return self._copies("gains")

    def _copies(self, part: str) -> list[Array]:
        return [array for name, array in self.named(self.params).items() if name.startswith(part)]

    def outputs(self, X: Any, *, n_threads: int | None = None) -> Array:
        """What the last layer gives: probabilities, or the values of a regression; see `Trainable.outputs`."""
        if type(X) is not np.ndarray:
            check_names(X, self.feature_names)
        return self._scoring.outputs(self.params, X, n_threads)

    def named(self, vector: Array) -> dict[str, Array]:
        """Copies of the arrays, by name, in a vector that is laid out as `params` is; see `Trainable.named`."""
        return parameters.named(self.layout, vector)

    def fill(self, vector: Array, parts: Mapping[str, Array]) -> None:
        """Write arrays into a vector that is laid out as `params` is; see `Trainable.fill`."""
        parameters.fill(self.layout, vector, parts)

    def description(self) -> dict[str, Any]:
        """What the model file says about the network, as JSON-able data."""
        return describe(self)

    @classmethod
    def from_parts(cls, tensors: dict[str, Array], description: dict[str, Any]) -> Self:
        """The network of a model file; see `Trainable.from_parts`."""
        return built(cls, tensors, description)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_scoring"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Unpickled and deep-copied arrays begin anywhere; the kernels are fastest on whole cache lines.
        params = aligned_zeros(self.layout.n_params, self.dtype)
        params[:] = self.params
        self.params = params
        # Now, not when it is first asked for: `functools.cached_property` has a lock in Python 3.11, one for all
        # instances, and a child that was forked while another thread held the lock waited for ever.
        self._scoring = Scoring(self.layout, self.output)

    def __repr__(self) -> str:
        sizes = "-".join(str(n) for n in self.sizes)
        further = "" if self.output == "softmax" else f", output={self.output!r}"
        further += ", layer_norm=True" if self.layout.normalised else ""
        return f"Network({sizes}, activation={self.activation!r}, dtype={self.dtype.name!r}{further})"
