"""Ensemble: networks of one kind that are trained at once, and the mean of what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.files.modelfile import ModelFileError
from fastnn.kernels.layout import aligned_zeros
from fastnn.network.network import Network
from fastnn.network.samples import SumsOverflowError

Array = NDArray[Any]


class Ensemble(Network):
    """Networks that differ in their weights only; it gives the mean of their probabilities, or values.

    `fastnn.train` trains all of them at once, each as it would be trained alone: the first with the seed that is given,
    the second with the next one, and so on.

    Parameters
    ----------
    members : sequence of Network
        All of the same sizes, dtype, activation, output, classes and feature names. They are copied.

    Attributes
    ----------
    members : list of Network
        Theirs are views of the ensemble's parameters: what changes one changes the other.

    Raises
    ------
    TypeError
        If one is no network.
    ValueError
        If there is none, or two differ in more than their weights.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one network.")
        for network in members:
            first = members[0]
            if not isinstance(network, Network):
                raise TypeError(f"the members must be networks, got {type(network).__name__}.")
            if isinstance(network, Ensemble) or network.description() != first.description():
                raise ValueError(f"the members must differ in their weights only: {network} isn't like {first}.")
        self.members = [
            Network(
                net.weights,
                net.biases,
                net.activation,
                net.classes,
                net.feature_names,
                net.output,
                net.gains or None,
            )
            for net in members
        ]
        # All that is the same in all, and the parameters: a network's are whole lines.
        vars(self).update(vars(self.members[0]))
        self.params = aligned_zeros(len(members) * self.layout.n_params, self.dtype)
        for network, place in zip(self.members, self._places(self.params), strict=True):
            place[:] = network.params
            network.params = place

    @classmethod
    def create(  # type: ignore[override]
        cls,
        n_members: int,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "tanh",
        seed: int = 0,
        **options: Any,
    ) -> Ensemble:
        """An ensemble of new networks: see `Network.create`, whose options are these.

        Parameters
        ----------
        n_members : int
        sizes : sequence of int
        activation : str or sequence of str
        seed : int
            Of the first member's weights; each other has the seed after that.
        **options
            dtype, classes, feature_names, output, layer_norm.

        Returns
        -------
        Ensemble
        """
        if isinstance(n_members, bool) or not isinstance(n_members, (int, np.integer)) or n_members < 1:
            raise ValueError(f"n_members must be a whole number of at least 1, got {n_members!r}.")
        return cls([Network.create(sizes, activation, seed + member, **options) for member in range(n_members)])

    @property
    def n_members(self) -> int:
        """The number of networks."""
        return len(self.members)

    @property
    def weights(self) -> list[Array]:
        """An ensemble has none of its own: see its members'."""
        raise AttributeError("an ensemble has no weights of its own: see those of its members.")

    @property
    def biases(self) -> list[Array]:
        """An ensemble has none of its own: see its members'."""
        raise AttributeError("an ensemble has no biases of its own: see those of its members.")

    @property
    def gains(self) -> list[Array]:
        """An ensemble has none of its own: see its members'."""
        raise AttributeError("an ensemble has no gains of its own: see those of its members.")

    def outputs(self, X: Any, *, n_threads: int | None = None) -> Array:
        """The mean of the members' outputs.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, n_features)
        n_threads : int, optional

        Returns
        -------
        out : ndarray of shape (n, n_outputs), the network's dtype
        """
        total = self.members[0].outputs(X, n_threads=n_threads)
        with np.errstate(over="ignore"):
            for network in self.members[1:]:
                total += network.outputs(X, n_threads=n_threads)
        if self.output == "identity" and not np.isfinite(total).all():
            raise SumsOverflowError(f"the sum of the members' values overflows {self.dtype}: scale y, or use float64.")
        total /= self.dtype.type(self.n_members)
        return total

    def named(self, vector: Array) -> dict[str, Array]:
        """The arrays of a vector that lies as `params` does, copied: ``members.0.weights.0``, ..."""
        places = self._places(vector)
        return {
            f"members.{member}.{name}": array
            for member, network in enumerate(self.members)
            for name, array in network.named(places[member]).items()
        }

    def fill(self, vector: Array, parts: Mapping[str, Array]) -> None:
        """Write arrays with the names of `named` into a vector that lies as `params` does; raises as `Network.fill`."""
        for member, (network, place) in enumerate(zip(self.members, self._places(vector), strict=True)):
            network.fill(place, _of_member(parts, member))

    def description(self) -> dict[str, Any]:
        """What the model file says about the ensemble, as JSON-able data."""
        return {**super().description(), "kind": "ensemble", "n_members": self.n_members}

    @classmethod
    def from_parts(cls, tensors: dict[str, Array], description: dict[str, Any]) -> Ensemble:
        """The ensemble that `tensors` and `description` (of the methods of these names) describe.

        Raises
        ------
        ModelFileError
            If they don't fit together.
        """
        if description.get("kind") != "ensemble":
            Network.from_parts(tensors, description)  # has the words for all else
            raise ModelFileError("this is the model of one network: load it with fastnn.Network.load.")
        n_members, sizes = description.get("n_members"), description.get("sizes")
        n_layers = len(sizes) - 1 if isinstance(sizes, list) else 0
        n_arrays = 2 * n_layers + (n_layers - 1 if description.get("layer_norm") is True else 0)
        if type(n_members) is not int or n_members < 1 or len(tensors) != n_members * n_arrays or not tensors:
            raise ModelFileError(f"the file's arrays aren't those of {n_members} networks.")
        alone = {**description, "kind": "network"}
        return cls([Network.from_parts(_of_member(tensors, member), alone) for member in range(n_members)])

    def _places(self, vector: Array) -> list[Array]:
        """The members' parts of a vector that lies as `params` does."""
        bounds = range(0, vector.size + 1, self.layout.n_params)
        return [vector[start:stop] for start, stop in pairwise(bounds)]

    def __reduce__(self) -> Any:
        # The members' parameters are views, which a copy of the dictionary would tear from the ensemble's.
        return Ensemble, (self.members,)

    def __repr__(self) -> str:
        return f"Ensemble({self.n_members} of {self.members[0]})"


def _of_member(parts: Mapping[str, Array], member: int) -> dict[str, Array]:
    prefix = f"members.{member}."
    return {name.removeprefix(prefix): array for name, array in parts.items() if name.startswith(prefix)}
