"""Checks of arguments that several parts of fastnn make, and errors that they raise in the same words."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np


class DataWarning(UserWarning):
    """Something about the data that a user should know, although it stops nothing."""


def is_whole(value: Any, least: int) -> TypeGuard[int]:
    """Whether `value` is an integer, Python's or NumPy's, of at least `least`. A bool isn't one."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def check_whole(name: str, value: Any, least: int, otherwise: str = "") -> int:
    """`value` as an int.

    Parameters
    ----------
    name : str
        The argument's name; the errors begin with it.
    value : object
    least : int
    otherwise : str, optional
        What else the caller accepts, as the errors name it: " or None".

    Raises
    ------
    TypeError
        If `value` isn't an integer.
    ValueError
        If `value` is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number{otherwise}, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}{otherwise}, got {value}.")
    return int(value)


def check_boolean(name: str, value: Any) -> bool:
    """`value` as a bool; raises a TypeError if it is something else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


class CompilerError(RuntimeError):
    """Numba is set up so that fastnn's kernels can't be compiled; the message names the setting."""


def missing_package(users: str, package: str, extra: str) -> ModuleNotFoundError:
    """The error for `users` ("Plots") that need a package which isn't installed; it names the install command."""
    return ModuleNotFoundError(
        f"{users} need {package}, which isn't installed: pip install 'fastnn-numba[{extra}]'", name=package
    )
