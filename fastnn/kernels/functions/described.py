"""What the docstrings of the public functions have in common, said once and added when this package is imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_OUT = """
    Where to put the result. It may overlap the operands."""

_RAISES = """

Raises
------
TypeError
    If an operand's dtype is neither float32 nor float64, or differs from that of the operands before it; if `out` isn't
    an array of that dtype.
ValueError
    If the shapes don't fit together; if `out` has another shape than the result or is read-only."""


def described(function: Function) -> Function:
    """Add to a function's docstring what `out` is for, and the errors if the docstring has no section of its own."""
    if function.__doc__ is None:  # python -OO
        return function
    description = inspect.cleandoc(function.__doc__)
    before, out, after = description.partition("\nout : ")
    kind, *following = after.split("\n")
    if out:
        description = "\n".join([before + out + kind + _OUT, *following])
    function.__doc__ = description if "\nRaises\n" in description else description + _RAISES
    return function


def takes_what(other: Callable[..., Any]) -> Callable[[Function], Function]:
    """`described`, for a function that takes what `other` takes: the section "Parameters" is that of `other`."""

    def decorate(function: Function) -> Function:
        if function.__doc__ and other.__doc__:
            summary, returns = inspect.cleandoc(function.__doc__).split("\n\nReturns\n")
            parameters = other.__doc__[other.__doc__.index("\n\nParameters\n") : other.__doc__.index("\n\nReturns\n")]
            function.__doc__ = f"{summary}{parameters}\n\nReturns\n{returns}{_RAISES}"
        return function

    return decorate
