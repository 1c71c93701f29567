"""Imports point down the list of rooms: no room imports from a room that is above it."""

import ast
import sys
from pathlib import Path

import pytest

import fastnn

PACKAGE = Path(fastnn.__file__).parent

# A room is a folder or a module of the package. The list goes from the top down: a module may import from its own room
# and from those below it.
ROOMS = [
    "cli",
    "pipeline.jobs",
    "pipeline.learning",
    "pipeline.model",
    "pipeline.io",
    "pipeline.columns",
    "plot",
    "warmup",
    "estimators",
    "training",
    "callbacks",
    "network",
    "files",
    "kernels.programs",
    "kernels.epoch",
    "kernels.forward",
    "kernels.functions",
    "kernels.equations",
    "kernels.layout",
    "kernels.arguments",
    "kernels.arrays",
    "kernels.simd",
    "runtime",
    "former_names",
    "errors",
]
# Packages that only gather names, and the room that each of them belongs to.
FACADES = {
    "fastnn": "cli",
    "fastnn.pipeline": "pipeline.jobs",
    "fastnn.kernels": "kernels.programs",
}

# The rooms that may import a library or a part of it, at the top of a file or within a function.
ONLY = {
    "llvmlite.ir": {"kernels.simd", "kernels.epoch", "runtime"},
    "numba.core.caching": {"runtime"},
    "numba.core.codegen": {"runtime"},
    "numba.core.compiler": {"runtime"},
    "numba.core.compiler_lock": {"runtime"},
    "sklearn": {"estimators", "cli"},
    "pyarrow": {"pipeline", "cli"},
    "matplotlib": {"plot"},
    "onnx": {"files"},
    "typer": {"cli"},
    "rich": {"callbacks", "cli"},
    "safetensors": {"files"},
    "scipy": {"warmup"},
    "pandas": set(),
}
# What a module may import at its top, beside the standard library and fastnn; the rest waits for the function that
# needs it.
EAGER = {"cli": {"typer"}, "pipeline": {"numpy", "pyarrow"}, "estimators": {"numpy", "sklearn"}}
EAGER_ELSEWHERE = {"numpy", "numba", "llvmlite"}

MODULES = {
    ".".join(("fastnn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
each_module = pytest.mark.parametrize("module", MODULES)


def imports(module: str, nodes: list[ast.stmt] | None = None) -> set[str]:
    """What a module imports. ``from a import b`` is a.b if this is a module of fastnn or llvmlite.ir, otherwise a."""
    tree = ast.parse(MODULES[module].read_text())
    found = set()
    for node in nodes if nodes is not None else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES or full == "llvmlite.ir" else str(node.module))
    return found


def room(module: str) -> str:
    """The room that a module is in; for a facade, the room that `FACADES` gives."""
    name = FACADES.get(module, module.removeprefix("fastnn."))
    inside = [place for place in ROOMS if name == place or name.startswith(place + ".")]
    assert inside, f"{module} is in none of the ROOMS: add it, below all rooms that import it"
    return inside[0]


def wing(module: str) -> str:
    """The folder directly below `fastnn` that a module is in, or the module itself if it is in no folder."""
    return room(module).partition(".")[0]


def within(module: str, rooms: set[str]) -> bool:
    """Whether a module is in one of these rooms or of these folders directly below `fastnn`."""
    return room(module) in rooms or wing(module) in rooms


def test_every_room_exists():
    assert {room(module) for module in MODULES} == set(ROOMS)


@each_module
def test_imports_point_down(module):
    here = ROOMS.index(room(module))
    for imported in imports(module):
        if imported.partition(".")[0] != "fastnn":
            continue
        assert imported in MODULES, f"{module} imports {imported}, which doesn't exist"
        if module in FACADES or imported == "fastnn":
            # Only the command line may import names from the top package.
            assert module in FACADES or room(module) == "cli", f"{module} imports the whole of fastnn"
        if imported != "fastnn":
            assert ROOMS.index(room(imported)) >= here, f"{module} imports {imported}, which is above it"


def test_no_circle_of_imports():
    """No two modules need each other, not even by way of imports within functions."""
    needs = {module: {name for name in imports(module) if name in MODULES} for module in MODULES}
    while True:
        free = {module for module, needed in needs.items() if not needed & needs.keys()}
        if not free:
            break
        needs = {module: needed for module, needed in needs.items() if module not in free}
    assert not needs, f"these modules are in a circle of imports, or import modules of one: {sorted(needs)}"


@each_module
def test_libraries_stay_in_their_rooms(module):
    for imported in imports(module):
        for library, rooms in ONLY.items():
            if imported == library or imported.startswith(library + "."):
                assert within(module, rooms), f"{module} imports {imported}"


@each_module
def test_what_is_slow_to_import_waits_for_its_function(module):
    tree = ast.parse(MODULES[module].read_text())
    eager = EAGER.get(wing(module), EAGER_ELSEWHERE) | {"fastnn"} | set(sys.stdlib_module_names)
    if module == "fastnn":
        eager = {"fastnn", "importlib", "typing"}
    found = {name.partition(".")[0] for name in imports(module, tree.body)}
    assert found <= eager, f"{module} imports {sorted(found - eager)} at its top"


def test_the_estimators_do_no_arithmetic_on_samples():
    """Of the kernels, the estimators import nothing but the activations' names."""
    for module in MODULES:
        if wing(module) == "estimators":
            kernels = {name for name in imports(module) if name.startswith("fastnn.kernels")}
            assert not kernels - {"fastnn.kernels.equations.activation"}
        if wing(module) == "network":
            assert not any(name.startswith("fastnn.kernels.epoch") for name in imports(module))
