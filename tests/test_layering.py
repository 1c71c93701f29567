"""Imports point down: no room of the house knows what is above it."""

import ast
import sys
from pathlib import Path

import pytest

import fastnn

PACKAGE = Path(fastnn.__file__).parent

# From the top down. A module may import from its own room and from those below it.
ROOMS = [
    "cli",
    "pipeline",
    "plot",
    "warmup",
    "classifier",
    "regressor",
    "interchange",
    "estimator",
    "trainer",
    "callbacks",
    "stopping",
    "schedule",
    "validation",
    "checkpoint",
    "ensemble",
    "network",
    "onnxfile",
    "modelfile",
    "atomic",
    "interrupts",
    "samples",
    "kernels.ensemble",
    "kernels.normalise",
    "kernels.extras",
    "kernels.narrow",
    "kernels.epoch",
    "kernels.table",
    "kernels.sparse",
    "kernels.forward",
    "kernels.layer",
    "kernels.loss",
    "kernels.activation",
    "kernels.solver",
    "kernels.shuffle",
    "kernels.layout",
    "kernels.team",
    "kernels.arrays",
    "kernels.elementary",
    "kernels.tile",
    "runtime.launch",
    "runtime.machine",
    "runtime.region",
    "runtime.compile_cache",
    "runtime.compiler",
    "runtime.cost",
]
# They only gather names, of what is below and beside them.
FACADES = {"fastnn": "cli", "fastnn.kernels": "kernels.epoch", "fastnn.runtime": "runtime.launch"}

# Who may import what from outside, at the top of the file or within a function.
ONLY = {
    "llvmlite.ir": {"kernels.tile", "kernels.team", "runtime.machine", "runtime.region"},
    "numba.core.caching": {"runtime.compile_cache"},
    "numba.core.codegen": {"runtime.compiler"},
    "numba.core.compiler": {"runtime.compiler"},
    "numba.core.compiler_lock": {"runtime.compiler"},
    "sklearn": {"classifier", "regressor", "interchange", "estimator", "cli"},
    "pyarrow": {"pipeline", "cli"},
    "matplotlib": {"plot"},
    "onnx": {"onnxfile"},
    "typer": {"cli"},
    "rich": {"callbacks", "cli"},
    "safetensors": {"modelfile"},
    "scipy": {"warmup"},
    "pandas": set(),
}
# What a module may import at its top, beside the standard library and fastnn; the rest waits for the function that
# needs it.
EAGER = {
    "cli": {"typer"},
    "pipeline": {"numpy", "pyarrow"},
    "classifier": {"numpy", "sklearn"},
    "regressor": {"numpy", "sklearn"},
    "estimator": {"numpy", "sklearn"},
}
EAGER_ELSEWHERE = {"numpy", "numba", "llvmlite"}

MODULES = {
    ".".join(("fastnn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
each_module = pytest.mark.parametrize("module", MODULES)


def imports(module: str, nodes: list[ast.stmt] | None = None) -> set[str]:
    """What a module imports: of ``from a import b``, a.b where that is a module of ours or of LLVM's, otherwise a."""
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
    """The room that a module is in, or that its facade is the door of."""
    name = FACADES.get(module, module.removeprefix("fastnn."))
    inside = [place for place in ROOMS if name == place or name.startswith(place + ".")]
    assert inside, f"{module} has no place in ROOMS: give it one, below all that import it"
    return inside[0]


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
            # The top package may be asked for names by the command line only.
            assert module in FACADES or room(module) == "cli", f"{module} imports the whole of fastnn"
        if imported != "fastnn":
            assert ROOMS.index(room(imported)) >= here, f"{module} imports {imported}, which is above it"


@each_module
def test_libraries_stay_in_their_rooms(module):
    for imported in imports(module):
        for library, rooms in ONLY.items():
            if imported == library or imported.startswith(library + "."):
                assert room(module) in rooms, f"{module} imports {imported}"


@each_module
def test_what_is_slow_to_import_waits_for_its_function(module):
    tree = ast.parse(MODULES[module].read_text())
    eager = EAGER.get(room(module), EAGER_ELSEWHERE) | {"fastnn"} | set(sys.stdlib_module_names)
    if module == "fastnn":
        eager = {"fastnn", "typing"}
    found = {name.partition(".")[0] for name in imports(module, tree.body)}
    assert found <= eager, f"{module} imports {sorted(found - eager)} at its top"


def test_kernels_know_nothing_of_python_objects_above():
    """The estimator does no arithmetic, and the network no training: what they import says so."""
    assert not {name for name in imports("fastnn.classifier") if name.startswith("fastnn.kernels")} - {
        "fastnn.kernels.activation"  # the names of the activations
    }
    assert "fastnn.kernels.epoch" not in imports("fastnn.network")
