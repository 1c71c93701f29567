"""What the model file of a network says beside its arrays, and a network made from both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn.files.kinds import NETWORK, check_kind
from fastnn.files.modelfile import ModelFileError
from fastnn.network.trainable import Trainable

Array = NDArray[Any]
Net = TypeVar("Net", bound=Trainable)


def describe(net: Trainable) -> dict[str, Any]:
    """What the model file says about a network, as JSON-able data."""
    return {
        "kind": NETWORK,
        "sizes": list(net.sizes),
        "activation": net.activation if isinstance(net.activation, str) else list(net.activation),
        **({"layer_norm": True} if net.layout.normalised else {}),
        "output": net.output,
        "dtype": net.dtype.name,
        "classes": None if net.classes is None else _describe_classes(net.classes),
        "feature_names": net.feature_names,
    }


def built(build: Callable[..., Net], tensors: Mapping[str, Array], described: Mapping[str, Any]) -> Net:
    """The network that `tensors` and `described` make; `build` is the class `Network`.

    Raises
    ------
    ModelFileError
        If they don't fit together, or describe something else than a network.
    """
    check_kind(described, NETWORK)
    try:
        network = build(**_arguments(tensors, described))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"the file's description doesn't make a network: {error}") from error
    if list(network.sizes) != described["sizes"] or network.dtype.name != described.get("dtype"):
        raise ModelFileError("the file's arrays are of another size or dtype than its description says.")
    return network


def _arguments(tensors: Mapping[str, Array], described: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Network`; raises one of the errors that `built` catches if a part is missing or forged."""
    normalised = described.get("layer_norm", False)
    if not isinstance(normalised, bool):
        raise ModelFileError(f"the file's layer_norm must be true or false, not {normalised!r}.")
    names = names_of(len(described["sizes"]) - 1, normalised)
    expected = [name for part in names.values() for name in part]
    if sorted(expected) != sorted(tensors):
        raise ModelFileError(f"the file holds the arrays {sorted(tensors)}, not {sorted(expected)}.")
    parts = {part: [tensors[name] for name in each] for part, each in names.items()}
    return {
        **parts,
        "gains": parts["gains"] or None,
        "activation": described["activation"],
        "classes": _read_classes(described["classes"]),
        "feature_names": described["feature_names"],
        "output": described.get("output", "softmax"),
    }


def names_of(n_layers: int, normalised: bool) -> dict[str, list[str]]:
    """The names of a network's arrays in its model file, by the argument of `Network` that they belong to."""
    counts = {"weights": n_layers, "biases": n_layers, "gains": n_layers - 1 if normalised else 0}
    return {part: [f"{part}.{layer}" for layer in range(count)] for part, count in counts.items()}


def _describe_classes(classes: Array) -> dict[str, Any]:
    kind = "str" if classes.dtype.kind == "U" else classes.dtype.name
    return {"dtype": kind, "labels": classes.tolist()}


def _read_classes(described: Mapping[str, Any] | None) -> Array | None:
    if described is None:
        return None
    kind, labels = described["dtype"], described["labels"]
    if kind not in ("str", "object") and np.dtype(kind).kind not in "iubf":
        raise ModelFileError(f"the file's labels are of unknown dtype {kind!r}.")
    return np.array(labels, dtype=kind)
