"""scikit-learn's validation of data, behind checks of what it lets pass or fails at in its own code."""

from __future__ import annotations

import math
from typing import Any

from sklearn.utils.validation import _check_sample_weight, validate_data

from fastnn.network.conversion import refuse_unusable
from fastnn.network.given import refuse_meanings


def checked_data(estimator: Any, X: Any, *y: Any, **how: Any) -> Any:
    """The result of `validate_data`: X, or X and y."""
    refuse_unusable(X)
    try:
        return validate_data(estimator, X, *y, accept_sparse="csr", **how)
    except OverflowError:
        raise ValueError("X or y holds whole numbers that are too large for float64.") from None


def checked_weight(sample_weight: Any, X: Any) -> Any:
    """The weights of the samples X; None if there are none."""
    if sample_weight is None:
        return None
    refuse_meanings("sample_weight", sample_weight)
    try:
        return _check_sample_weight(sample_weight, X)
    except OverflowError:
        raise ValueError("sample_weight holds whole numbers that are too large for float64.") from None


def check_class_weight(weights: dict[Any, Any]) -> None:
    """Raise a TypeError or a ValueError unless each class's weight is a finite number."""
    for label, weight in weights.items():
        try:
            finite = math.isfinite(weight)
        except TypeError:
            raise TypeError(f"class_weight must hold a number for each class, got {weight!r} for {label!r}.") from None
        except OverflowError:
            finite = False
        if not finite:
            raise ValueError(f"class_weight must hold a finite number for each class: that of {label!r} isn't finite.")
