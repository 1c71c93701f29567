"""Samples: what a network makes of them, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from fastnn import Ensemble, Network, train
from fastnn.kernels.forward.sparse import Csr
from fastnn.network.samples import Checked, Samples
from fastnn.training.trainer import Trainer, TrainOptions

rng = np.random.default_rng(0)
X, LABELS = rng.normal(size=(60, 4)), rng.choice(["a", "b", "c"], 60)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array], ids=["plain", "sparse"])
def test_checked_samples_are_what_the_kernels_read(form: Any) -> None:
    net = Network.create([4, 5, 3], classes=["a", "b", "c"])
    checked = net.checked(Samples(form(X), LABELS, np.arange(60)))
    assert isinstance(checked, Checked) and len(checked.y) == 60
    numbers = checked.X.values if isinstance(checked.X, Csr) else checked.X
    assert (numbers.dtype, checked.y.dtype, checked.sample_weight.dtype) == (net.dtype, np.int64, net.dtype)
    assert np.array(["a", "b", "c"])[checked.y].tolist() == LABELS.tolist()


@pytest.mark.parametrize("net", [Network.create([4, 3]), Ensemble.create(2, [4, 3])], ids=["network", "ensemble"])
def test_checked_samples_are_not_checked_again(net: Network | Ensemble) -> None:
    checked = net.checked(Samples(X, np.arange(60) % 3))
    assert net.checked(checked) is checked


def test_training_takes_either_kind() -> None:
    nets = [Network.create([4, 5, 3], classes=["a", "b", "c"]) for _ in range(2)]
    train(nets[0], X, LABELS, epochs=2, batch_size=16)
    trainer = Trainer(nets[1], TrainOptions(batch_size=16))
    assert len(list(trainer.epochs(nets[1].checked(Samples(X, LABELS)), 2))) == 2
    assert nets[0].params.tobytes() == nets[1].params.tobytes()
