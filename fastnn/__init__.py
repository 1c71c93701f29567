"""fastnn: multilayer perceptrons on CPUs, trained and served at the speed of the machine's arithmetic units."""

from typing import TYPE_CHECKING, Any

from fastnn import former_names, kernels
from fastnn.files.modelfile import ModelFileError
from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network
from fastnn.training.trainer import History, TrainingDivergedError, train

if TYPE_CHECKING:
    from fastnn.estimators.classifier import MLPClassifier
    from fastnn.estimators.regressor import MLPRegressor

__version__ = "0.1.0"

former_names.register()

__all__ = [
    "Ensemble",
    "History",
    "MLPClassifier",
    "MLPRegressor",
    "ModelFileError",
    "Network",
    "TrainingDivergedError",
    "__version__",
    "kernels",
    "train",
]


def __getattr__(name: str) -> Any:
    # The estimators import scikit-learn, which takes longer than everything else together.
    if name == "MLPClassifier":
        from fastnn.estimators.classifier import MLPClassifier

        return MLPClassifier
    if name == "MLPRegressor":
        from fastnn.estimators.regressor import MLPRegressor

        return MLPRegressor
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
