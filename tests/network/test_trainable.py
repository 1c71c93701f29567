"""What a network and an ensemble have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import fastnn
from fastnn import Ensemble, Network
from fastnn.network.samples import Samples
from fastnn.network.trainable import Trainable
from fastnn.training.validation import Validation

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


FRAME = pd.DataFrame(X, columns=list("wxyz"))
FORMS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
# What takes X.
USES: dict[str, Callable[[Trainable, Any], Any]] = {
    "outputs": lambda net, X: net.outputs(X),
    "predict": lambda net, X: net.predict(X),
    "predict_proba": lambda net, X: net.predict_proba(X),
    "train": lambda net, X: fastnn.train(net, X, np.arange(20) % 3, epochs=1),
    "Validation": lambda net, X: Validation(net, Samples(X, np.arange(20) % 3)),
}


@each_form
@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_a_frames_columns_must_be_the_features_in_order(kind: type[Any], use: Any, form: Any) -> None:
    net = made(kind, feature_names=list("wxyz"))
    use(net, form(FRAME))
    with pytest.raises(
        ValueError, match=r"^X has the columns of the network in another order\. Pass X.*net\.feature_n"
    ):
        use(net, form(FRAME[list("zyxw")]))
    with pytest.raises(ValueError, match=r"^X lacks columns that the network was made for: w, y\.$"):
        use(net, form(FRAME.rename(columns={"w": "a", "y": "b"})))
    with pytest.raises(
        ValueError, match=r"^X has columns that the network wasn't made for: b, c, d, e, f and 1 more\. Pa"
    ):
        use(net, form(FRAME.assign(**dict.fromkeys("bcdefg", 1.0))))


@each_form
def test_the_way_out_of_the_message_works(form: Any) -> None:
    net = made(Network, feature_names=list("wxyz"))
    mixed = form(FRAME.assign(v=0.0)[list("vzyxw")])
    selected = mixed.select(net.feature_names) if hasattr(mixed, "column_names") else mixed[net.feature_names]
    np.testing.assert_array_equal(net.outputs(selected), net.outputs(X))


def test_what_has_no_names_is_taken_by_position() -> None:
    net, nameless = made(Network, feature_names=list("wxyz")), made(Network)
    expected = net.outputs(X)
    forms = [
        FRAME.set_axis(range(4), axis=1),
        FRAME.to_numpy(),
        X.tolist(),
        scipy.sparse.csr_array(X),
        X.view(np.memmap),
    ]
    for form in forms:
        np.testing.assert_allclose(net.outputs(form), expected, rtol=1e-5)
    np.testing.assert_array_equal(nameless.outputs(FRAME[list("zyxw")]), nameless.outputs(X[:, ::-1]))
    with pytest.raises(ValueError, match="lacks columns that the network was made for: w, x, y"):
        net.outputs(FRAME.set_axis([0, 1, 2, "z"], axis=1))
