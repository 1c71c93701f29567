"""The example notebook: it runs from top to bottom, and says what its committed outputs say."""

import base64
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from fastnn import kernels

NOTEBOOK = Path(__file__).parents[1] / "examples" / "neural_network.ipynb"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def committed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def seen(cell):
    """What a reader sees below a code cell: its texts, and for an image that there is one."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append((output.name, output.text))
        else:
            shown = {kind: "" if kind.startswith("image/") else data for kind, data in output.data.items()}
            texts.append((output.output_type, shown))
    return texts


def images(notebook):
    return [
        base64.b64decode(output.data["image/png"])
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def test_runs_and_shows_what_is_committed(committed, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # so that no startup files of a user run
    notebook = nbformat.from_dict({**committed, "cells": [without_outputs(cell) for cell in committed.cells]})
    # Without folders to search, the one kernel "python3" is this interpreter's own.
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook, km=manager, timeout=300, coalesce_streams=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(cleanup_kc=True)  # raises CellExecutionError with the cell and its traceback
    for ran, kept in zip(code_cells(notebook), code_cells(committed), strict=True):
        assert seen(ran) == seen(kept), f"run the notebook again and commit it: another output of\n{kept.source}"
        assert all(output.get("name") != "stderr" for output in ran.outputs), "a cell warns"


def without_outputs(cell):
    return {**cell, "outputs": [], "execution_count": None} if cell.cell_type == "code" else cell


def test_committed_after_one_run_from_top_to_bottom(committed):
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        if "print(" in cell.source or "plt.show()" in cell.source:
            assert cell.outputs, cell.source
        if "plt.show()" in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
    assert len(images(committed)) == 2
    assert all(image.startswith(PNG_SIGNATURE) for image in images(committed))


def test_committed_without_traces_of_a_machine(committed):
    assert committed.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata == {} for cell in committed.cells)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    assert not any(trace in text for trace in ("/home/", "/tmp/", "/Users/", "site-packages"))


def test_every_kernel_is_shown(committed):
    source = "\n".join(cell.source for cell in code_cells(committed))
    assert [name for name in kernels.__all__ if f"{name}(" not in source] == []
