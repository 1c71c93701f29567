"""The description in a model file: networks of every kind come back from it, and forged ones are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fastnn import ModelFileError, Network

NETWORKS = {
    "plain": {},
    "activations": {"activation": ["relu", "silu"]},
    "normalised": {"layer_norm": True, "dtype": "float64"},
    "values": {"output": "identity"},
    "counts": {"output": "exp"},
    "strings": {"classes": ["no", "yes", "é"], "feature_names": list("abcd")},
    "objects": {"classes": np.array(["no", "yes", "é"], object)},
    "numbers": {"classes": [0.5, -1.0, 7.25]},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_from_its_description(name: str) -> None:
    net = Network.create([4, 5, 6, 3], seed=1, **NETWORKS[name])  # type: ignore[arg-type]
    described = json.loads(json.dumps(net.description()))
    again = Network.from_parts(net.tensors(), described)
    assert repr(again) == repr(net) and again.params.tobytes() == net.params.tobytes()
    assert again.description() == net.description()
    if net.classes is not None:
        assert again.classes is not None and again.classes.dtype == net.classes.dtype
        assert again.classes.tolist() == net.classes.tolist()


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"kind": None}, "kind is None, not 'network'"),
        ({"kind": ["network"]}, "kind is"),
        ({"layer_norm": 1}, "layer_norm must be true or false"),
        ({"layer_norm": True}, "holds the arrays"),
        ({"sizes": None}, "doesn't make a network"),
        ({"sizes": [4, 5, 2]}, "another size or dtype"),
        ({"dtype": "float64"}, "another size or dtype"),
        ({"activation": "sin"}, "activation must be one of"),
        ({"output": "relu"}, "output must be one of"),
        ({"classes": {"dtype": "M8[s]", "labels": [1, 2, 3]}}, "unknown dtype"),
        ({"classes": {"dtype": "str"}}, "doesn't make a network"),
        ({"feature_names": ["a"]}, "feature_names must be 4 strings"),
    ],
)
def test_forged_descriptions_are_refused(forged: dict[str, Any], message: str) -> None:
    net = Network.create([4, 5, 3])
    with pytest.raises(ModelFileError, match=message):
        Network.from_parts(net.tensors(), {**net.description(), **forged})
