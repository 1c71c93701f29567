"""Copies of a template: what is put in, what they are called, and what is refused."""

import pytest

from fastnn.runtime.template import instance


def _part(x: int) -> int:
    return x


def _template(x: int) -> int:
    return _part(x) + 1


def double(x: int) -> int:
    return 2 * x


def test_a_body_stands_in_the_templates_place():
    copy = instance(_template, _part=double)
    assert copy(5) == 11 and _template(5) == 6
    assert copy.__name__ == "double_template"
    assert instance(_template, "wide", _part=double).__name__ == "wide_template"


def test_bodies_of_equal_name_in_two_files_have_two_names_on_disk():
    def other(x: int) -> int:
        return x

    other.__name__, other.__module__ = "double", "elsewhere." + double.__module__.rpartition(".")[2]
    assert instance(_template, _part=other).__qualname__ != instance(_template, _part=double).__qualname__


@pytest.mark.parametrize("bodies", [{"_prat": double}, {"_part": double, "x": double}, {}])
def test_a_name_that_the_template_does_not_use_is_an_error(bodies):
    with pytest.raises(TypeError, match=r"template _template"):
        instance(_template, **bodies)
