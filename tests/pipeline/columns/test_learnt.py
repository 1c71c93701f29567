"""The columns that a model keeps: their parts in a file, damaged parts and forged ones."""

import random

import numpy as np
import pyarrow as pa
import pytest
from mutations import change
from tables import learnt

from fastnn.pipeline.columns.encoding import Preprocessor


def a_preprocessor() -> Preprocessor:
    table = pa.table(
        {
            "x": [0.1, None, 1e9],
            "t": ["ä", None, "b"],
            "z": [1, 2, 3],
            "flag": [True, False, True],
            "when": pa.array([1, 2, None], pa.timestamp("s")),
        }
    )
    return learnt(table, {"t": {"max_categories": 1}}, n_bins=2)


def test_round_trip_of_parts():
    preprocessor = a_preprocessor()
    tensors, description = preprocessor.tensors(), preprocessor.description()
    assert Preprocessor.from_parts(tensors, description) == preprocessor
    first, second, *others = description
    broken_tensors = [
        {**tensors, name: broken}
        for name, array in tensors.items()
        for broken in (array[:-1], np.append(array, 1), array * np.nan, array.astype(np.float32), array[:, None])
    ]
    broken_tensors += [{n: a for n, a in tensors.items() if n != name} for name in tensors]
    broken_tensors += [
        {**tensors, name: -tensors[name]}
        for name in ("scale", "shares", "edges", "knots")
        if (tensors[name] != 0).any()
    ]
    broken_tensors += [{**tensors, "shares": tensors["shares"] * 0.9}]
    broken_descriptions = [
        *([change] for change in (None, 3, [], {}, {"kind": "number"}, {**first, "kind": []}, {**first, "more": 1})),
        description[:1],
        [],
        None,
        [first, first, *others],
        [{**first, "name": "t"}, second, *others],
        [{**first, "kind": "category"}, second, *others],
        [{**first, "indicator": 1}, second, *others],
        [{**first, "n_edges": first["n_edges"] + 1}, second, *others],
        *([{**first, "n_edges": n}, second, *others] for n in (-1, 2.0, True, 10**30, "3")),
        *([{**first, "n_knots": n}, second, *others] for n in (-1, 2.0, True, 10**30, "3", 1)),
        [first, {**second, "categories": []}, *others],
        *([first, {**second, "categories": c}, *others] for c in ("b", [1], [""], ["b", "b"], ["a", "b"], None)),
        [first, {**second, "other": None}, *others],
    ]
    for broken in broken_tensors:
        with pytest.raises((KeyError, TypeError, ValueError)):
            Preprocessor.from_parts(broken, description)
    for broken in broken_descriptions:
        with pytest.raises((KeyError, TypeError, ValueError)):
            Preprocessor.from_parts(tensors, broken)


def test_forged_parts_are_refused_or_usable():
    preprocessor, chance = a_preprocessor(), random.Random(0)
    used = 0
    for _ in range(2000):
        tensors, entries = preprocessor.tensors(), preprocessor.description()
        if chance.random() < 0.4:
            array = tensors[chance.choice(sorted(tensors))]
            array[chance.randrange(len(array))] = chance.choice([0, 1, -1, np.nan, np.inf, 1e308, 5e-324])
        else:
            change(chance.choice(entries), chance)
        try:
            forged = Preprocessor.from_parts(tensors, entries)
        except (KeyError, TypeError, ValueError):
            continue
        used += 1
        types = {"category": pa.string(), "boolean": pa.bool_()}
        data = {column.name: pa.nulls(3, types.get(column.kind, pa.float64())) for column in forged.columns}
        bad = np.zeros(3, bool)
        assert np.isfinite(forged.transform(pa.RecordBatch.from_pydict(data), np.dtype(np.float32), bad=bad)).all()
    assert 0 < used < 1000
