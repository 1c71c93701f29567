"""The parameters of a network: the flat vector that holds them, their initial values, and what they must be like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import check_boolean, is_whole
from fastnn.kernels.arrays import FLOATS
from fastnn.kernels.equations import activation as activations
from fastnn.kernels.layout import Layout, pack, unpack
from fastnn.network.given import exact_labels

Array = NDArray[Any]


def named(layout: Layout, vector: Array) -> dict[str, Array]:
    """Copies of the arrays in a vector that `layout` describes, by name; see `Trainable.named`."""
    parts = {}
    for layer, (n_in, n_out) in enumerate(pairwise(layout.sizes)):
        parts[f"weights.{layer}"] = unpack(layout.weights(vector, layer + 1), n_in, n_out)
        parts[f"biases.{layer}"] = layout.biases(vector, layer + 1).copy()
    for layer in _normalised(layout):
        parts[f"gains.{layer}"] = layout.gains(vector, layer + 1).copy()
    return parts


def fill(layout: Layout, vector: Array, parts: Mapping[str, Array]) -> None:
    """Write arrays with the names of `named` into a vector that `layout` describes.

    Raises
    ------
    KeyError, ValueError
        If an array is missing, or of another shape.
    """
    for layer, shape in enumerate(pairwise(layout.sizes)):
        W, b = parts[f"weights.{layer}"], parts[f"biases.{layer}"]
        if W.shape != shape or b.shape != shape[1:]:
            raise ValueError(f"layer {layer} has shapes {W.shape} and {b.shape}, not {shape} and {shape[1:]}")
        pack(W, layout.weights(vector, layer + 1))
        layout.biases(vector, layer + 1)[:] = b
    for layer in _normalised(layout):
        gain = parts[f"gains.{layer}"]
        if gain.shape != (layout.sizes[layer + 1],):
            raise ValueError(f"gains of layer {layer} have shape {gain.shape}, not {(layout.sizes[layer + 1],)}")
        layout.gains(vector, layer + 1)[:] = gain


def _normalised(layout: Layout) -> range:
    """The hidden layers that have gains, counted from 0."""
    return range(len(layout.sizes) - 2 if layout.normalised else 0)


def initial(
    sizes: Sequence[int], activation: str | Sequence[str], seed: int, dtype: Any, layer_norm: bool
) -> tuple[list[Array], list[Array], list[Array] | None]:
    """The weights, biases and gains of a new network; see `Network.create`."""
    if len(sizes) < 2 or not all(is_whole(n, least=1) for n in sizes):
        raise ValueError(f"sizes must be at least two whole numbers of 1 or more, got {list(sizes)}.")
    if np.dtype(dtype) not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {dtype}.")
    check_boolean("layer_norm", layer_norm)
    random = np.random.Generator(np.random.PCG64(seed))
    weights, biases = [], []
    names = _activation_names(activation)
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        name = names[min(layer, len(names) - 1)] if names else ""
        bound = np.sqrt((2.0 if name == "logistic" else 6.0) / (n_in + n_out))
        weights.append(random.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
        biases.append(random.uniform(-bound, bound, n_out).astype(dtype))
    return weights, biases, [np.ones(n, dtype) for n in sizes[1:-1]] if layer_norm else None


def check_parameters(weights: list[Array], biases: list[Array]) -> None:
    """Raise a TypeError or ValueError unless these are the weights and biases of a network's layers, all finite."""
    if not weights or len(weights) != len(biases):
        raise ValueError(f"a network needs as many weights as biases, got {len(weights)} and {len(biases)}.")
    dtype = weights[0].dtype.newbyteorder("=")
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        for name, array in ((f"weights[{layer}]", W), (f"biases[{layer}]", b)):
            if array.dtype.newbyteorder("=") != dtype or dtype not in FLOATS:
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


def check_gains(gains: Sequence[Array], weights: list[Array]) -> list[Array]:
    """The gains as arrays; raises a TypeError or ValueError unless they fit the hidden layers of these weights."""
    vectors = [np.asarray(gain) for gain in gains]
    if len(vectors) != len(weights) - 1:
        raise ValueError(f"a network with {len(weights) - 1} hidden layers needs as many gains, got {len(vectors)}.")
    dtype = weights[0].dtype.newbyteorder("=")
    for layer, (gain, W) in enumerate(zip(vectors, weights, strict=False)):
        if gain.dtype.newbyteorder("=") != dtype:
            raise TypeError(f"gains must be {dtype} as the weights are, gains[{layer}] is {gain.dtype}.")
        if gain.shape != W.shape[1:]:
            raise ValueError(f"gains[{layer}] must have shape {W.shape[1:]}, got {gain.shape}.")
        if not np.isfinite(gain).all():
            raise ValueError(f"gains[{layer}] holds NaN or infinity.")
    return vectors


def _activation_names(activation: str | Sequence[str]) -> list[str]:
    if isinstance(activation, str):
        return [activation]
    try:
        return list(activation)
    except TypeError:
        raise TypeError(f"activation must be a name, or a sequence of names, got {activation!r}.") from None


def check_activation(activation: str | Sequence[str], n_hidden: int) -> str | tuple[str, ...]:
    """The hidden layers' activation, or a tuple with that of each; raises a ValueError if one is unknown."""
    names = _activation_names(activation)
    if not all(isinstance(name, str) and name in activations.CODES for name in names):
        raise ValueError(f"activation must be one of {', '.join(activations.CODES)}, got {activation!r}.")
    if isinstance(activation, str):
        return activation
    if len(names) != n_hidden:
        raise ValueError(f"activation has {len(names)} names, but the network has {n_hidden} hidden layers.")
    return tuple(names)


def check_feature_names(names: Sequence[str] | None, n_features: int) -> list[str] | None:
    """The features' names as a list; raises a ValueError unless there is a string for each feature."""
    if names is None:
        return None
    listed = list(names)
    if len(listed) != n_features or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"feature_names must be {n_features} strings, one for each input.")
    return [str(name) for name in listed]


def check_classes(classes: Any, n_classes: int) -> Array | None:
    """The classes' labels as a read-only array; raises a TypeError or ValueError unless each class has its own."""
    if classes is None:
        return None
    labels = np.array(exact_labels(classes))
    if labels.shape != (n_classes,):
        raise ValueError(f"classes must be {n_classes} labels, one for each output, got shape {labels.shape}.")
    strings = labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels)
    if labels.dtype.kind not in "iubfU" and not strings:
        raise TypeError(f"labels must be integers, floats, booleans or strings, got {labels.dtype}.")
    if np.unique(labels).size != n_classes:
        raise ValueError("classes must differ from one another.")
    labels.flags.writeable = False
    return labels
