"""Ensembles: each member is the network that its seed gives when trained alone; the outputs are the members' mean."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from cases import MOST_THREADS, each_dtype
from sklearn.datasets import load_digits

import fastnn
from fastnn import Ensemble, MLPClassifier, MLPRegressor, Network, modelfile

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

rng = np.random.default_rng(0)
X, y = rng.normal(size=(300, 20)), np.arange(300) % 5
SPARSE = scipy.sparse.csr_array(X * (X > 1))
WAYS: dict[str, tuple[Any, list[int], dict[str, Any]]] = {
    "in the lanes": (X, [20, 10, 5], {"solver": "adam", "step_size": 0.01}),
    "by panels": (X, [20, 100, 5], {"momentum": 0.9, "alpha": 0.01}),
    "with extras": (X, [20, 40, 5], {"dropout": 0.2, "clip_norm": 0.5, "label_smoothing": 0.1}),
    "sparse": (SPARSE, [20, 40, 5], {"solver": "adamw", "step_size": 0.01, "weight_decay": 0.1}),
}


@each_dtype
@pytest.mark.parametrize("way", WAYS)
def test_members_have_the_bits_of_their_seeds(way: str, dtype: type) -> None:
    data, sizes, options = WAYS[way]
    alone, curves = [], []
    for seed in (7, 8, 9):
        net = Network.create(sizes, seed=seed, dtype=dtype)
        curves.append(fastnn.train(net, data, y, epochs=3, batch_size=64, seed=seed, **options).loss_curve)
        alone.append(net)
    for n_threads in {1, MOST_THREADS}:
        together = Ensemble.create(3, sizes, seed=7, dtype=dtype)
        history = fastnn.train(together, data, y, epochs=3, batch_size=64, seed=7, n_threads=n_threads, **options)
        for member, net in zip(together.members, alone, strict=True):
            assert member.params.tobytes() == net.params.tobytes()
        np.testing.assert_allclose(history.loss_curve, np.mean(curves, axis=0), rtol=1e-12)
    expected = np.mean([net.predict_proba(data) for net in alone], axis=0)
    np.testing.assert_allclose(together.predict_proba(data), expected, rtol=1e-6)


def test_slices_do_not_show(monkeypatch: Any) -> None:
    """A call of compiled code may end in the middle of an epoch."""
    found = []
    for seconds in (0.1, 0.0):
        monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_CALL", seconds)
        net = Ensemble.create(3, [20, 100, 5], seed=7)
        losses = fastnn.train(net, X, y, epochs=3, batch_size=64, seed=7).loss_curve
        found.append((losses, net.params.tobytes()))
    assert found[0] == found[1]


def test_files_and_copies(tmp_path: Any) -> None:
    net = Ensemble.create(3, [20, 10, 5], seed=1, classes=list("abcde"))
    p = net.predict_proba(X)
    net.save(tmp_path / "model")
    copies = [Ensemble.load(tmp_path / "model"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)]
    for other in copies:
        assert other.predict_proba(X).tobytes() == p.tobytes()
        assert other.predict(X).tolist() == net.predict(X).tolist()
        other.params[:] = 0  # the parameters of a copy's members are views of the copy's parameters
        assert not other.members[2].params.any()
    assert net.predict_proba(X).tobytes() == p.tobytes()
    with pytest.raises(fastnn.ModelFileError, match=r"ensemble: load it with fastnn\.Ensemble\.load"):
        Network.load(tmp_path / "model")
    net.members[0].save(tmp_path / "one")
    with pytest.raises(fastnn.ModelFileError, match=r"one network: load it with fastnn\.Network\.load"):
        Ensemble.load(tmp_path / "one")


def test_an_ensemble_counts_as_a_network() -> None:
    assert isinstance(Ensemble.create(2, [2, 2]), Network) and issubclass(Ensemble, Network)


def test_unlike_members_are_refused() -> None:
    one, wider = Network.create([2, 3, 2]), Network.create([2, 4, 2])
    with pytest.raises(ValueError, match="differ in their weights only"):
        Ensemble([one, wider])
    with pytest.raises(ValueError, match="differ in their weights only"):
        Ensemble([Ensemble([one])])
    with pytest.raises(TypeError, match="networks, got int"):
        Ensemble([1, 2])
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])
    with pytest.raises(ValueError, match="n_members"):
        Ensemble.create(0, [2, 3, 2])


def test_what_is_kept_of_a_divergence_is_of_the_same_epoch_in_all(monkeypatch: Any) -> None:
    """However many batches a call of compiled code trains before one of the networks diverges."""
    found = []
    for seconds in (0.1, 0.0):
        monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_CALL", seconds)
        calm, wild = Network.create([20, 100, 5], "relu", seed=7), Network.create([20, 100, 5], "relu", seed=8)
        wild.params *= 1e6
        net = Ensemble([calm, wild])
        with pytest.raises(fastnn.TrainingDivergedError, match="epoch 1"):
            fastnn.train(net, X * 1e6, y, epochs=3, step_size=1e20, batch_size=60)
        found.append(net.params.tobytes())
    assert found[0] == found[1] == Ensemble([calm, wild]).params.tobytes()


def test_values_whose_sum_overflows_are_an_error() -> None:
    one = Network([np.full((1, 1), 3e38, np.float32)], [np.zeros(1, np.float32)], output="identity")
    with pytest.raises(ValueError, match="overflows float32"):
        Ensemble([one, one]).predict(np.ones((1, 1)))


@pytest.mark.parametrize(
    "forged",
    [
        {"sizes": 5},
        {"sizes": None},
        {"sizes": []},
        {"n_members": True},
        {"n_members": 2**40},
        {"n_members": "3"},
        {"n_members": 0},
        # A negative number of members times a negative number of arrays is the number of arrays that there are.
        {"n_members": -2, "sizes": []},
        *({"n_members": -4, "sizes": sizes, "layer_norm": True} for sizes in ("abc", None, [5])),
    ],
)
def test_forged_files(forged: dict[str, Any], tmp_path: Any) -> None:
    net = Ensemble.create(1, [20, 10, 5])
    modelfile.save(tmp_path / "model", net.tensors(), {**net.description(), **forged})
    with pytest.raises(fastnn.ModelFileError):
        Ensemble.load(tmp_path / "model")


def test_a_member_that_diverges_ends_all_and_weights_stay_finite() -> None:
    net = Ensemble.create(3, [20, 100, 5], "relu", seed=7)
    with pytest.raises(fastnn.TrainingDivergedError):
        fastnn.train(net, X, y, epochs=50, step_size=1e30, batch_size=64)
    assert np.isfinite(net.params).all()


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_checkpoints_go_on_to_the_same_bytes(solver: str, tmp_path: Any) -> None:
    options = {"solver": solver, "epochs": 5, "batch_size": 64, "step_size": 0.01}
    options |= {"momentum": 0.9} if solver == "sgd" else {}
    whole, stopped, resumed = (Ensemble.create(3, [20, 100, 5], seed=7) for _ in range(3))
    fastnn.train(whole, X, y, **options)
    fastnn.train(stopped, X, y, **options, checkpoint=tmp_path / "c", callbacks=[lambda epoch: epoch.number == 2])
    fastnn.train(resumed, X, y, **options, checkpoint=tmp_path / "c")
    assert resumed.params.tobytes() == whole.params.tobytes() != stopped.params.tobytes()


def test_estimators_of_several_networks() -> None:
    """Member k is that of ``random_state + k``; partial fits add up to one fit; early stopping keeps the best epoch."""
    options: dict[str, Any] = {"hidden_layer_sizes": (16,), "max_iter": 5, "learning_rate_init": 0.01}
    # With early stopping the ensemble would hold out other samples than its members: those of its own seed.
    options["early_stopping"] = False
    clf = MLPClassifier(**options, n_ensemble=3, random_state=4).fit(X, y)
    for member, net in enumerate(clf.network_.members):
        one = MLPClassifier(**options, random_state=4 + member).fit(X, y)
        assert one.network_.params.tobytes() == net.params.tobytes()
    assert not hasattr(clf, "coefs_") and clf.score(X, y) > 0.2
    parts = MLPClassifier(**options, n_ensemble=3, random_state=4)
    for _ in range(5):
        parts.partial_fit(X, y, classes=range(5))
    assert parts.network_.params.tobytes() == clf.network_.params.tobytes()
    with pytest.raises(ValueError, match="one by one"):
        clf.to_sklearn()

    reg = MLPRegressor(**{**options, "early_stopping": True}, n_ensemble=2, random_state=4).fit(X, X[:, 0])
    assert reg.best_validation_score_ == reg.validation_scores_[int(np.argmin(reg.validation_loss_curve_))]
    np.testing.assert_allclose(reg.predict(X), np.mean([net.predict(X)[:, 0] for net in reg.network_.members], axis=0))


def test_an_ensemble_is_better_than_its_members_in_the_mean() -> None:
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    clf = MLPClassifier((32,), max_iter=15, n_ensemble=8, random_state=0).fit(images[:1000], labels[:1000])
    p = [net.predict_proba(images[1000:]) for net in clf.network_.members]
    right = np.arange(797), labels[1000:]
    assert -np.log(clf.predict_proba(images[1000:])[right]).mean() < np.mean(
        [-np.log(each[right]).mean() for each in p]
    )
