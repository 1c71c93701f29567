"""Compiles all kernels and keeps them on disk, so that nothing is compiled later, for example in a container."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import kernels
from fastnn.kernels.arrays import Array
from fastnn.kernels.forward.rows import SOFTMAX
from fastnn.kernels.forward.table import (
    BLOCK,
    COLUMN,
    MOST_SINGLES,
    Columns,
    Encoding,
    TableScoring,
    encode,
    score_table,
)
from fastnn.kernels.programs import KINDS, Kind
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.network.trainable import Trainable
from fastnn.runtime.launch import launch
from fastnn.runtime.region import region_address
from fastnn.runtime.threads import available_threads
from fastnn.training.trainer import train

_NARROW, _WIDE = [2, 2, 2], [2, 64, 2]


def warm_up(report: Callable[[str], None] = lambda line: None) -> None:
    """Compile the kernels for float32 and float64, and, where there is more than one thread, the parallel region.

    Parameters
    ----------
    report : callable
        A function that is called with a line of text before each step.

    Notes
    -----
    A few kinds of training are compiled when the first network of the kind is trained: ensembles with normalised
    layers, with sparse samples, or with dropout and other rare options; and normalised networks with sparse samples.
    """
    from scipy.sparse import csr_array

    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        X, y = np.zeros((2, 2), dtype), np.array([0, 1])
        for kind in KINDS:
            report(f"{name}: training of networks: {_words(kind)}")
            options: dict[str, Any] = {"dropout": 0.5} if kind.general else {}
            samples = csr_array(X) if kind.sparse else X
            train(_network(kind, dtype), samples, y, epochs=1, n_threads=1, **options)
        report(f"{name}: scoring")
        for kind in (Kind(), Kind(normalised=True)):
            for rows in (X, csr_array(X)):
                _network(kind, dtype).predict_proba(rows, n_threads=1)
        report(f"{name}: rows of tables")
        _compile_tables(Network.create(_NARROW, dtype=dtype))
        report(f"{name}: the equations")
        _call_each_kernel(X, y)
    if available_threads() > 1:
        report("the parallel region")
        region_address()


def _words(kind: Kind) -> str:
    """The kind's properties as text."""
    return ", ".join(name for name, value in kind._asdict().items() if value) or "plain"


def _network(kind: Kind, dtype: type) -> Trainable:
    """A small network, or an ensemble, of this kind."""
    sizes = _NARROW if kind.lanes else _WIDE
    if kind.members:
        return Ensemble.create(2, sizes, dtype=dtype, layer_norm=kind.normalised)
    return Network.create(sizes, dtype=dtype, layer_norm=kind.normalised)


def _compile_tables(net: Network) -> None:
    """Encode and score a table of two columns that has no rows."""
    no_column, nothing = np.empty(0, np.float32), np.empty(0, net.dtype)
    no_column.flags.writeable = False
    rows = Columns(
        values=np.zeros(1),
        singles=(no_column,) * MOST_SINGLES,
        offsets=np.empty(0, np.int64),
        columns=np.zeros(2, COLUMN),
        bins=np.empty(0),
        non_finite=np.zeros(2, np.int64),
        bad=np.zeros(0, np.bool_),
        n_inputs=2,
        stride=1,
        first=0,
    )
    launch(encode, Encoding(nothing, rows, nothing), 1)
    layers, size = net.layout.columns(BLOCK, training=False)
    memory = np.empty(size, net.dtype)
    launch(score_table, TableScoring(net.params, layers, rows, nothing, 0, memory, size, SOFTMAX), 1)


def _call_each_kernel(X: Array, y: Array) -> None:
    a = kernels.tanh(kernels.linear(X, X, X[0]))
    kernels.linear_tanh(X, X, X[0])
    kernels.cross_entropy(a, y)
    delta = kernels.output_delta(kernels.softmax(a), y)
    kernels.bias_gradient(delta)
    kernels.hidden_delta(delta, X, a)
    kernels.sgd_step(X.copy(), kernels.weight_gradient(a, delta), 0.1)
