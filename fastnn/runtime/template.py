"""Templates: functions that are copied with other functions in the place of some of their globals."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any


def instance(template: Callable[..., Any], name: str = "", **bodies: Any) -> Callable[..., Any]:
    """Copy a template, with `bodies` in the place of the globals of the same names.

    The copy gets a name of its own: `name`, or the first body's name, followed by the template's. With the full name of
    the first body's module, this name tells the copies' cache files apart, because Numba's key contains neither
    `parallel` nor the bodies. A global, unlike a closure over a dispatcher, has the same hash in every process.

    Raises
    ------
    TypeError
        If the template's code doesn't use one of the names: the copy would silently run the template's own function.
    """
    assert isinstance(template, FunctionType)
    unused = sorted(bodies.keys() - set(template.__code__.co_names))
    if unused or not bodies:
        raise TypeError(
            f"The template {template.__qualname__} doesn't use {', '.join(unused)}."
            if unused
            else f"An instance of the template {template.__qualname__} needs at least one body."
        )
    first = next(iter(bodies.values()))
    name = f"{name or first.__name__}{template.__name__}"
    copy = FunctionType(template.__code__, {**template.__globals__, **bodies}, name)
    copy.__qualname__ = f"{first.__module__}.{name}"
    return copy
