"""The options of a training: what is refused, and in which words."""

import numpy as np
import pytest

from fastnn import Network, train
from fastnn.training.options import TrainOptions

SIZES = (37, 19, 7, 5)
N_ROWS = 103
rng = np.random.default_rng(7)
X = rng.standard_normal((N_ROWS, SIZES[0]))
y = rng.integers(0, SIZES[-1], N_ROWS)


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"solver": "lbfgs"}, ValueError, "solver must be 'sgd', 'adam' or 'adamw', got 'lbfgs'"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 10.0}, TypeError, "batch_size must be a whole number"),
        ({"batch_size": True}, TypeError, "batch_size must be a whole number"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number"),
        ({"step_size": 0}, ValueError, "step_size must be a finite number above 0"),
        ({"step_size": np.nan}, ValueError, "step_size"),
        ({"step_size": np.inf}, ValueError, "step_size"),
        ({"step_size": "fast"}, TypeError, "step_size"),
        ({"alpha": -1e-9}, ValueError, "alpha must be a finite number of at least 0"),
        ({"momentum": 1.1}, ValueError, "momentum must be a number from 0 to 1"),
        ({"beta_1": 1.0}, ValueError, "beta_1 must be a number of at least 0 and below 1"),
        ({"beta_2": -0.1}, ValueError, "beta_2"),
        ({"epsilon": 0.0}, ValueError, "epsilon"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 2**64}, ValueError, r"seed must be below 2\*\*64"),
        ({"seed": None}, TypeError, "seed must be a whole number"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
        ({"n_thread": 1}, TypeError, "n_thread"),
    ],
)
def test_options_that_make_no_sense_are_refused(option, error, message):
    net = Network.create(SIZES)
    before = net.params.tobytes()
    with pytest.raises(error, match=message):
        train(net, X, y, **option)
    assert net.params.tobytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": 0.1}, "weight_decay is adamw's, not sgd's"),
        ({"solver": "adamw", "weight_decay": 0.5, "step_size": 2}, r"step_size \* weight_decay must be below 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)


def test_numbers_become_pythons():
    """NumPy's are other types to Numba, which would compile the kernels again."""
    options = TrainOptions(
        step_size=np.float32(0.5), batch_size=np.int8(3), shuffle=np.False_, clip_norm=1, n_threads=np.int64(2)
    )
    kept = options.step_size, options.batch_size, options.shuffle, options.clip_norm, options.n_threads
    assert kept == (0.5, 3, False, 1.0, 2) and [type(value) for value in kept] == [float, int, bool, float, int]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "sgd"),
        ({"momentum": 0.9}, "momentum"),
        ({"momentum": 0.9, "nesterovs_momentum": True}, "nesterov"),
        ({"nesterovs_momentum": True}, "sgd"),
        ({"solver": "adam", "momentum": 0.9}, "adam"),
        ({"solver": "adamw"}, "adam"),
    ],
)
def test_the_kernel_of_a_solver(options, name):
    assert TrainOptions(**options).kernel == name
