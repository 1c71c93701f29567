"""The kinds of model files. If a file is of another kind than its reader expects, the error says how to load it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastnn.files.modelfile import ModelFileError

NETWORK, ENSEMBLE, PIPELINE, CHECKPOINT = "network", "ensemble", "pipeline", "checkpoint"

_ADVICE = {
    NETWORK: "this is the model of one network: load it with fastnn.Network.load.",
    ENSEMBLE: "this is the model of an ensemble: load it with fastnn.Ensemble.load.",
    PIPELINE: (
        "this model carries its preprocessing: load it with fastnn.pipeline.Model.load, or score with `fastnn predict`."
    ),
    CHECKPOINT: "this is a checkpoint of a training, not a model: name it to `train` or `fit` again.",
}


def check_kind(description: Mapping[str, Any], expected: str, path: str | os.PathLike[str] | None = None) -> None:
    """Raise a ModelFileError unless a model file's description is of the kind `expected`.

    Parameters
    ----------
    description : mapping
        As `modelfile.load` returns it.
    expected : str
    path : str or path-like, optional
        The file; the message begins with its name.
    """
    kind = description.get("kind")
    if kind == expected:
        return
    if not isinstance(kind, str) or kind not in _ADVICE:
        message = f"the file's kind is {kind!r}, not {expected!r}."
    elif expected == CHECKPOINT:
        message = "this is no checkpoint but a model: name another file."
    else:
        message = _ADVICE[kind]
    raise ModelFileError(message if path is None else f"{path}: {message}")
