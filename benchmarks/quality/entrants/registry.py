"""The entrants by name.

An entrant's library is imported when the entrant is first used. An entrant of one's own, for a trial, is named
"module:name" where others are named by their names (see `find`).
"""

from __future__ import annotations

import importlib

from benchmarks.quality.entrants.entrant import FASTNN, Entrant

_TREES, _ARRAYS, _TUNED, _OURS = (f"{__package__}.{name}" for name in ("trees", "arrays", "tuned", "ours"))
_PYTABKIT = ("pytabkit", "torch")

# The order of tables of results. What `fastnn.TableClassifier` and `TableRegressor` do with each of their efforts is to
# be added here, with a function each in `ours`.
ENTRANTS = {
    one.name: one
    for one in (
        Entrant("fastnn tables", f"{_OURS}:tables", (FASTNN,)),
        Entrant("fastnn train", f"{_OURS}:command_line", (FASTNN,)),
        Entrant("fastnn MLP", f"{_OURS}:estimator", (FASTNN,)),
        Entrant("LightGBM", f"{_TREES}:lightgbm", ("lightgbm",)),
        Entrant("XGBoost", f"{_TREES}:xgboost", ("xgboost",)),
        Entrant("CatBoost", f"{_TREES}:catboost", ("catboost",)),
        Entrant("HistGradientBoosting", f"{_TREES}:hist_gradient_boosting", ("scikit-learn",)),
        Entrant("LightGBM TD", f"{_TUNED}:lightgbm", (*_PYTABKIT, "lightgbm")),
        Entrant("CatBoost TD", f"{_TUNED}:catboost", (*_PYTABKIT, "catboost")),
        Entrant("RealMLP TD", f"{_TUNED}:realmlp", _PYTABKIT, slow=True),
        Entrant("TabM", f"{_TUNED}:tabm", _PYTABKIT, slow=True),
        Entrant("scikit-learn MLP", f"{_ARRAYS}:mlp", ("scikit-learn",)),
        Entrant("linear", f"{_ARRAYS}:linear", ("scikit-learn",)),
    )
}


def find(name: str) -> Entrant:
    """The entrant of a name, or the one that stands under this name in a module: "module:name".

    Raises
    ------
    KeyError
        If there is none.
    """
    if name in ENTRANTS:
        return ENTRANTS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise KeyError(f"There is no entrant {name!r}. Known are {', '.join(ENTRANTS)}, and module:name.")
    found: Entrant = getattr(importlib.import_module(module), attribute)
    return found
