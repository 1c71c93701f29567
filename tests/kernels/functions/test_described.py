"""The public functions' docstrings: complete, in numpydoc's sections, though a part of them is added on import."""

from __future__ import annotations

import inspect

import pytest

from fastnn import kernels
from fastnn.kernels.functions.described import described


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_parameter_and_error_is_described(name: str) -> None:
    function = getattr(kernels, name)
    description = inspect.getdoc(function) or ""
    sections = [section for section in ("Parameters", "Returns", "Raises") if f"\n{section}\n---" in description]
    assert sections == ["Parameters", *(["Returns"] if name != "sgd_step" else []), "Raises"]
    places = [description.index(f"\n{section}\n") for section in sections]
    assert places == sorted(places)
    for parameter in inspect.signature(function).parameters:
        assert description.count(f"\n{parameter} : ") == 1
    for error in ("TypeError", "ValueError"):
        assert description.count(f"\n{error}\n    If ") == 1
    if "out" in inspect.signature(function).parameters:
        assert description.count("Where to put the result.") == 1


def test_python_without_docstrings() -> None:
    def bare() -> None:
        pass

    assert described(bare).__doc__ is None
