"""The limits of the package: lengths of files and functions, arguments of a function, and modules in a folder."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fastnn

PACKAGE = Path(fastnn.__file__).parent
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_POSITIONAL_ARGUMENTS = 7
MOST_MODULES_OF_A_FOLDER = 12

# The functions that have to be longer, and why.
LONGER_FUNCTIONS: dict[str, str] = {
    "training/trainer.py:train": "Its signature and docstring name and describe 24 parameters; the code has 20 lines.",
}
# What takes more positional arguments, and why.
MORE_ARGUMENTS: dict[str, str] = {
    "network/network.py:create": "Callers may have passed all eight by position since version 0.1.",
}

each_file = pytest.mark.parametrize("name", FILES)


def functions(name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, also those within classes and other functions."""
    tree = ast.parse(FILES[name].read_text())
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


@each_file
def test_a_file_is_short(name: str) -> None:
    assert len(FILES[name].read_text().splitlines()) <= MOST_LINES_OF_A_FILE


@each_file
def test_functions_are_short(name: str) -> None:
    for function in functions(name):
        assert function.end_lineno is not None
        length = function.end_lineno - function.lineno + 1
        assert length <= MOST_LINES_OF_A_FUNCTION or f"{name}:{function.name}" in LONGER_FUNCTIONS, function.name


@each_file
def test_functions_take_few_positional_arguments(name: str) -> None:
    for function in functions(name):
        positional = [*function.args.posonlyargs, *function.args.args]
        named = [argument.arg for argument in positional if argument.arg not in ("self", "cls")]
        few = len(named) <= MOST_POSITIONAL_ARGUMENTS or f"{name}:{function.name}" in MORE_ARGUMENTS
        assert few, f"{function.name} takes {named}: some of them belong together"


def test_folders_hold_few_modules() -> None:
    for folder in {path.parent for path in FILES.values()}:
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES_OF_A_FOLDER, f"{folder.name} holds {modules}"


def test_every_exception_is_still_needed() -> None:
    lengths = {
        f"{name}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for name in FILES
        for function in functions(name)
    }
    assert all(lengths.get(name, 0) > MOST_LINES_OF_A_FUNCTION for name in LONGER_FUNCTIONS)
