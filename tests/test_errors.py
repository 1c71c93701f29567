"""Checks and errors that several folders of the package share."""

import numpy as np
import pytest

from fastnn.errors import check_boolean, check_whole, is_whole, missing_package


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers(value):
    assert is_whole(value, 3) and not is_whole(value, 4)
    number = check_whole("n", value, 3)
    assert number == 3 and type(number) is int
    with pytest.raises(ValueError, match="n must be at least 4, got 3"):
        check_whole("n", value, 4)


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, "3", None])
def test_other_things_are_no_whole_numbers(value):
    assert not is_whole(value, 0)
    with pytest.raises(TypeError, match="n must be a whole number"):
        check_whole("n", value, 0)


def test_booleans():
    assert check_boolean("flag", np.bool_(True)) is True and check_boolean("flag", False) is False
    with pytest.raises(TypeError, match="flag must be True or False, got 1"):
        check_boolean("flag", 1)


def test_a_missing_package_is_named_with_its_command():
    error = missing_package("Plots", "matplotlib", "plot")
    assert error.name == "matplotlib"
    assert str(error) == "Plots need matplotlib, which isn't installed: pip install 'fastnn-numba[plot]'"
