"""Trainable: what a network and an ensemble of networks have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnn.files import modelfile
from fastnn.files.modelfile import ModelFileError
from fastnn.kernels.layout import Layout
from fastnn.network.conversion import (
    as_class_indices,
    as_rows,
    as_sparse_rows,
    as_targets,
    as_weights,
    check_names,
    finite_rows,
    is_sparse,
)
from fastnn.network.samples import Checked, Samples

Array = NDArray[Any]

# The outputs of regressions: values, and not probabilities.
VALUES = frozenset({"identity", "exp"})


class Trainable(ABC):
    """A network, or several that are trained at once: a vector of parameters, what they mean, and their outputs.

    Attributes
    ----------
    layout : Layout
        Where the parameters of one network lie.
    activation : str or tuple of str
        The hidden layers' activation, or that of each.
    output : {"softmax", "logistic", "identity", "exp"}
        The last layer's activation.
    classes : ndarray of shape (n_classes,), or None
        The label of each output.
    feature_names : list of str, or None
    params : ndarray
        The flat vector of all parameters, which training changes. Those of several networks follow one another.
    """

    layout: Layout
    activation: str | tuple[str, ...]
    output: str
    classes: Array | None
    feature_names: list[str] | None
    params: Array

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of inputs, of each hidden layer's units, and of outputs."""
        return self.layout.sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        dtype: np.dtype[Any] = self.layout.dtype
        return dtype

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each hidden layer."""
        hidden = len(self.sizes) - 2
        return (self.activation,) * hidden if isinstance(self.activation, str) else self.activation

    @property
    def n_features(self) -> int:
        """The number of inputs."""
        return self.sizes[0]

    @property
    def n_classes(self) -> int:
        """The number of outputs."""
        return self.sizes[-1]

    @property
    @abstractmethod
    def n_members(self) -> int:
        """The number of networks."""

    def predict_proba(self, X: Any, *, n_threads: int | None = None) -> Array:
        """Class probabilities (F1, F2, F3).

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
            Finite real numbers; those of another dtype are converted a block of rows at a time. The time that sparse
            samples take depends on the number of their entries. The columns of a data frame must be named as the
            features are, in the same order, if both have names.
        n_threads : int, optional
            The most threads to use; by default all that the process may.

        Returns
        -------
        p : ndarray of shape (n, n_classes), the network's dtype

        Raises
        ------
        TypeError
            If `X` holds something else than real numbers.
        ValueError
            If the shape of `X` doesn't fit, a value isn't finite in the network's dtype, or this is a regression.
        """
        if self.output in VALUES:
            raise ValueError("a regression has no probabilities: call predict.")
        return self.outputs(X, n_threads=n_threads)

    @abstractmethod
    def outputs(self, X: Any, *, n_threads: int | None = None) -> Array:
        """What the last layer gives: probabilities, or the values of a regression; an ensemble's are its members' mean.

        Parameters
        ----------
        X, n_threads
            As for `predict_proba`, which raises the same errors.

        Returns
        -------
        out : ndarray of shape (n, n_outputs), the network's dtype
        """

    def predict(self, X: Any, *, n_threads: int | None = None) -> Array:
        """The most probable class of each row: its label, or its index if the network has no labels.

        If the outputs are logistic, the result says which labels are more probable than not. The result of a regression
        is its values. The parameters and errors are those of `predict_proba`.

        Returns
        -------
        labels : ndarray of shape (n,)
            Where the output isn't softmax: ndarray of shape (n, n_outputs), of 0 and 1 or of the network's dtype.
        """
        if self.output in VALUES:
            return self.outputs(X, n_threads=n_threads)
        if self.output == "logistic":
            chosen: Array = (self.outputs(X, n_threads=n_threads) > 0.5).astype(np.int64)
            return chosen
        indices = self.outputs(X, n_threads=n_threads).argmax(axis=1)
        labels: Array = indices if self.classes is None else self.classes[indices]
        return labels

    def checked(self, samples: Samples | Checked) -> Checked:
        """Samples as the kernels read them. Samples that are `Checked` already are returned as they are.

        Raises
        ------
        TypeError, ValueError
            If the samples don't fit the network; the message says what to do.
        """
        if isinstance(samples, Checked):
            return samples
        check_names(samples.X, self.feature_names)
        if is_sparse(samples.X):
            n_rows: int = samples.X.shape[0]
            X: Any = as_sparse_rows(samples.X, self.n_features, self.dtype)
        else:
            X = finite_rows(as_rows(samples.X, self.n_features), self.dtype)
            n_rows = X.shape[0]
        if n_rows == 0:
            raise ValueError("X has no rows: training needs at least one sample.")
        if self.output == "softmax":
            y: Array = as_class_indices(samples.y, n_rows, self.n_classes, self.classes)
        else:
            y = as_targets(samples.y, (n_rows, self.n_classes), self.dtype, self.output)
        return Checked(X, y, as_weights(samples.sample_weight, n_rows, self.dtype))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file (safetensors). The file appears whole or not at all."""
        modelfile.save(path, self.tensors(), self.description())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file.

        Raises
        ------
        ModelFileError
            If the file is damaged, or something else than a model file of this class.
        """
        try:
            return cls.from_parts(*modelfile.load(path))
        except ModelFileError as error:
            message = str(error)
            raise ModelFileError(message if message.startswith(str(path)) else f"{path}: {message}") from None

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write an ONNX file. The file appears whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The graph takes ``X``, of shape (n, n_features) and the network's dtype. It gives ``probabilities`` and
            ``label``: those of `predict_proba` and `predict`; of a regression ``values``.

        Raises
        ------
        ModuleNotFoundError
            If the package onnx isn't installed; the message names the install command.
        """
        from fastnn.files.onnxfile import write

        write(path, self.tensors(), self.n_members, self.activations, self.output, self.classes)

    def tensors(self) -> dict[str, Array]:
        """The arrays of the model file: those of `params`, by name."""
        return self.named(self.params)

    @abstractmethod
    def named(self, vector: Array) -> dict[str, Array]:
        """Copies of the arrays, by name, in a vector that is laid out as `params` is.

        A network's are ``weights.0``, ``biases.0``, ``weights.1``, ..., and at last ``gains.0``, ... if its layers are
        normalised; in an ensemble ``members.0.`` stands before the names of the first network, and so on.
        """

    @abstractmethod
    def fill(self, vector: Array, parts: Mapping[str, Array]) -> None:
        """Write arrays with the names of `named` into a vector that is laid out as `params` is.

        Raises
        ------
        KeyError, ValueError
            If an array is missing, or of another shape.
        """

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What the model file says beside its arrays, as JSON-able data."""

    @classmethod
    @abstractmethod
    def from_parts(cls, tensors: dict[str, Array], description: dict[str, Any]) -> Self:
        """Build from the arrays and the description of a model file: the results of `tensors` and `description`.

        Raises
        ------
        ModelFileError
            If arrays and description don't fit together, or describe something of another class.
        """
