"""Network: a multilayer perceptron's parameters, and the probabilities that follow from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnn.files import modelfile
from fastnn.files.modelfile import ModelFileError
from fastnn.kernels.arrays import FLOATS, borrow, flat, give_back
from fastnn.kernels.equations import activation as activations
from fastnn.kernels.equations.loss import columns_size
from fastnn.kernels.forward.rows import OUTPUTS, Predict, predict
from fastnn.kernels.forward.sparse import SparseRows, predict_sparse
from fastnn.kernels.layout import ACTIVATION, ROW_BLOCK, Layout, aligned_zeros, line_elements, pack, unpack, width
from fastnn.network.samples import (
    Samples,
    as_class_indices,
    as_rows,
    as_sparse_rows,
    as_targets,
    as_weights,
    converted,
    is_sparse,
    plain,
    refuse_strangers,
)
from fastnn.runtime.compiler import late
from fastnn.runtime.launch import Kernel, launch, threads_for

Array = NDArray[Any]

# Rows that are converted at once where X isn't of the network's dtype or not contiguous: X is never copied whole.
_CONVERTED_ROWS = 4096


class Network:
    """A multilayer perceptron: tanh (or other) hidden layers, softmax over the classes.

    Parameters
    ----------
    weights : sequence of ndarray of shape (n_in, n_out)
        One for each layer, all float32 or all float64.
    biases : sequence of ndarray of shape (n_out,)
    activation : str or sequence of str
        The hidden layers' activation, or one for each of them: "tanh", "relu", "logistic", "identity", "leaky_relu"
        (0.01 below zero), "gelu" (by tanh), "silu".
    classes : array_like of shape (n_classes,), optional
        The label of each output: integers, strings, booleans or floats. Without, labels are class indices.
    feature_names : sequence of str, optional
        The name of each input.
    output : {"softmax", "logistic", "identity"}
        The last layer's activation: softmax for one class of several, logistic for labels that a sample may have or
        not, each by itself, identity for a regression.
    gains : sequence of ndarray of shape (n_out,), optional
        One for each hidden layer, which is normalised then before its activation f (layer normalisation): a layer's
        output is ``f(gain * (z - mean(z)) / sqrt(var(z) + 1e-5) + b)``, with ``z = a_prev @ W``, and mean and variance
        over the layer's units, for each sample.

    Raises
    ------
    TypeError
        If the arrays aren't all float32 or all float64.
    ValueError
        If the shapes don't fit together, or something isn't finite or unknown.

    Notes
    -----
    `params` is the flat vector that the kernels read: weights in panels, biases and gains, padded (see
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
        _check_parameters(matrices, vectors)
        factors = [] if gains is None else _check_gains(gains, matrices)
        self.layout = Layout(
            [matrices[0].shape[0], *(W.shape[1] for W in matrices)],
            matrices[0].dtype.newbyteorder("="),
            normalised=bool(factors),
        )
        self.activation = _check_activation(activation, len(matrices) - 1)
        for layer, name in enumerate(self.activations, start=1):
            self.layout.table[layer, ACTIVATION] = activations.CODES[name]
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, got {output!r}.")
        self.output = output
        self.classes = _check_classes(classes, self.n_classes)
        self.feature_names = _check_feature_names(feature_names, self.n_features)
        self.params = aligned_zeros(self.layout.n_params, self.dtype)
        arrays = {"weights": matrices, "biases": vectors, "gains": factors}
        self.fill(self.params, {f"{part}.{layer}": a for part in arrays for layer, a in enumerate(arrays[part])})
        self._prepare_scoring()

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
            Inputs, units of each hidden layer, classes: ``[784, 128, 10]``.
        activation : str or sequence of str
        seed : int
        dtype : {"float32", "float64"}
        classes : array_like of shape (n_classes,), optional
        feature_names : sequence of str, optional
        output : {"softmax", "logistic", "identity"}
        layer_norm : bool
            Normalise each hidden layer before its activation, with gains of 1 to begin with.

        Returns
        -------
        Network

        References
        ----------
        X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
        J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016.
        """
        if len(sizes) < 2 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in sizes):
            raise ValueError(f"sizes must be at least two whole numbers of 1 or more, got {list(sizes)}.")
        if np.dtype(dtype) not in FLOATS:
            raise TypeError(f"dtype must be float32 or float64, got {dtype}.")
        if not isinstance(layer_norm, (bool, np.bool_)):
            raise TypeError(f"layer_norm must be True or False, got {layer_norm!r}.")
        random = np.random.Generator(np.random.PCG64(seed))
        weights, biases = [], []
        names = [activation] if isinstance(activation, str) else list(activation)
        for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
            name = names[min(layer, len(names) - 1)] if names else ""
            bound = np.sqrt((2.0 if name == "logistic" else 6.0) / (n_in + n_out))
            weights.append(random.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
            biases.append(random.uniform(-bound, bound, n_out).astype(dtype))
        gains = [np.ones(n, dtype) for n in sizes[1:-1]] if layer_norm else None
        return cls(weights, biases, activation, classes, feature_names, output, gains)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, units of each hidden layer, classes."""
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
    def n_members(self) -> int:
        """1: see `Ensemble`."""
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

    def predict_proba(self, X: Any, *, n_threads: int | None = None) -> Array:
        """Class probabilities (F1, F2, F3).

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
            Finite real numbers; those of another dtype are converted a block of rows at a time. Sparse samples take
            the time of their numbers that aren't 0.
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
            If its shape doesn't fit, or a value isn't finite in the network's dtype.
        """
        if self.output == "identity":
            raise ValueError("a regression has no probabilities: call predict.")
        return self.outputs(X, n_threads=n_threads)

    def outputs(self, X: Any, *, n_threads: int | None = None) -> Array:
        """What the last layer gives: probabilities, or the values of a regression.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        n_threads : int, optional

        Returns
        -------
        out : ndarray of shape (n, n_outputs), the network's dtype
        """
        # What scores single rows is made for this: a Python call costs as much as a layer.
        if not (type(X) is np.ndarray and X.dtype is self.dtype and X.flags.carray and X.shape[1:] == self._row_shape):
            if is_sparse(X):
                return self._outputs_of_sparse(X, n_threads)
            X = as_rows(X, self.n_features)
        n_rows = X.shape[0]
        p = np.empty((n_rows, self.n_classes), self.dtype)
        if X.dtype == self.dtype and X.flags.c_contiguous and X.flags.aligned:
            if n_rows:
                self._score(X, X, p, n_threads)
        else:
            for first in range(0, n_rows, _CONVERTED_ROWS):
                rows = slice(first, first + _CONVERTED_ROWS)
                self._score(X[rows], converted(X[rows], self.dtype), p[rows], n_threads)
        return p

    def _outputs_of_sparse(self, X: Any, n_threads: int | None) -> Array:
        rows = as_sparse_rows(X, self.n_features, self.dtype)
        p = np.empty((X.shape[0], self.n_classes), self.dtype)
        if p.size:
            # Of the first layer's weights a row reads those of its entries.
            above = self.params.size - self.layout.weights(self.params, 1).size
            operations = rows.values.size * width(self.sizes[1], self.dtype) + p.shape[0] * above
            self._launch(rows.values, SparseRows(rows, np.empty(0, np.int64), 0), p, 2.0 * operations, n_threads)
        return p

    def _score(self, given: Array, X: Array, p: Array, n_threads: int | None) -> None:
        """Fill `p` for plain rows `X`, the converted ones of `given`."""
        self._launch(given, flat(X), p, 2.0 * X.shape[0] * self.params.size, n_threads)

    def _launch(self, given: Array, X: Any, p: Array, operations: float, n_threads: int | None) -> None:
        """Fill `p` for rows as a kernel takes them."""
        threads = threads_for(operations, n_threads=n_threads)
        table, part_size = self._scoring
        memory = borrow(threads * part_size, self.dtype)
        args = Predict(self.params, table, X, p.reshape(-1), memory, part_size, p.shape[0], OUTPUTS[self.output])
        plain_kernel, sparse_kernel = _normalised_kernels() if self.layout.normalised else (predict, predict_sparse)
        kernel = plain_kernel if type(X) is np.ndarray else sparse_kernel
        parts = launch(kernel, args, threads, self.dtype)
        strange = memory[part_size - 1 : parts * part_size : part_size].any() if parts > 1 else memory[part_size - 1]
        give_back(memory)
        if strange:
            refuse_strangers(given, self.dtype)

    def predict(self, X: Any, *, n_threads: int | None = None) -> Array:
        """The most probable class of each row: its label, or its index if the network has no labels.

        Of a network with logistic outputs, which labels are more probable than not; of a regression, its values.

        Parameters
        ----------
        X : array_like of shape (n, n_features)
        n_threads : int, optional

        Returns
        -------
        labels : ndarray of shape (n,)
            Of shape (n, n_outputs) where the output isn't softmax: 0 or 1, or values of the network's dtype.
        """
        if self.output == "identity":
            return self.outputs(X, n_threads=n_threads)
        if self.output == "logistic":
            chosen: Array = (self.outputs(X, n_threads=n_threads) > 0.5).astype(np.int64)
            return chosen
        indices = self.predict_proba(X, n_threads=n_threads).argmax(axis=1)
        labels: Array = indices if self.classes is None else self.classes[indices]
        return labels

    def checked(self, samples: Samples) -> Samples:
        """Samples as the kernels take them: plain rows or a `Csr`, class indices, weights (there may be none).

        Raises
        ------
        TypeError, ValueError
            If they don't fit the network; the message says what to do.
        """
        if is_sparse(samples.X):
            n_rows: int = samples.X.shape[0]
            X: Any = as_sparse_rows(samples.X, self.n_features, self.dtype)
        else:
            X = plain(as_rows(samples.X, self.n_features), self.dtype)
            n_rows = X.shape[0]
        if n_rows == 0:
            raise ValueError("X has no rows: training needs at least one sample.")
        if self.output == "softmax":
            y = as_class_indices(samples.y, n_rows, self.n_classes, self.classes)
        else:
            y = as_targets(samples.y, (n_rows, self.n_classes), self.dtype, self.output == "logistic")
        return Samples(X, y, as_weights(samples.sample_weight, n_rows, self.dtype))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file (safetensors): whole or not at all."""
        modelfile.save(path, self.tensors(), self.description())

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write an ONNX file, whole or not at all.

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

        write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file.

        Raises
        ------
        ModelFileError
            If it isn't a whole and unharmed model file of a network.
        """
        try:
            return cls.from_parts(*modelfile.load(path))
        except ModelFileError as error:
            message = str(error)
            raise ModelFileError(message if message.startswith(str(path)) else f"{path}: {message}") from None

    def tensors(self) -> dict[str, Array]:
        """The arrays of the model file: ``weights.0``, ``biases.0``, ``weights.1``, ...; at last ``gains.0``, ..."""
        return self.named(self.params)

    def named(self, vector: Array) -> dict[str, Array]:
        """The arrays of a vector that lies as `params` does, copied, with the names that `tensors` gives them."""
        parts = {}
        for layer, (n_in, n_out) in enumerate(pairwise(self.sizes)):
            parts[f"weights.{layer}"] = unpack(self.layout.weights(vector, layer + 1), n_in, n_out)
            parts[f"biases.{layer}"] = self.layout.biases(vector, layer + 1).copy()
        for layer in range(self._n_gains):
            parts[f"gains.{layer}"] = self.layout.gains(vector, layer + 1).copy()
        return parts

    @property
    def _n_gains(self) -> int:
        return len(self.sizes) - 2 if self.layout.normalised else 0

    def fill(self, vector: Array, parts: Mapping[str, Array]) -> None:
        """Write arrays with the names of `named` into a vector that lies as `params` does.

        Raises
        ------
        KeyError, ValueError
            If one is missing, or of another shape.
        """
        for layer, shape in enumerate(pairwise(self.sizes)):
            W, b = parts[f"weights.{layer}"], parts[f"biases.{layer}"]
            if W.shape != shape or b.shape != shape[1:]:
                raise ValueError(f"layer {layer} has shapes {W.shape} and {b.shape}, not {shape} and {shape[1:]}")
            pack(W, self.layout.weights(vector, layer + 1))
            self.layout.biases(vector, layer + 1)[:] = b
        for layer in range(self._n_gains):
            gain = parts[f"gains.{layer}"]
            if gain.shape != (self.sizes[layer + 1],):
                raise ValueError(f"gains of layer {layer} have shape {gain.shape}, not {(self.sizes[layer + 1],)}")
            self.layout.gains(vector, layer + 1)[:] = gain

    def description(self) -> dict[str, Any]:
        """What the model file says about the network, as JSON-able data."""
        return {
            "kind": "network",
            "sizes": list(self.sizes),
            "activation": self.activation if isinstance(self.activation, str) else list(self.activation),
            **({"layer_norm": True} if self.layout.normalised else {}),
            "output": self.output,
            "dtype": self.dtype.name,
            "classes": None if self.classes is None else _describe_classes(self.classes),
            "feature_names": self.feature_names,
        }

    @classmethod
    def from_parts(cls, tensors: dict[str, Array], description: dict[str, Any]) -> Self:
        """The network that `tensors` and `description` (of the methods of these names) describe.

        Raises
        ------
        ModelFileError
            If they don't fit together.
        """
        kind = description.get("kind")
        if kind == "pipeline":
            raise ModelFileError(
                "this model carries its preprocessing: load it with fastnn.pipeline.Model.load, "
                "or score with `fastnn predict`."
            )
        if kind == "ensemble":
            raise ModelFileError("this is the model of an ensemble: load it with fastnn.Ensemble.load.")
        if kind == "checkpoint":
            raise ModelFileError("this is a checkpoint of a training, not a model: name it to `train` or `fit` again.")
        if kind != "network":
            raise ModelFileError(f"the file describes {kind!r}, not a network.")
        try:
            n_layers = len(description["sizes"]) - 1
            normalised = description.get("layer_norm", False)
            if not isinstance(normalised, bool):
                raise ModelFileError(f"the file's layer_norm must be true or false, not {normalised!r}.")
            n_gains = n_layers - 1 if normalised else 0
            names = [f"{part}.{layer}" for layer in range(n_layers) for part in ("weights", "biases")]
            names += [f"gains.{layer}" for layer in range(n_gains)]
            if sorted(names) != sorted(tensors):
                raise ModelFileError(f"the file holds the arrays {sorted(tensors)}, not {sorted(names)}.")
            network = cls(
                [tensors[f"weights.{layer}"] for layer in range(n_layers)],
                [tensors[f"biases.{layer}"] for layer in range(n_layers)],
                description["activation"],
                _read_classes(description["classes"]),
                description["feature_names"],
                description.get("output", "softmax"),
                [tensors[f"gains.{layer}"] for layer in range(n_gains)] or None,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"the file's description doesn't make a network: {error}") from error
        if list(network.sizes) != description["sizes"] or network.dtype.name != description.get("dtype"):
            raise ModelFileError("the file's arrays are of another size or dtype than its description says.")
        return network

    def _prepare_scoring(self) -> None:
        # Now, not when it is first asked for: `functools.cached_property` has a lock in Python 3.11, one for all
        # instances, and a child that was forked while another thread held it waited for ever.
        table, size = self.layout.workspace(ROW_BLOCK, training=False)
        # The table of one block of rows, and the numbers of memory that each part needs (see `Predict`).
        self._scoring = table, size + columns_size(self.n_classes) + line_elements(self.dtype)
        self._row_shape = (self.n_features,)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Unpickled and deep-copied arrays begin anywhere; the kernels are fastest on whole lines.
        params = aligned_zeros(self.layout.n_params, self.dtype)
        params[:] = self.params
        self.params = params
        self._prepare_scoring()

    def __repr__(self) -> str:
        sizes = "-".join(str(n) for n in self.sizes)
        further = "" if self.output == "softmax" else f", output={self.output!r}"
        further += ", layer_norm=True" if self.layout.normalised else ""
        return f"Network({sizes}, activation={self.activation!r}, dtype={self.dtype.name!r}{further})"


@late
def _normalised_kernels() -> tuple[Kernel, Kernel]:
    from fastnn.kernels.epoch.normalised import predict_normalised, predict_sparse_normalised

    return predict_normalised, predict_sparse_normalised


def _check_parameters(weights: list[Array], biases: list[Array]) -> None:
    if not weights or len(weights) != len(biases):
        raise ValueError(f"a network needs as many weights as biases, got {len(weights)} and {len(biases)}.")
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        for name, array in ((f"weights[{layer}]", W), (f"biases[{layer}]", b)):
            if array.dtype.newbyteorder("=") not in FLOATS or array.dtype.newbyteorder("=") != weights[
                0
            ].dtype.newbyteorder("="):
                raise TypeError(f"weights and biases must all be float32 or all float64, {name} is {array.dtype}.")
        if W.ndim != 2 or 0 in W.shape:
            raise ValueError(f"weights[{layer}] must have shape (n_in, n_out), both at least 1, got {W.shape}.")
        if layer and W.shape[0] != weights[layer - 1].shape[1]:
            raise ValueError(
                f"weights[{layer}] has {W.shape[0]} rows, but the layer before has {weights[layer - 1].shape[1]} units."
            )
        if b.shape != W.shape[1:]:
            raise ValueError(f"biases[{layer}] must have shape {W.shape[1:]}, got {b.shape}.")
        if not (np.isfinite(W).all() and np.isfinite(b).all()):
            raise ValueError(f"weights[{layer}] or biases[{layer}] holds NaN or infinity.")


def _check_gains(gains: Sequence[Array], weights: list[Array]) -> list[Array]:
    vectors = [np.asarray(gain) for gain in gains]
    if len(vectors) != len(weights) - 1:
        raise ValueError(f"gains are of hidden layers, of which there are {len(weights) - 1}, got {len(vectors)}.")
    dtype = weights[0].dtype.newbyteorder("=")
    for layer, (gain, W) in enumerate(zip(vectors, weights, strict=False)):
        if gain.dtype.newbyteorder("=") != dtype:
            raise TypeError(f"gains must be {dtype} as the weights are, gains[{layer}] is {gain.dtype}.")
        if gain.shape != W.shape[1:]:
            raise ValueError(f"gains[{layer}] must have shape {W.shape[1:]}, got {gain.shape}.")
        if not np.isfinite(gain).all():
            raise ValueError(f"gains[{layer}] holds NaN or infinity.")
    return vectors


def _check_activation(activation: str | Sequence[str], n_hidden: int) -> str | tuple[str, ...]:
    names = [activation] if isinstance(activation, str) else list(activation)
    if not all(isinstance(name, str) and name in activations.CODES for name in names):
        raise ValueError(f"activation must be one of {', '.join(activations.CODES)}, got {activation!r}.")
    if isinstance(activation, str):
        return activation
    if len(names) != n_hidden:
        raise ValueError(f"activation has {len(names)} names, but the network has {n_hidden} hidden layers.")
    return tuple(names)


def _check_feature_names(names: Sequence[str] | None, n_features: int) -> list[str] | None:
    if names is None:
        return None
    listed = list(names)
    if len(listed) != n_features or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"feature_names must be {n_features} strings, one for each input.")
    return [str(name) for name in listed]


def _check_classes(classes: Any, n_classes: int) -> Array | None:
    if classes is None:
        return None
    labels = np.array(classes)
    if labels.shape != (n_classes,):
        raise ValueError(f"classes must be {n_classes} labels, one for each output, got shape {labels.shape}.")
    strings = labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels)
    if labels.dtype.kind not in "iubfU" and not strings:
        raise TypeError(f"labels must be integers, floats, booleans or strings, got {labels.dtype}.")
    if np.unique(labels).size != n_classes:
        raise ValueError("classes must differ from one another.")
    labels.flags.writeable = False
    return labels


def _describe_classes(classes: Array) -> dict[str, Any]:
    kind = "str" if classes.dtype.kind == "U" else classes.dtype.name
    return {"dtype": kind, "labels": classes.tolist()}


def _read_classes(described: dict[str, Any] | None) -> Array | None:
    if described is None:
        return None
    kind, labels = described["dtype"], described["labels"]
    if kind not in ("str", "object") and np.dtype(kind).kind not in "iubf":
        raise ModelFileError(f"the file's labels are of unknown dtype {kind!r}.")
    return np.array(labels, dtype=kind)
