"""Modules under the names that they had in earlier versions, for the pickles that name them.

A pickle of an estimator, a network or a table's model names the module of each of its classes. When Python doesn't find
a module by its former name, the finder below supplies a stand-in that takes every attribute from today's module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# From a former name to today's, for every module with a class that a pickle may hold. `fastnn.network` and
# `fastnn.pipeline.columns` are packages now, and import the classes that were in the modules of these names.
FORMER_NAMES = {
    "fastnn.classifier": "fastnn.estimators.classifier",
    "fastnn.regressor": "fastnn.estimators.regressor",
    "fastnn.estimator": "fastnn.estimators.base",
    "fastnn.trainer": "fastnn.training.trainer",
    "fastnn.checkpoint": "fastnn.training.checkpoint",
    "fastnn.stopping": "fastnn.training.stopping",
    "fastnn.schedule": "fastnn.training.schedule",
    "fastnn.validation": "fastnn.training.validation",
    "fastnn.ensemble": "fastnn.network.ensemble",
    "fastnn.samples": "fastnn.network.samples",
    "fastnn.modelfile": "fastnn.files.modelfile",
    "fastnn.kernels.elementary": "fastnn.kernels.equations.elementary",
    "fastnn.pipeline.schema": "fastnn.pipeline.columns.schema",
    "fastnn.pipeline.labels": "fastnn.pipeline.columns.labels",
    # `preprocess` also held the classes that are in `learnt` now, and `encoding` imports them.
    "fastnn.pipeline.preprocess": "fastnn.pipeline.columns.encoding",
    "fastnn.pipeline.statistics": "fastnn.pipeline.columns.statistics",
    "fastnn.pipeline.drift": "fastnn.pipeline.columns.drift",
    "fastnn.pipeline.evaluate": "fastnn.pipeline.jobs.evaluate",
    "fastnn.pipeline.job": "fastnn.pipeline.jobs.job",
    "fastnn.pipeline.train": "fastnn.pipeline.learning.train",
    "fastnn.pipeline.scoring": "fastnn.pipeline.jobs.scoring",
}


class _StandIn(Loader):
    def __init__(self, today: str) -> None:
        self._today = today

    def exec_module(self, module: ModuleType) -> None:
        """Let the stand-in take its attributes from today's module."""
        today = importlib.import_module(self._today)
        vars(module)["__getattr__"] = lambda name: getattr(today, name)


class FormerNames(MetaPathFinder):
    """Finds the modules of `FORMER_NAMES`, after Python's own finders have found nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """The stand-in for a former module, None for other names."""
        today = FORMER_NAMES.get(name)
        return None if today is None else ModuleSpec(name, _StandIn(today))


def register() -> None:
    """Let imports of this process find former names."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
