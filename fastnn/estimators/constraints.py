"""scikit-learn's constraints for the estimators' parameters, from the table of options."""

from __future__ import annotations

import numbers
from typing import Any

from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastnn.training.option import Accepted, Choice, Flag, Real, Whole
from fastnn.training.option_table import Interface, accepted, options_of


def constraints(interface: Interface) -> dict[str, list[Any]]:
    """The constraints of each parameter of an estimator, ranges of numbers last.

    scikit-learn's error messages list the constraints in this order.
    """
    every = {
        name: [constraint for each in accepted(interface, name) for constraint in _constraints(each)]
        for name in options_of(interface)
    }
    return {
        name: sorted(found, key=lambda each: isinstance(each, Interval) or type(each) is Options)
        for name, found in every.items()
    }


def _constraints(accepts: Accepted) -> list[Any]:
    match accepts:
        case Real():
            high = None if accepts.high == float("inf") else accepts.high
            return [Interval(numbers.Real, accepts.low, high, closed=accepts.closed)]
        case Whole():
            return [Interval(numbers.Integral, accepts.low, None, closed="left")]
        case Flag():
            return ["boolean"]
        case Choice():
            return [StrOptions(set(accepts.values))]
    return [Options(numbers.Real, {each}) if isinstance(each, float) else each for each in accepts.constraints]
