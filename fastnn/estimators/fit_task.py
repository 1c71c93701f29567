"""scikit-learn's callbacks (`set_callbacks`, from its version 1.9 on) as one callback of fastnn's."""

from __future__ import annotations

import copy
from typing import Any

from fastnn.callbacks import Epoch

try:
    from sklearn.callback import CallbackSupportMixin
except ModuleNotFoundError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An empty class in the place of scikit-learn's."""


__all__ = ["CallbackSupportMixin", "FitTask", "begin_fit_task"]


class FitTask:
    """To scikit-learn's callbacks, a fit is a task, and each epoch is a task within the fit."""

    def __init__(self, estimator: Any, context: Any, given: dict[str, Any]) -> None:
        self.given: dict[str, Any] = {"estimator": estimator, **given}
        self.context = context
        self.context.call_on_fit_task_begin(**self.given)

    def __call__(self, epoch: Epoch) -> bool:
        """Report an epoch; returns whether a callback asks training to stop."""
        task = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(**self.given)
        network = self.given["estimator"].network_
        # A copy, made only if a callback asks for it: what a callback keeps must not be trained further.
        fitted = {"reconstruction_attributes": lambda: {"network_": copy.deepcopy(network)}}
        return bool(task.call_on_fit_task_end(**self.given, **fitted))

    def finish(self) -> None:
        """Report the end of the fit, when the estimator has its final weights."""
        self.context.call_on_fit_task_end(**self.given, reconstruction_attributes={})


def begin_fit_task(estimator: Any, n_epochs: int, given: tuple[Any, Any, Any]) -> FitTask | None:
    """Begin the fit for the callbacks of `set_callbacks`; None if the estimator has none.

    `given` are X, y and the sample weights as `fit` got them.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        return None
    X, y, weight = given
    metadata = None if weight is None else {"sample_weight": weight}
    context = estimator._init_callback_context(max_subtasks=n_epochs)
    return FitTask(estimator, context, {"X": X, "y": y, "metadata": metadata})
