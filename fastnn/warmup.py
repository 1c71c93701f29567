"""Compile everything now and keep it on disk, so that nothing is compiled later: for container images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import kernels
from fastnn.kernels.arrays import Array
from fastnn.kernels.forward.table import (
    BLOCK,
    MOST_SINGLES,
    N_NUMBERS,
    N_PLACES,
    Encoding,
    Table,
    TableScoring,
    encode,
    score_table,
)
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.runtime.launch import available_threads, launch
from fastnn.runtime.region import region_address
from fastnn.training.trainer import train

_FEW: dict[str, Any] = {"dropout": 0.5}
_NARROW, _WIDE = [2, 2, 2], [2, 64, 2]


def warm_up(report: Callable[[str], None] = lambda line: None) -> None:
    """Compile every kernel for float32 and float64, serial and (where there is more than one thread) parallel.

    Parameters
    ----------
    report : callable
        Told of each step in a line.

    Notes
    -----
    Ensembles with dropout and the like, with normalised layers, or of sparse samples, are compiled when one is trained,
    and so are normalised networks of sparse samples.
    """
    from scipy.sparse import csr_array

    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        X, y = np.zeros((2, 2), dtype), np.array([0, 1])
        # Widths for samples in the lanes, for panels, and an option that needs the kernel of the few.
        for what, sizes, options in (
            ("narrow networks", _NARROW, {}),
            ("others", _WIDE, {}),
            ("dropout", _NARROW, _FEW),
        ):
            report(f"{name}: training of {what}")
            train(Network.create(sizes, dtype=dtype), X, y, epochs=1, n_threads=1, **options)
        report(f"{name}: training of normalised networks")
        normalised = Network.create(_NARROW, dtype=dtype, layer_norm=True)
        train(normalised, X, y, epochs=1, n_threads=1)
        report(f"{name}: scoring")
        net, sparse = Network.create(_NARROW, dtype=dtype), csr_array(X)
        for each in (net, normalised):
            for rows in (X, sparse):
                each.predict_proba(rows, n_threads=1)
        report(f"{name}: sparse samples")
        train(net, sparse, y, epochs=1, n_threads=1)
        for what, sizes in (("narrow", _NARROW), ("other", _WIDE)):
            report(f"{name}: ensembles of {what} networks")
            train(Ensemble.create(2, sizes, dtype=dtype), X, y, epochs=1, n_threads=1)
        report(f"{name}: rows of tables")
        _rows_of_nothing(net)
        report(f"{name}: the equations")
        _call_each_kernel(X, y)
    if available_threads() > 1:
        report("the parallel region")
        region_address()


def _rows_of_nothing(net: Network) -> None:
    """No rows of a table of two columns, to encode and to score."""
    no_column, nothing = np.empty(0, np.float32), np.empty(0, net.dtype)
    no_column.flags.writeable = False
    rows = Table(
        values=np.zeros(1),
        singles=(no_column,) * MOST_SINGLES,
        offsets=np.empty(0, np.int64),
        places=np.zeros(2 * N_PLACES, np.int64),
        numbers=np.ones(2 * N_NUMBERS),
        strange=np.zeros(2, np.int64),
        bad=np.zeros(0, np.bool_),
        n_inputs=2,
        stride=1,
        first=0,
    )
    launch(encode, Encoding(nothing, rows, nothing), 1)
    table, size = net.layout.columns(BLOCK, training=False)
    launch(score_table, TableScoring(net.params, table, rows, nothing, 0, np.empty(size, net.dtype), size), 1)


def _call_each_kernel(X: Array, y: Array) -> None:
    a = kernels.tanh(kernels.linear(X, X, X[0]))
    kernels.linear_tanh(X, X, X[0])
    kernels.cross_entropy(a, y)
    delta = kernels.output_delta(kernels.softmax(a), y)
    kernels.bias_gradient(delta)
    kernels.hidden_delta(delta, X, a)
    kernels.sgd_step(X.copy(), kernels.weight_gradient(a, delta), 0.1)
