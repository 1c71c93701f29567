"""fastnn: multilayer perceptrons on CPUs, trained and served at the speed of the machine's arithmetic units.

Each public name is imported when it is first used. So a program that only scores doesn't load the training, and a
program that only trains networks doesn't load scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastnn import former_names

# These imports install the guards of forks and launches: a program may fork before it uses anything else of fastnn.
from fastnn.runtime import launch as _launch  # noqa: F401
from fastnn.runtime.forks import late

if TYPE_CHECKING:
    from fastnn import callbacks as callbacks
    from fastnn import kernels
    from fastnn.estimators.classifier import MLPClassifier
    from fastnn.estimators.regressor import MLPRegressor
    from fastnn.files.modelfile import ModelFileError
    from fastnn.network.ensemble import Ensemble
    from fastnn.network.network import Network
    from fastnn.training.trainer import History, TrainingDivergedError, train

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
# Modules that can be used as attributes of the package, without an import of their own.
_MODULES = ("callbacks", "kernels")
_HOMES = {
    "Ensemble": "fastnn.network.ensemble",
    "History": "fastnn.training.trainer",
    "MLPClassifier": "fastnn.estimators.classifier",
    "MLPRegressor": "fastnn.estimators.regressor",
    "ModelFileError": "fastnn.files.modelfile",
    "Network": "fastnn.network.network",
    "TrainingDivergedError": "fastnn.training.trainer",
    "train": "fastnn.training.trainer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES and name not in _MODULES:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    # A fork waits for the end of a late import: its child couldn't finish what another thread has begun.
    module = late(import_module)(_HOMES.get(name, f"fastnn.{name}"))
    value = globals()[name] = module if name in _MODULES else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
