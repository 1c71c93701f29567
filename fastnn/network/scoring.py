"""Scoring: the outputs of one network (F1 F2 ... F3), from plain rows or sparse ones, by the kernel that it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.kernels.arrays import borrow, flat, give_back
from fastnn.kernels.equations.loss import columns_size
from fastnn.kernels.forward.programs import scoring_kernel
from fastnn.kernels.forward.rows import OUTPUTS
from fastnn.kernels.forward.scoring import Predict
from fastnn.kernels.forward.sparse import SparseRows
from fastnn.kernels.layout import ROW_BLOCK, Layout, line_elements, width
from fastnn.network.conversion import as_rows, as_sparse_rows, contiguous, is_sparse, refuse_non_finite
from fastnn.runtime.launch import launch
from fastnn.runtime.threads import threads_for

Array = NDArray[Any]

# Rows that are converted at once where X isn't of the network's dtype or not contiguous: X is never copied whole.
_CONVERTED_ROWS = 4096
_NO_ORDER = np.empty(0, np.int64)


class Scoring:
    """All of a network that scoring needs beside its parameters, computed once: single rows are scored often.

    Parameters
    ----------
    layout : Layout
        Where the network's parameters lie.
    output : {"softmax", "logistic", "identity", "exp"}
        The last layer's activation.
    """

    def __init__(self, layout: Layout, output: str) -> None:
        self._dtype = layout.dtype
        self._n_features, self._n_outputs = layout.sizes[0], layout.sizes[-1]
        self._row_shape = (self._n_features,)
        self._output = OUTPUTS[output]
        self._normalised = layout.normalised
        # The layers in the memory for one block of rows, and the size of the memory of each part (see `Predict`).
        self._layers, size = layout.workspace(ROW_BLOCK, training=False)
        self._part_size = size + columns_size(self._n_outputs) + line_elements(self._dtype)
        # A multiplication and an addition for each parameter and row. Of the first layer's weights a sparse row reads
        # those of its entries only.
        self._per_row = 2.0 * layout.n_params
        above = layout.n_params - layout.sizes[0] * width(layout.sizes[1], layout.dtype)
        self._per_sparse_row, self._per_entry = 2.0 * above, 2.0 * width(layout.sizes[1], layout.dtype)

    def outputs(self, params: Array, X: Any, n_threads: int | None) -> Array:
        """The network's outputs for the rows of `X`; see `Trainable.outputs`."""
        dtype = self._dtype
        # For single rows a Python call costs as much as a layer: what needs no conversion is recognised here.
        if not (type(X) is np.ndarray and X.dtype is dtype and X.flags.carray and X.shape[1:] == self._row_shape):
            if is_sparse(X):
                return self._outputs_of_sparse(params, X, n_threads)
            X = as_rows(X, self._n_features)
        n_rows = X.shape[0]
        out = np.empty((n_rows, self._n_outputs), dtype)
        if X.dtype == dtype and X.flags.c_contiguous and X.flags.aligned:
            if n_rows:
                self._launch(params, X, flat(X), out, self._per_row * n_rows, n_threads)
        else:
            for first in range(0, n_rows, _CONVERTED_ROWS):
                rows = X[first : first + _CONVERTED_ROWS]
                here = out[first : first + _CONVERTED_ROWS]
                self._launch(params, rows, flat(contiguous(rows, dtype)), here, self._per_row * len(rows), n_threads)
        return out

    def _outputs_of_sparse(self, params: Array, X: Any, n_threads: int | None) -> Array:
        rows = as_sparse_rows(X, self._n_features, self._dtype)
        out = np.empty((X.shape[0], self._n_outputs), self._dtype)
        if out.size:
            operations = self._per_entry * rows.values.size + self._per_sparse_row * len(out)
            self._launch(params, rows.values, SparseRows(rows, _NO_ORDER, 0), out, operations, n_threads)
        return out

    def _launch(
        self, params: Array, given: Array, rows: Any, out: Array, operations: float, n_threads: int | None
    ) -> None:
        """Fill `out` for rows as a kernel reads them; an error is about the numbers that were `given`."""
        threads = threads_for(operations, n_threads=n_threads)
        part_size = self._part_size
        memory = borrow(threads * part_size, self._dtype)
        args = Predict(params, self._layers, rows, out.reshape(-1), memory, part_size, out.shape[0], self._output)
        kernel = scoring_kernel(self._normalised, sparse=type(rows) is not np.ndarray)
        parts = launch(kernel, args, threads, self._dtype)
        # Each part that has run ends its memory with the number of its inputs and results that aren't finite.
        last = part_size - 1
        non_finite = memory[last : parts * part_size : part_size].any() if parts > 1 else memory[last]
        give_back(memory)
        if non_finite:
            refuse_non_finite(given, self._dtype)
