"""The entrants of the benchmark of quality: each learns from a frame as it is."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.entrants import registry
from benchmarks.quality.entrants.entrant import Conditions, Entrant
from benchmarks.quality.entrants.registry import ENTRANTS
from benchmarks.quality.tables.splits import Rows

pd = pytest.importorskip("pandas")


def rows(task: str, n: int = 400) -> Rows:
    """A table with a number, holes, and words, from which most of the target can be told."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a [b]": rng.normal(size=n), "hole": rng.normal(size=n)})
    X["word"] = pd.Series(rng.choice(["x", "y", None], n)).astype("category")
    X["many"] = pd.Series([f"m{i % 300}" for i in range(n)]).astype("category")
    y = X["a [b]"].to_numpy() + 2.0 * (X["word"] == "x").to_numpy() + 0.1 * rng.normal(size=n)
    X.loc[::9, "hole"] = np.nan
    if task == "regression":
        return Rows(task, 0, X, y)
    n_classes = 2 if task == "binary" else 3
    edges = np.quantile(y, np.arange(1, n_classes) / n_classes)
    return Rows(task, n_classes, X, np.searchsorted(edges, y))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", [name for name, one in ENTRANTS.items() if not one.slow])
@pytest.mark.filterwarnings("ignore")
def test_each_entrant_learns_from_a_frame_with_holes_and_words(name: str, task: str) -> None:
    one = ENTRANTS[name]
    if one.missing():
        pytest.skip(f"{', '.join(one.missing())} isn't installed")
    table = rows(task)
    predict = one.fit(table, Conditions(threads=1, seed=0))
    new = table.X.iloc[:50].reset_index(drop=True)
    # A word that is new, and columns whose categories are others and in another order.
    new = new.assign(word=new["word"].astype(object).replace("x", "new").astype("category"))
    assert len(predict(new)) == 50
    predicted = predict(table.X)
    if task == "regression":
        assert np.mean((predicted - table.y) ** 2) < 0.7 * np.var(table.y)
    else:
        assert predicted.shape == (400, table.n_classes)
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
        assert np.mean(predicted.argmax(axis=1) == table.y) > 0.6


def half_known(rows: Rows, conditions: Conditions) -> Any:
    """An entrant of a test's own."""
    return lambda X: np.full((len(X), 2), 0.5)


HALF_KNOWN = Entrant("half known", f"{__name__}:half_known", ())


def test_an_entrant_of_ones_own_is_found_by_module_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(one=HALF_KNOWN))
    assert registry.find("mine:one") is HALF_KNOWN
    with pytest.raises(KeyError, match="nobody"):
        registry.find("nobody")


def test_versions_name_what_was_measured() -> None:
    assert ENTRANTS["linear"].version().startswith("scikit-learn 1.")
    assert "+" in ENTRANTS["fastnn tables"].version()  # the digest of the sources
    assert Entrant("x", "y:z", ("no-such-distribution",)).missing() == ["no-such-distribution"]
