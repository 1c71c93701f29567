"""The state of a training: what lasts from call to call, and a snapshot that brings it back."""

import pickle

import numpy as np
import pytest

from fastnn import Network
from fastnn.network.ensemble import Ensemble
from fastnn.network.samples import Samples
from fastnn.training.options import TrainOptions
from fastnn.training.state import TrainingState
from fastnn.training.trainer import Trainer

SIZES = (37, 19, 7, 5)
N_ROWS = 103
rng = np.random.default_rng(7)
X = rng.standard_normal((N_ROWS, SIZES[0]))
y = rng.integers(0, SIZES[-1], N_ROWS)


def test_the_solvers_state_lasts_from_call_to_call():
    for solver, momentum in (("adam", 0.0), ("sgd", 0.9)):
        options = TrainOptions(solver=solver, step_size=0.01, momentum=momentum, batch_size=10)
        nets = [Network.create(SIZES) for _ in range(3)]
        at_once, in_parts = Trainer(nets[0], options), Trainer(nets[1], options)
        list(at_once.epochs(Samples(X, y), 4))
        for n_epochs in (1, 3):
            list(in_parts.epochs(Samples(X, y), n_epochs))
        for n_epochs in (1, 3):  # a new trainer has forgotten
            list(Trainer(nets[2], options).epochs(Samples(X, y), n_epochs))
        assert nets[0].params.tobytes() == nets[1].params.tobytes() != nets[2].params.tobytes()
        assert at_once.epochs_done == in_parts.epochs_done == 4


def everything(state):
    return (
        state.net.params.tobytes(),
        state.slots.tobytes(),
        state.numbers.tobytes(),
        state.epochs_done,
        state.samples_seen,
    )


@pytest.mark.parametrize("n_members", [1, 3])
def test_a_snapshot_brings_everything_back(n_members):
    net = Network.create(SIZES) if n_members == 1 else Ensemble.create(n_members, SIZES)
    trainer = Trainer(net, TrainOptions("adam", 0.01, batch_size=10))
    list(trainer.epochs(Samples(X, y), 1))
    before, snapshot, arrays = everything(trainer), trainer.snapshot(), (net.params, trainer.slots, trainer.numbers)
    list(trainer.epochs(Samples(X, y), 2))
    after = everything(trainer)
    assert all(now != then for now, then in zip(after, before, strict=True))
    trainer.restore(snapshot)
    assert everything(trainer) == before
    assert all(a is b for a, b in zip(arrays, (net.params, trainer.slots, trainer.numbers), strict=True))
    list(trainer.epochs(Samples(X, y), 2))
    assert everything(trainer) == after


def test_a_copy_of_a_snapshot_is_its_own():
    state = TrainingState(Network.create(SIZES), TrainOptions("adam"))
    good, before = state.snapshot(), state.snapshot().copy()
    good.params += 1
    good.epochs_done = 7
    assert not np.array_equal(good.params, before.params)
    good.assign(before)
    assert np.array_equal(good.params, before.params) and good.epochs_done == 0


@pytest.mark.parametrize("n_members", [1, 2])
def test_slots_are_split_into_vectors_and_joined_again(n_members):
    net = Network.create(SIZES) if n_members == 1 else Ensemble.create(n_members, SIZES)
    state = TrainingState(net, TrainOptions("adam"))
    state.slots[:] = np.arange(state.slots.size)
    vectors = state.slot_vectors()
    assert [vector.shape for vector in vectors] == [net.params.shape] * 2
    np.testing.assert_array_equal(state.joined_slots(vectors), state.slots)


def test_a_state_with_the_former_attributes_goes_on_to_the_same_bits():
    trainer = Trainer(Network.create(SIZES), TrainOptions("adam", 0.01, batch_size=10))
    list(trainer.epochs(Samples(X, y), 2))
    attributes = vars(pickle.loads(pickle.dumps(trainer)))
    attributes |= {"_state": attributes.pop("slots"), "_numbers": attributes.pop("numbers")}
    former = Trainer.__new__(Trainer)
    former.__setstate__(attributes)
    for each in (trainer, former):
        list(each.epochs(Samples(X, y), 2))
    assert everything(former) == everything(trainer)
