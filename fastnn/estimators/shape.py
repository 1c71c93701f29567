"""The parameters that shape the network: those that a training which goes on can't change."""

from __future__ import annotations

import operator
from typing import Any

from fastnn.network.trainable import Trainable

# The network's output for each loss of a regression.
OUTPUT_OF_LOSS = {"squared_error": "identity", "poisson": "exp"}


def hidden_sizes(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """The number of units in each hidden layer; `hidden_layer_sizes` is a whole number, or an array of them.

    Raises a TypeError if it is something else, and a ValueError if a layer has no units.
    """
    try:
        sizes = tuple(map(operator.index, hidden_layer_sizes))
    except TypeError:
        try:
            sizes = (operator.index(hidden_layer_sizes),)
        except TypeError:
            raise TypeError(
                f"hidden_layer_sizes must be a whole number or a sequence of them, got {hidden_layer_sizes!r}."
            ) from None
    if any(n <= 0 for n in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {list(sizes)}.")
    return sizes


def check_shape(estimator: Any, net: Trainable, way_out: str) -> None:
    """Raise a ValueError if the parameters of `estimator` ask for a network of another shape than that of `net`.

    `way_out` says how to begin a new network.
    """
    hidden = hidden_sizes(estimator.hidden_layer_sizes)
    names = estimator.activation
    wanted = {
        "hidden_layer_sizes": hidden,
        "activation": (names,) * len(hidden) if isinstance(names, str) else tuple(names),
        "layer_norm": bool(estimator.layer_norm) and len(hidden) > 0,
        "n_ensemble": estimator.n_ensemble,
        "dtype": estimator.dtype,
    }
    found = {
        "hidden_layer_sizes": net.sizes[1:-1],
        "activation": net.activations,
        "layer_norm": net.layout.normalised,
        "n_ensemble": net.n_members,
        "dtype": net.dtype.name,
    }
    if hasattr(estimator, "loss"):
        wanted["loss"] = estimator.loss
        found["loss"] = next(loss for loss, output in OUTPUT_OF_LOSS.items() if output == net.output)
    for name, value in found.items():
        if wanted[name] != value:
            earlier = net.activation if name == "activation" else value
            raise ValueError(
                f"{name} is {getattr(estimator, name)!r}, but the network that is to be trained further has {name}="
                f"{earlier!r}: set {name} back to that, or {way_out}."
            )
