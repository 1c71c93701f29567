"""Ensemble: networks of the same kind that are trained at once, and the mean of their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import is_whole
from fastnn.files.kinds import ENSEMBLE, NETWORK, check_kind
from fastnn.files.modelfile import ModelFileError, with_prefix
from fastnn.kernels.layout import aligned_zeros
from fastnn.network.conversion import SumsOverflowError
from fastnn.network.description import names_of
from fastnn.network.network import Network
from fastnn.network.trainable import VALUES, Trainable

Array = NDArray[Any]


class Ensemble(Trainable):
    """Networks that differ in their weights only; the ensemble's outputs are the mean of theirs.

    `fastnn.train` trains all of them at once, each as it would be trained alone: the first with the seed that is given,
    the second with the next one, and so on.

    Parameters
    ----------
    members : sequence of Network
        All of the same sizes, dtype, activation, output, classes and feature names. They are copied.

    Attributes
    ----------
    members : list of Network
        Their parameters are views of the ensemble's: a change of one is a change of the other.

    Raises
    ------
    TypeError
        If a member isn't a network.
    ValueError
        If there are no members, or two differ in more than their weights.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one network.")
        first = members[0]
        for net in members:
            if not isinstance(net, Network):
                raise TypeError(f"the members must be networks, got {type(net).__name__}.")
            if isinstance(net, Ensemble) or net.description() != first.description():
                raise ValueError(f"the members must differ in their weights only: {net} isn't like {first}.")
        self.members = [_copy(net) for net in members]
        like = self.members[0]
        self.layout, self.activation, self.output = like.layout, like.activation, like.output
        self.classes, self.feature_names = like.classes, like.feature_names
        # Each network's parameters are whole cache lines, so that the next one's begin on a line.
        self.params = aligned_zeros(len(members) * self.layout.n_params, self.dtype)
        for net, place in zip(self.members, self._places(self.params), strict=True):
            place[:] = net.params
            net.params = place

    @classmethod
    def create(
        cls,
        n_members: int,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "tanh",
        seed: int = 0,
        **options: Any,
    ) -> Ensemble:
        """An ensemble of new networks, made by `Network.create`.

        Parameters
        ----------
        n_members : int
            The number of networks.
        sizes : sequence of int
            The number of inputs, of each hidden layer's units, and of outputs.
        activation : str or sequence of str
            The hidden layers' activation, or that of each.
        seed : int
            The seed of the first network's weights; the second has ``seed + 1``, and so on.
        **options
            Further options of `Network.create`: dtype, classes, feature_names, output, layer_norm.

        Returns
        -------
        Ensemble
        """
        if not is_whole(n_members, least=1):
            raise ValueError(f"n_members must be a whole number of at least 1, got {n_members!r}.")
        return cls([Network.create(sizes, activation, seed + member, **options) for member in range(n_members)])

    @property
    def n_members(self) -> int:
        """The number of networks."""
        return len(self.members)

    def outputs(self, X: Any, *, n_threads: int | None = None) -> Array:
        """The mean of the members' outputs; see `Trainable.outputs`."""
        total = self.members[0].outputs(X, n_threads=n_threads)
        with np.errstate(over="ignore"):
            for net in self.members[1:]:
                total += net.outputs(X, n_threads=n_threads)
        if self.output in VALUES and not np.isfinite(total).all():
            raise SumsOverflowError(f"the sum of the members' values overflows {self.dtype}: scale y, or use float64.")
        total /= self.dtype.type(self.n_members)
        return total

    def named(self, vector: Array) -> dict[str, Array]:
        """Copies of the arrays in a vector that is laid out as `params` is: ``members.0.weights.0``, ..."""
        places = self._places(vector)
        return {
            f"members.{member}.{name}": array
            for member, net in enumerate(self.members)
            for name, array in net.named(places[member]).items()
        }

    def fill(self, vector: Array, parts: Mapping[str, Array]) -> None:
        """Write arrays into a vector that is laid out as `params` is; see `Trainable.fill`."""
        for member, (net, place) in enumerate(zip(self.members, self._places(vector), strict=True)):
            net.fill(place, with_prefix(f"members.{member}.", parts))

    def description(self) -> dict[str, Any]:
        """What the model file says about the ensemble, as JSON-able data."""
        return {**self.members[0].description(), "kind": ENSEMBLE, "n_members": self.n_members}

    @classmethod
    def from_parts(cls, tensors: dict[str, Array], description: dict[str, Any]) -> Self:
        """The ensemble of a model file; see `Trainable.from_parts`."""
        check_kind(description, ENSEMBLE)
        n_members, sizes = description.get("n_members"), description.get("sizes")
        names = names_of(len(sizes) - 1 if isinstance(sizes, list) else 0, description.get("layer_norm") is True)
        n_arrays = sum(len(each) for each in names.values())
        # A forged number of members is refused here, before that many networks are made.
        if not is_whole(n_members, least=1) or len(tensors) != n_members * n_arrays or not tensors:
            raise ModelFileError(f"the file's arrays aren't those of {n_members} networks.")
        alone = {**description, "kind": NETWORK}
        return cls(
            [Network.from_parts(with_prefix(f"members.{member}.", tensors), alone) for member in range(n_members)]
        )

    def _places(self, vector: Array) -> list[Array]:
        """The members' parts of a vector that is laid out as `params` is."""
        bounds = range(0, vector.size + 1, self.layout.n_params)
        return [vector[start:stop] for start, stop in pairwise(bounds)]

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("weights", "biases", "gains"):
            raise AttributeError(f"an ensemble has no {name} of its own: see those of its members.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> Any:
        # The members' parameters are views: copied one by one they would no longer be parts of the ensemble's.
        return Ensemble, (self.members,)

    def __repr__(self) -> str:
        return f"Ensemble({self.n_members} of {self.members[0]})"


# Code that asks ``isinstance(net, Network)`` means whatever can be trained and scored.
Network.register(Ensemble)


def _copy(net: Network) -> Network:
    """A copy of a network, with parameters of its own."""
    return Network(
        net.weights, net.biases, net.activation, net.classes, net.feature_names, net.output, net.gains or None
    )
