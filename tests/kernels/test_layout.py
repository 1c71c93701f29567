"""Where numbers lie: nothing lost between a matrix and its panels, nothing overlaps, whole lines everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, each_dtype, same_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.kernels import layout
from fastnn.kernels.layout import Layout
from fastnn.kernels.simd.shape import LINE_BYTES

# One line has 8 or 16 numbers, a panel twice as many.
WIDTHS = st.integers(1, 70) | st.sampled_from([127, 512, 784, 1024])
dtypes = st.sampled_from(DTYPES)


@settings(deadline=None)
@given(n_in=st.integers(0, 40), n_out=WIDTHS, dtype=dtypes)
def test_pack_and_unpack(n_in: int, n_out: int, dtype: type) -> None:
    """Each number has one place, which `place` knows, and the padding is left alone."""
    W = np.arange(1, 1 + n_in * n_out, dtype=dtype).reshape(n_in, n_out)
    data = np.zeros(n_in * layout.width(n_out, dtype), dtype)
    layout.pack(W, data)
    assert same_bytes(layout.unpack(data, n_in, n_out), W)
    assert (np.sort(data[data != 0]) == W.ravel()).all()
    line = layout.line_elements(dtype)
    for k, j in np.ndindex(W.shape) if n_in < 5 else ((0, 0), (n_in - 1, n_out - 1), (n_in // 2, n_out // 2)):
        assert data[layout.place(k, j, n_in, n_out, line)] == W[k, j]
    # A matrix in another form packs to the same numbers.
    again = np.zeros_like(data)
    layout.pack(np.asfortranarray(W)[::-1][::-1], again)
    assert same_bytes(again, data)


@settings(deadline=None)
@given(n=st.integers(1, 5000), dtype=dtypes)
def test_widths(n: int, dtype: type) -> None:
    """Whole lines, as few as can be; a row's stride is no multiple of 4096 bytes."""
    itemsize = np.dtype(dtype).itemsize
    assert layout.width(n, dtype) * itemsize % LINE_BYTES == 0
    assert n <= layout.width(n, dtype) < n + layout.line_elements(dtype)
    assert layout.width(n, dtype) == layout.lines(n, dtype) * layout.line_elements(dtype)
    stride = layout.row_stride(n, dtype)
    assert stride >= layout.width(n, dtype)
    assert stride * itemsize % LINE_BYTES == 0
    assert stride * itemsize % 4096


@settings(deadline=None)
@given(sizes=st.lists(WIDTHS, min_size=2, max_size=5), dtype=dtypes, normalised=st.booleans())
def test_parameters_share_nothing(sizes: list[int], dtype: type, normalised: bool) -> None:
    """The flat vector is W, b, W, b, ... without a gap or an overlap, each beginning on a line.

    With normalised layers it is W, b, gain, W, ..., and ends with zeros, from which the sums of these layers start.
    """
    normalised = normalised and len(sizes) > 2
    where = Layout(sizes, dtype, normalised)
    params = layout.aligned_zeros(where.n_params, where.dtype)
    for layer, n_in, n_out in zip(range(1, len(sizes)), sizes[:-1], sizes[1:], strict=False):
        W, b = where.weights(params, layer), where.biases(params, layer)
        assert W.size == n_in * layout.width(n_out, dtype)
        assert b.size == n_out
        assert np.shares_memory(W, params)
        W += 1
        b += 1
        assert W.ctypes.data % LINE_BYTES == b.ctypes.data % LINE_BYTES == 0
        init, end = where.layers[layer]["init_at"], where.layers[layer]["end"]
        own = b
        if normalised and layer < len(sizes) - 1:
            own = where.gains(params, layer)
            assert own.size == n_out and own.ctypes.data % LINE_BYTES == 0
            own += 1
            assert not params[init:].any() and params[init:].size >= layout.width(n_out, dtype)
        else:
            assert init == where.layers[layer]["b_at"]
        assert params[end - layout.width(n_out, dtype) :].ctypes.data == own.ctypes.data
    assert set(np.unique(params)) <= {0, 1}
    padding = sum(layout.width(n, dtype) - n for n in sizes[1:])
    if normalised:
        padding += sum(layout.width(n, dtype) - n for n in sizes[1:-1]) + layout.width(max(sizes[1:-1]), dtype)
    assert (params == 0).sum() == padding


