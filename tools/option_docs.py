"""Write the options' docstrings from the table of options: ``python tools/option_docs.py``.

The sections "Parameters" of the interfaces are written out in the code, so that every reader and editor shows them.
Their text comes from `fastnn.training.option_table`. With ``--check`` nothing is written, and the exit status tells
whether there is something to write.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import operator
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from fastnn.training.option_table import CLASSIFIER, FIT, PLAN, REGRESSOR, TRAIN, Interface, options_of

PACKAGE = Path(__file__).parents[1] / "fastnn"
# The functions and classes whose docstrings describe the options of an interface.
PLACES = {
    "training/trainer.py": {"train": TRAIN},
    "estimators/classifier.py": {"MLPClassifier": CLASSIFIER},
    "estimators/regressor.py": {"MLPRegressor": REGRESSOR},
    "estimators/base.py": {"BaseMLP.fit": FIT},
    "pipeline/learning/plan.py": {"Plan": PLAN},
}


def described(interface: Interface, names: Iterable[str]) -> list[str]:
    """Those of the names that an interface's docstring describes. The regressor's leaves out the classifier's."""
    return [name for name in names if interface is not REGRESSOR or name not in options_of(CLASSIFIER)]


def entry(interface: Interface, name: str, indent: str) -> list[str]:
    """The lines that describe an option, in numpydoc's form."""
    option, use = options_of(interface)[name]
    words = " or ".join(each.words for each in use.accepts or option.accepts)
    words = words.replace(" or ", ", ", words.count(" or ") - 1)
    default = f'"{use.default}"' if isinstance(use.default, str) else repr(use.default).replace("e-0", "e-")
    # Functions show their defaults in the signature. Of a class, scikit-learn's readers look for them here.
    words += f", default={default}" if interface in (CLASSIFIER, REGRESSOR) else ""
    text = " ".join(filter(None, (use.summary or option.summary, option.details, use.note)))
    code_in_one_piece = re.sub("``.*?``", lambda code: code[0].replace(" ", "\0"), text)
    wrapped = textwrap.wrap(code_in_one_piece, 116 - len(indent), break_long_words=False, break_on_hyphens=False)
    # As in scikit-learn, a backslash at a line's end continues a type that is too long for one line.
    head = textwrap.wrap(f"{name} : {words}", 118 - len(indent), subsequent_indent="        ", break_on_hyphens=False)
    first, *rest = f" \\\n{indent}".join(head).split("\n")
    return [f"{indent}{first}", *rest, *(f"{indent}    {line}".replace("\0", " ") for line in wrapped)]


def section(lines: list[str], interface: Interface, names: list[str], indent: str) -> list[str]:
    """The lines of a section "Parameters", with new entries for the options, in the signature's order."""
    starts = [i for i, line in enumerate(lines) if not line.startswith(indent + " ")]
    # An entry may describe several parameters; it stands where the first of them does.
    entries = {
        re.split("[ ,:]", lines[i].strip())[0]: lines[i:j]
        for i, j in zip(starts, [*starts[1:], len(lines)], strict=True)
    }
    entries |= {name: entry(interface, name, indent) for name in names if name in options_of(interface)}
    return [line for name in names for line in entries.get(name, [])]


def rewritten(name: str, source: str, interfaces: dict[str, Interface]) -> str:
    """The source of the module at this path, with the options of some functions and classes described anew."""
    module = importlib.import_module("fastnn." + name.removesuffix(".py").replace("/", "."))
    lines = source.splitlines()
    nodes = {node.name: node for node in ast.parse(source).body if hasattr(node, "name")}
    for outer, node in [*nodes.items()]:
        nodes |= {f"{outer}.{inner.name}": inner for inner in node.body if hasattr(inner, "name")}
    # From the end to the start, so that the numbers of lines above stay right.
    for place, interface in sorted(interfaces.items(), key=lambda each: -nodes[each[0]].lineno):
        names = described(interface, inspect.signature(operator.attrgetter(place)(module)).parameters)
        docstring = nodes[place].body[0]
        indent = " " * docstring.col_offset
        first = lines.index(f"{indent}Parameters", docstring.lineno) + 2
        last = min(i for i in range(first, docstring.end_lineno) if lines[i].strip() in ("", '"""'))
        lines[first:last] = section(lines[first:last], interface, names, indent)
    return "\n".join(lines) + "\n"


def main(check: bool) -> int:
    """Rewrite all docstrings, or tell whether that would change anything."""
    stale = 0
    for name, interfaces in PLACES.items():
        path = PACKAGE / name
        source = path.read_text()
        if (new := rewritten(name, source, interfaces)) != source:
            stale += 1
            if not check:
                path.write_text(new)
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
