"""Network: its labels, its copies, and training after a load."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import Network
from fastnn.kernels.simd.shape import LINE_BYTES


def rows(n: int, n_features: int, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, n_features)).astype(dtype)


@pytest.mark.parametrize("classes", [["no", "yes"], [7, -1], [True, False], [0.5, 1.5], np.array(["é", "x"], object)])
def test_predictions_are_the_labels(classes):
    net = Network([np.array([[-1.0, 1.0]])], [np.zeros(2)], classes=classes)
    found = net.predict([[-3.0], [2.0]])
    assert found.tolist() == list(classes)
    assert found.dtype == np.array(classes).dtype
    with pytest.raises(ValueError, match="read-only"):
        net.classes[0] = net.classes[1]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_copies_are_whole_and_aligned(again):
    for seed in range(8):
        net = again(Network.create([5, 9, 3], seed=seed, classes=["a", "b", "c"], feature_names=list("vwxyz")))
        assert net.params.ctypes.data % LINE_BYTES == 0
        assert (list(net.classes), net.feature_names) == (["a", "b", "c"], list("vwxyz"))
        assert net.params.tobytes() == Network.create([5, 9, 3], seed=seed).params.tobytes()


def test_repr():
    net = Network.create([784, 128, 10], "relu", dtype="float64")
    assert repr(net) == "Network(784-128-10, activation='relu', dtype='float64')"


def test_a_loaded_network_trains_on(tmp_path):
    """A save and a load between two calls of `train` don't change the weights (sgd has no state to lose)."""
    X, y = rows(40, 4), np.arange(40) % 3
    nets = [Network.create([4, 6, 3], seed=1, classes=[0, 1, 2]) for _ in range(2)]
    for net in nets:
        fastnn.train(net, X, y, epochs=1, batch_size=16)
    nets[0].save(tmp_path / "half.safetensors")
    nets[0] = Network.load(tmp_path / "half.safetensors")
    for net in nets:
        fastnn.train(net, X, y, epochs=1, batch_size=16)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()
