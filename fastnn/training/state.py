"""The state of a training: the network, the solver's memory, and how far the training has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.epoch.run import NUMBERS
from fastnn.kernels.equations import solver as solvers
from fastnn.kernels.layout import aligned_zeros
from fastnn.network.trainable import Trainable
from fastnn.training.options import TrainOptions

Array = NDArray[Any]

# Pickles of earlier versions hold these attributes under other names.
_FORMER_ATTRIBUTES = {"_state": "slots", "_numbers": "numbers"}


@dataclass
class Snapshot:
    """A copy of everything that training changes: see the attributes of `TrainingState`."""

    params: Array
    slots: Array
    numbers: Array
    epochs_done: int
    samples_seen: int

    def copy(self) -> Snapshot:
        """A snapshot of the same values, in arrays of its own."""
        arrays = (self.params.copy(), self.slots.copy(), self.numbers.copy())
        return Snapshot(*arrays, self.epochs_done, self.samples_seen)

    def assign(self, other: Snapshot) -> None:
        """Take over the values of another snapshot; the arrays stay the same objects."""
        self.params[:], self.slots[:], self.numbers[:] = other.params, other.slots, other.numbers
        self.epochs_done, self.samples_seen = other.epochs_done, other.samples_seen


class TrainingState:
    """The state of training one network. Everything that an epoch changes is here, or in the network's parameters.

    Parameters
    ----------
    net : Network or Ensemble
        The network to train. Training changes its parameters in place.
    options : TrainOptions

    Attributes
    ----------
    slots : ndarray
        The solver's memory of each parameter (a velocity, or Adam's two moments): one vector of the network's dtype,
        in which the members of an ensemble follow each other.
    numbers : ndarray of float64
        The rates and the running numbers of the solver: a record of `fastnn.kernels.epoch.run.NUMBERS` for each member
        of an ensemble, one after the other.
    epochs_done, samples_seen : int
        The epochs and the samples of all trainings so far.
    """

    slots: Array
    numbers: Array

    def __init__(self, net: Trainable, options: TrainOptions) -> None:
        self.net = net
        self.epochs_done = 0
        self.samples_seen = 0
        self._begin(options)

    def _begin(self, options: TrainOptions) -> None:
        net, o = self.net, options
        self.options = options
        self.slots = aligned_zeros(solvers.SLOTS[options.kernel] * net.params.size, net.dtype)
        in_dtype = {name: net.dtype.type(getattr(o, name)) for name in ("epsilon", "beta_1", "beta_2")}
        if in_dtype["epsilon"] == 0 or in_dtype["beta_1"] == 1 or in_dtype["beta_2"] == 1:
            raise ValueError(f"epsilon must be above 0 and the betas below 1 in {net.dtype}, too: got {in_dtype}.")
        records = np.zeros(net.n_members, NUMBERS)
        for name in ("momentum", "beta_1", "beta_2", "epsilon", "alpha", "weight_decay"):
            records[name] = getattr(o, name)
        records["step"] = records["step_now"] = o.step_size
        records["power_1"] = records["power_2"] = 1
        self.numbers = records.view(np.float64)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({_FORMER_ATTRIBUTES.get(name, name): value for name, value in state.items()})

    def go_on_with(self, options: TrainOptions) -> None:
        """Use other options for the epochs to come.

        The solver's memory is kept unless the solver changes, and the present step size unless `step_size` changes.
        """
        earlier, step_size, slots = self.options, self.step_size, self.slots
        before = self.records
        self._begin(options)
        if options.step_size == earlier.step_size:
            self.step_size = step_size
        if options.kernel == earlier.kernel:
            self.slots = slots
            self.records[["power_1", "power_2"]] = before[["power_1", "power_2"]]

    @property
    def records(self) -> NDArray[np.void]:
        """The numbers by name, one record of `NUMBERS` for each member of an ensemble: a view."""
        return self.numbers.view(NUMBERS)

    @property
    def step_size(self) -> float:
        """The step size from the next epoch on, the same for all members of an ensemble. A schedule may set it."""
        return float(self.records["step"][0])

    @step_size.setter
    def step_size(self, value: float) -> None:
        self.records["step"] = value

    def slot_vectors(self) -> list[Array]:
        """The solver's memory as vectors that are laid out as the network's parameters are."""
        by_member = self.slots.reshape(self.net.n_members, -1, self.net.layout.n_params)
        return [by_member[:, slot].reshape(-1) for slot in range(by_member.shape[1])]

    def joined_slots(self, vectors: list[Array]) -> Array:
        """The inverse of `slot_vectors`: one vector that is laid out as `slots` is."""
        slots = np.empty_like(self.slots)
        by_member = slots.reshape(self.net.n_members, -1, self.net.layout.n_params)
        for slot, vector in enumerate(vectors):
            by_member[:, slot] = vector.reshape(self.net.n_members, -1)
        return slots

    def snapshot(self) -> Snapshot:
        """A copy of the present state, for `restore`."""
        return Snapshot(self.net.params, self.slots, self.numbers, self.epochs_done, self.samples_seen).copy()

    def restore(self, snapshot: Snapshot) -> None:
        """Bring the network and the solver, in place, to the state of a snapshot."""
        self.net.params[:], self.slots[:], self.numbers[:] = snapshot.params, snapshot.slots, snapshot.numbers
        self.epochs_done, self.samples_seen = snapshot.epochs_done, snapshot.samples_seen
