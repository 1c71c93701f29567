"""What a network and an ensemble have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn import Ensemble, Network
from fastnn.network.trainable import Trainable

X = np.random.default_rng(0).normal(size=(20, 4))


def made(kind: type[Any], **options: Any) -> Trainable:
    net = Network.create([4, 5, 3], **options) if kind is Network else Ensemble.create(2, [4, 5, 3], **options)
    assert isinstance(net, Trainable)
    return net


@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_the_same_questions_have_answers(kind: type[Any], tmp_path: Any) -> None:
    net = made(kind, activation="relu", classes=list("abc"), feature_names=list("wxyz"))
    assert (net.sizes, net.n_features, net.n_classes, net.activations) == ((4, 5, 3), 4, 3, ("relu",))
    assert net.n_members == (1 if kind is Network else 2) and net.params.size == net.n_members * net.layout.n_params
    vector = np.zeros_like(net.params)
    net.fill(vector, net.named(net.params))
    assert vector.tobytes() == net.params.tobytes()
    net.save(tmp_path / "model")
    assert kind.load(tmp_path / "model").predict(X).tolist() == net.predict(X).tolist()


@pytest.mark.parametrize("output", ["identity", "exp"])
@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_a_regression_has_no_probabilities(kind: type[Any], output: str) -> None:
    net = made(kind, output=output)
    assert net.predict(X).tobytes() == net.outputs(X).tobytes()
    with pytest.raises(ValueError, match="no probabilities"):
        net.predict_proba(X)


def test_an_ensemble_names_its_members_where_it_has_no_weights() -> None:
    net = made(Ensemble)
    for name in ("weights", "biases", "gains"):
        with pytest.raises(AttributeError, match=f"no {name} of its own: see those of its members"):
            getattr(net, name)
    with pytest.raises(AttributeError, match="no attribute 'height'"):
        net.height  # type: ignore[attr-defined] # noqa: B018
