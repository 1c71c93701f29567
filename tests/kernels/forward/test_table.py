"""The rows of tables: against a loop in Python, within their arrays; and their scores, against the network's own."""

from itertools import pairwise

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastnn.kernels.arrays import aligned_empty
from fastnn.kernels.equations.activation import CODES
from fastnn.kernels.forward.rows import OUTPUTS
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
from fastnn.network.network import Network
from fastnn.runtime.launch import launch

LARGE = st.sampled_from([1e38, 3.5e38, -1e39, 1e308, -np.inf])
VALUES = st.floats(-1e6, 1e6) | st.just(np.nan) | LARGE


@st.composite
def encodings(draw):
    """Columns' values, the description of each, and a dtype."""
    n_rows = draw(st.sampled_from([0, 1, 5, 63, 64, 65, 128, 300]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(["float32", "float64"])))
    columns, knots, first = [], [], 0
    for _ in range(draw(st.integers(1, 6))):
        missing = draw(st.booleans())
        if draw(st.booleans()):
            few = np.array(draw(st.lists(VALUES, min_size=1, max_size=6)))
            values = rng.choice(few, n_rows)
            is_single = dtype == np.float32 and draw(st.booleans())
            if is_single:
                with np.errstate(over="ignore"):
                    values = values.astype(np.float32)
            knots.append(np.sort(rng.normal(size=rng.integers(2, 9)) if draw(st.booleans()) else []))
            n_bins = max(0, len(knots[-1]) - 1)
            columns.append((values, (first, 0, -1, first + 1 + n_bins if missing else -1, int(is_single))))
            first += 1 + n_bins + missing
        else:
            width, other = draw(st.integers(1, 20)), draw(st.booleans())
            codes = rng.choice([np.nan, -1.0, *range(width)], n_rows)
            extra = (first + width if other else -1, first + width + other if missing else -1)
            columns.append((codes, (first, width, *extra, 0)))
            knots.append(np.empty(0))
            first += width + other + missing
    numbers = [(rng.normal(), rng.random() + 0.5, rng.normal()) for _ in columns]
    return columns, numbers, knots, first, n_rows, dtype


def expected(columns, numbers, knots, n_inputs, n_rows, dtype):
    rows, bad = np.zeros((n_rows, n_inputs), dtype), np.zeros(n_rows, bool)
    strange = []
    for (found, (first, width, other, missing, _)), (centre, factor, fill), ends in zip(
        columns, numbers, knots, strict=True
    ):
        values = found.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.where(np.isnan(values), fill, (values - centre) * factor).astype(dtype)
        if not width:
            strange.append(np.sum(~np.isfinite(scaled)))
            bad |= ~np.isfinite(scaled)
        else:
            strange.append(0)
        for i, value in enumerate(values):
            if np.isnan(value) and missing >= 0:
                rows[i, missing] = 1
            if not width:
                rows[i, first] = scaled[i]
                for k, (low, high) in enumerate(pairwise(np.asarray(ends).tolist())):
                    share = (float(typical(ends) if np.isnan(value) else value) - low) * (1 / (high - low))
                    rows[i, first + 1 + k] = min(max(share, 0.0), 1.0)
            elif value >= 0:
                rows[i, first + int(value)] = 1
            elif value == -1 and other >= 0:
                rows[i, other] = 1
    rows[bad] = 0
    return rows, bad, strange


def typical(ends):
    """What stands for a missing value in the bins between these ends."""
    return ends.mean() if len(ends) else 0.0


def table_of(drawn, parts):
    """The rows as the kernels take them."""
    columns, numbers, knots, n_inputs, n_rows, _ = drawn
    stride = n_rows + 3
    values, singles = np.full((len(columns), stride), 7.0), [np.empty(0, np.float32) for _ in range(MOST_SINGLES)]
    for i, (column, _) in enumerate(columns):
        if column.dtype == np.float32:
            singles[i] = np.append(np.float32([7, 7]), column)  # the rows are from number 2 on
        else:
            values[i, :n_rows] = column
    for single in singles:
        single.flags.writeable = False
    n_bins = [max(0, len(ends) - 1) for ends in knots]
    firsts = np.cumsum([0, *n_bins])
    more = [(n_bins[i], firsts[i], typical(knots[i])) for i in range(len(columns))]
    records = np.array([(*places, i, *numbers[i], *more[i]) for i, (_, places) in enumerate(columns)], COLUMN)
    bins = np.array([number for ends in knots for low, high in pairwise(ends) for number in (low, 1 / (high - low))])
    strange, bad = np.zeros(parts * len(columns), np.int64), np.zeros(n_rows, bool)
    offsets = np.zeros(len(singles), np.int64)
    return Columns(values.reshape(-1), tuple(singles), offsets, records, bins, strange, bad, n_inputs, stride, 2)


@settings(deadline=None)
@given(encodings())
def test_rows_against_a_loop(drawn):
    *_, n_inputs, n_rows, dtype = drawn
    table = table_of(drawn, 1)
    rows, memory = np.full(n_rows * n_inputs, np.nan, dtype), np.full(BLOCK * n_inputs, np.nan, dtype)
    launch(encode, Encoding(rows, table, memory), 1, dtype)
    right_rows, right_bad, right_strange = expected(*drawn)
    np.testing.assert_array_equal(rows.reshape(n_rows, n_inputs), right_rows)
    np.testing.assert_array_equal(table.bad, right_bad)
    assert table.non_finite.tolist() == right_strange


@settings(deadline=None)
@given(encodings(), st.lists(st.integers(1, 70), min_size=1, max_size=3), st.sampled_from(sorted(CODES)), st.data())
def test_scores_are_the_network_s_own_to_the_last_bit(drawn, widths, activation, data):
    output = data.draw(st.sampled_from(["softmax", "identity"]))
    *_, n_inputs, n_rows, dtype = drawn
    columns, numbers, knots = drawn[:3]
    rows, bad, strange = expected(*drawn)
    assume(np.abs(rows).max(initial=0) < 1e30)
    net = Network.create([n_inputs, *widths], activation, dtype=dtype, output=output)
    parts = data.draw(st.integers(1, 2))
    layout, size = net.layout.columns(BLOCK, training=False)
    memory, apart = aligned_empty(parts * (size + 16), dtype), n_rows + 3
    results = np.full(widths[-1] * apart, np.nan, dtype)
    table = table_of(drawn, parts)
    args = TableScoring(net.params, layout, table, results, apart, memory, size + 16, OUTPUTS[output])
    parts = launch(score_table, args, parts, dtype)
    assert not memory[size + 15 : parts * (size + 16) : size + 16].any()
    # Each part counts for itself, in whole blocks.
    n_blocks = -(-n_rows // BLOCK)
    for part in range(parts):
        first, last = (n_blocks * each // parts * BLOCK for each in (part, part + 1))
        own = [(values[first:last], places) for values, places in columns]
        counted = expected(own, numbers, knots, n_inputs, len(own[0][0]), dtype)[2]
        assert table.non_finite.reshape(-1, len(strange))[part].tolist() == counted
    found = results.reshape(widths[-1], apart)
    np.testing.assert_array_equal(found[:, :n_rows].T, net.outputs(rows))
    assert np.isnan(found[:, n_rows:]).all()
    np.testing.assert_array_equal(table.bad, bad)
