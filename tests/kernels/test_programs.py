"""Which kind of training a network, its options and its samples ask for, and which program each kind has."""

from __future__ import annotations

from typing import Any

import pytest

from fastnn import Ensemble, Network
from fastnn.kernels.forward.programs import scoring_kernel
from fastnn.kernels.programs import KINDS, Kind, kind_of, program
from fastnn.training.options import TrainOptions

NARROW, WIDE = [5, 4, 3], [5, 40, 3]
GENERAL = Kind(general=True)


@pytest.mark.parametrize(
    ("sizes", "network", "options", "sparse", "kind"),
    [
        (NARROW, {}, {}, False, Kind(lanes=True)),
        (WIDE, {}, {"solver": "adamw", "weight_decay": 0.1, "alpha": 0.1}, False, Kind()),
        (NARROW, {}, {"dropout": 0.1}, False, GENERAL),
        (WIDE, {}, {"label_smoothing": 0.1}, False, GENERAL),
        (WIDE, {}, {"clip_norm": 1.0}, False, GENERAL),
        (NARROW, {"activation": "gelu"}, {}, False, GENERAL),
        (WIDE, {"output": "logistic"}, {}, False, GENERAL),
        (WIDE, {"output": "identity"}, {}, False, GENERAL),
        (NARROW, {"output": "exp"}, {}, False, GENERAL),
        (NARROW, {}, {}, True, Kind(general=True, sparse=True)),
        (NARROW, {"layer_norm": True}, {}, False, Kind(general=True, normalised=True)),
        (WIDE, {"layer_norm": True}, {}, True, Kind(general=True, sparse=True, normalised=True)),
    ],
)
def test_the_kind_of_a_training(
    sizes: list[int], network: dict[str, Any], options: dict[str, Any], sparse: bool, kind: Kind
) -> None:
    assert kind_of(Network.create(sizes, **network), TrainOptions(**options), sparse) == kind
    members = kind_of(Ensemble.create(2, sizes, **network), TrainOptions(**options), sparse)
    assert members == kind._replace(members=True)


def test_each_kind_has_a_program_of_its_own() -> None:
    kinds = {*KINDS, Kind(general=True, sparse=True, normalised=True)}
    kinds |= {kind._replace(members=True) for kind in kinds}
    kernels = {program(kind).kernel.compiled for kind in kinds}
    names = {kernel.py_func.__qualname__ for kernel in kernels}
    # The names tell the kernels' files on disk apart.
    assert len(kinds) == len(kernels) == len(names) == 12


def test_each_kind_of_rows_has_a_kernel_that_scores_it() -> None:
    kernels = [scoring_kernel(normalised, sparse) for normalised in (False, True) for sparse in (False, True)]
    assert len({kernel.compiled.py_func.__qualname__ for kernel in kernels}) == 4
