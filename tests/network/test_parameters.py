"""Parameters: their initial values, how they come out again, and what is refused."""

import numpy as np
import pytest
from numpy.random import PCG64, Generator

from fastnn import Network

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@each_dtype
@pytest.mark.parametrize(("activation", "factor"), [("tanh", 6.0), ("relu", 6.0), ("identity", 6.0), ("logistic", 2.0)])
def test_initial_weights_are_glorots(activation, factor, dtype):
    net = Network.create([37, 19, 5], activation, seed=12, dtype=dtype)
    random = Generator(PCG64(12))
    for (n_in, n_out), W, b in zip([(37, 19), (19, 5)], net.weights, net.biases, strict=True):
        bound = np.sqrt(factor / (n_in + n_out))
        np.testing.assert_array_equal(W, random.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
        np.testing.assert_array_equal(b, random.uniform(-bound, bound, n_out).astype(dtype))


@each_dtype
def test_weights_and_biases_come_out_as_they_went_in(dtype):
    random = np.random.default_rng(0)
    shapes = [(1, 33), (33, 16), (16, 130)]
    weights = [random.standard_normal(shape).astype(dtype) for shape in shapes]
    biases = [random.standard_normal(n_out).astype(dtype) for _, n_out in shapes]
    net = Network([np.asfortranarray(weights[0]), weights[1].astype(f">f{weights[1].itemsize}"), weights[2]], biases)
    assert net.sizes == (1, 33, 16, 130)
    assert (net.n_features, net.n_classes, net.dtype) == (1, 130, np.dtype(dtype))
    for given, kept in zip(weights + biases, net.weights + net.biases, strict=True):
        assert kept.dtype == dtype
        np.testing.assert_array_equal(kept, given)
    # They are copies: writing to them doesn't change the network.
    before = net.params.tobytes()
    net.weights[0][:] = 7
    net.biases[0][:] = 7
    weights[2][:] = 7
    assert net.params.tobytes() == before


ONE = (np.ones((2, 2)), np.ones(2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], []), ValueError, "as many weights as biases"),
        (([ONE[0]], []), ValueError, "as many weights as biases, got 1 and 0"),
        (([ONE[0]], [np.ones(3)]), ValueError, r"biases\[0\] must have shape \(2,\), got \(3,\)"),
        (([np.ones(2)], [ONE[1]]), ValueError, r"weights\[0\] must have shape \(n_in, n_out\)"),
        (([np.ones((0, 2))], [ONE[1]]), ValueError, "both at least 1"),
        (([np.ones((2, 3)), np.ones((2, 2))], [np.ones(3), ONE[1]]), ValueError, "has 2 rows, .* has 3 units"),
        (([ONE[0].astype("f4")], [ONE[1]]), TypeError, r"all be float32 or all float64, biases\[0\] is float64"),
        (([ONE[0].astype(int)], [ONE[1]]), TypeError, "is int64"),
        (([ONE[0] * np.nan], [ONE[1]]), ValueError, "NaN or infinity"),
        (([ONE[0]], [ONE[1] * np.inf]), ValueError, "NaN or infinity"),
        (([ONE[0]], [ONE[1]], "softmax"), ValueError, "activation must be one of .*'softmax'"),
        (([ONE[0]], [ONE[1]], "tanh", ["a"]), ValueError, "classes must be 2 labels"),
        (([ONE[0]], [ONE[1]], "tanh", ["a", "a"]), ValueError, "differ"),
        (([ONE[0]], [ONE[1]], "tanh", [b"a", b"b"]), TypeError, "labels must be"),
        (([ONE[0]], [ONE[1]], "tanh", np.array(["a", None])), TypeError, "labels must be"),
        (([ONE[0]], [ONE[1]], "tanh", None, ["a"]), ValueError, "feature_names must be 2 strings"),
        (([ONE[0]], [ONE[1]], "tanh", None, ["a", 1]), ValueError, "feature_names must be 2 strings"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Network(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sizes": [3]}, ValueError, "at least two"),
        ({"sizes": [3, 0, 2]}, ValueError, "1 or more"),
        ({"sizes": [3, 2.0]}, ValueError, "whole numbers"),
        ({"sizes": [True, 2]}, ValueError, "whole numbers"),
        ({"dtype": "float16"}, TypeError, "float32 or float64, got float16"),
        ({"dtype": int}, TypeError, "float32 or float64"),
        ({"activation": "sin"}, ValueError, "activation must be one of"),
        ({"seed": -1}, ValueError, "non-negative"),
    ],
)
def test_create_says_what_it_wants(arguments, error, message):
    with pytest.raises(error, match=message):
        Network.create(**{"sizes": [3, 2], **arguments})