@settings(deadline=None)
@given(
    sizes=st.lists(WIDTHS, min_size=2, max_size=5),
    dtype=dtypes,
    rows=st.integers(1, 50),
    training=st.booleans(),
    slopes=st.booleans(),
    inputs=st.booleans(),
    normalised=st.booleans(),
)
def test_workspace_shares_nothing(
    sizes: list[int], dtype: type, rows: int, training: bool, slopes: bool, inputs: bool, normalised: bool
) -> None:
    """Zeros, rows of every layer, of its deltas and slopes, transposed weights: all apart, inside, on lines."""
    normalised = normalised and len(sizes) > 2
    where = Layout(sizes, dtype, normalised)
    layers, size = where.workspace(rows, training, slopes, inputs)
    n, lines, strides = layers["n"], layers["lines"], layers["stride"]
    a, delta, transposed, slope = layers["a_at"], layers["delta_at"], layers["wt_at"], layers["slope_at"]
    z_hat, scale = layers["z_hat_at"], layers["scale_at"]
    assert n.tolist() == sizes
    assert lines.tolist() == [layout.lines(size, dtype) for size in sizes]
    last = len(sizes) - 1
    regions = [(0, strides[0 if inputs else 1 :].max() if training else 0)]
    for layer in range(last + 1):
        if layer or (training and inputs):
            regions.append((a[layer], rows * strides[layer]))
        if 0 < layer < last and training:
            regions.append((delta[layer], rows * strides[layer]))
            if slopes:
                regions.append((slope[layer], rows * strides[layer]))
            if slopes and normalised:
                regions += [(z_hat[layer], rows * strides[layer]), (scale[layer], rows)]
        if layer > 1 and training:
            regions.append((transposed[layer], sizes[layer] * layout.width(sizes[layer - 1], dtype)))
    assert delta[last] == a[last]
    regions.sort()
    for (start, length), (after, _) in zip(regions, [*regions[1:], (size, 0)], strict=True):
        assert start + length <= after
        assert start * np.dtype(dtype).itemsize % LINE_BYTES == 0
    # A second one doesn't change the first one's offsets.
    before = layers.copy()
    where.workspace(rows + 1, not training)
    assert (layers == before).all()


@each_dtype
def test_a_layout_pickled_by_an_older_version_gets_the_columns_that_it_lacks(dtype: type) -> None:
    """The older layout had no normalised layers, and a matrix of ten columns, of which only the activations count."""
    where = Layout([5, 40, 7, 3], dtype)
    where.layers["activation"][1:] = 3, 2, 0
    old = {name: value for name, value in vars(where).items() if name not in ("normalised", "layers")}
    old["table"] = np.full((4, 10), -1)
    old["table"][:, 8] = where.layers["activation"]
    again = Layout.__new__(Layout)
    again.__setstate__(old)
    assert vars(again).keys() == vars(where).keys()
    assert same_bytes(again.layers, where.layers)
    assert (again.sizes, again.dtype, again.n_params) == (where.sizes, where.dtype, where.n_params)
    assert not again.normalised


@each_dtype
@pytest.mark.parametrize("n", [0, 1, 1000])
def test_aligned_zeros(n: int, dtype: type) -> None:
    for _ in range(20):
        zeros = layout.aligned_zeros(n, np.dtype(dtype))
        assert zeros.shape == (n,)
        assert zeros.dtype == dtype
        assert not zeros.any()
        assert zeros.flags.writeable
        assert n == 0 or zeros.ctypes.data % LINE_BYTES == 0
