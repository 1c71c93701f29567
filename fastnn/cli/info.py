"""The command info."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastnn.cli import arguments
from fastnn.cli.terminal import show


def info(model: arguments.AnyModelFile = None, json: arguments.Json = False) -> None:
    """Describe a model file, or the installation and the machine."""
    facts = _about_machine() if model is None else _about_model(model)
    width = max(len(name) for name in facts)
    text = "\n".join(f"{name.replace('_', ' '):<{width}}  {_in_words(value)}" for name, value in facts.items())
    show(facts, json, text)


def _about_model(path: str) -> dict[str, Any]:
    from fastnn.files import kinds, modelfile

    name, size, tensors, description = _read(path)
    try:
        facts = _said(description)
        if description.get("kind") == kinds.CHECKPOINT:
            facts |= {"epochs": tensors["numbers.losses"].size, "finished": description.get("finished")}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise modelfile.ModelFileError(f"{name} is damaged: its description makes no sense ({error!r}).") from None
    return {"file": name, "bytes": size, **facts}


def _read(path: str) -> tuple[str, int, dict[str, Any], dict[str, Any]]:
    """A model file's name, size, tensors and description. Only a file that isn't on the local disk needs pyarrow."""
    from fastnn.files import modelfile

    if "://" not in path:
        return path, os.path.getsize(path) if os.path.exists(path) else 0, *modelfile.load(path)
    from fastnn.pipeline.io.places import place_of
    from fastnn.pipeline.model import read_model_file

    content, place = read_model_file(path), place_of(path)
    return place.name, place.status()["size"], *content


def _said(description: Mapping[str, Any]) -> dict[str, Any]:
    """What a model file's description says; a KeyError, TypeError or the like if it can't be a model's description."""
    from fastnn.files import kinds

    network = description.get("network", description)
    facts = {
        "kind": description.get("kind"),
        "sizes": network.get("sizes"),
        "activation": network.get("activation"),
        "dtype": network.get("dtype"),
        "parameters": network.get("n_members", 1)
        * sum(n_in * n_out + n_out for n_in, n_out in pairwise(network.get("sizes") or [])),
        "classes": (network.get("classes") or {}).get("labels"),
    }
    if "n_members" in network:
        facts |= {"members": network["n_members"]}
    if description.get("kind") == kinds.PIPELINE:
        facts |= {
            "target": description.get("target"),
            **({"csv_files": description["dialect"]} if "dialect" in description else {}),
            "columns": {column["name"]: f"{column['kind']} ({column['type']})" for column in description["schema"]},
        }
    return facts


def _about_machine() -> dict[str, Any]:
    import importlib.metadata
    import platform

    import numba

    from fastnn.runtime.compile_cache import cache_directory
    from fastnn.runtime.threads import available_threads

    versions = {"python": platform.python_version()}
    for package in ("fastnn-numba", "numpy", "numba", "llvmlite", "scikit-learn", "pyarrow", "matplotlib"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    numba.get_num_threads()  # starts Numba's threads, before which the threading layer has no name
    directory = cache_directory()
    return {
        **versions,
        "threads": available_threads(),
        "threading_layer": numba.threading_layer(),
        "compile_cache": None if directory is None else str(directory),
        "compile_cache_bytes": 0 if directory is None else _size(directory),
    }


def _size(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(folder, name))
            except OSError:  # another process has just replaced it
                continue
    return total


def _in_words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "".join(f"\n  {name}: {entry}" for name, entry in value.items())
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return str(value)
