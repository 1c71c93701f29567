"""The command demo: fastnn's and scikit-learn's networks learn the same handwritten digits, one after the other."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastnn.cli import arguments
from fastnn.cli.terminal import COMPILING, said_when_slow, say, show
from fastnn.files.atomic import check_replaceable

if TYPE_CHECKING:
    import numpy as np

    from fastnn.network.network import Network
    from fastnn.network.samples import Samples
    from fastnn.training.options import TrainOptions

# scikit-learn's defaults, except tanh and the number of epochs, which lets both train until they stop by themselves.
_HIDDEN, _EPOCHS, _STEP_SIZE, _ALPHA, _BATCH_SIZE, _SEED = 100, 400, 1e-3, 1e-4, 200, 0


@dataclass(frozen=True)
class _Digits:
    training: Samples
    X_test: np.ndarray
    y_test: np.ndarray


def demo(out: arguments.DemoFolder = Path(), json: arguments.Json = False) -> None:
    """Train on scikit-learn's handwritten digits and compare with scikit-learn. Needs no files."""
    from fastnn.plot import plot_loss

    model_file, plot_file = out / "digits.safetensors", out / "digits-loss.png"
    check_replaceable(model_file)
    check_replaceable(plot_file)
    digits = _load_digits()
    n_train, n_test = len(digits.training.y), len(digits.y_test)
    say(f"digits: {n_train} images to learn from, {n_test} to test with, 8×8 pixels, 10 classes")
    _compile(digits)

    network, losses, seconds = _train(digits)
    accuracy = float((network.predict(digits.X_test) == digits.y_test).mean())
    network.save(model_file)
    say("training scikit-learn's MLPClassifier on the same images ...")
    rival_accuracy, rival_seconds = _train_rival(digits)

    summary = {
        "accuracy": accuracy,
        "seconds": seconds,
        "epochs": len(losses),
        "sklearn_accuracy": rival_accuracy,
        "sklearn_seconds": rival_seconds,
        "model": str(model_file),
        "plot": str(plot_file),
    }
    text = (
        f"              test accuracy  training time\n"
        f"fastnn        {accuracy:>13.4f}  {seconds:>11.3f} s\n"
        f"scikit-learn  {rival_accuracy:>13.4f}  {rival_seconds:>11.3f} s\n"
        f"model: {model_file}"
    )
    try:
        plot_loss(plot_file, losses)
        text += f"\nloss curve: {plot_file}"
    except ModuleNotFoundError as error:
        say(str(error))
        summary["plot"] = None
    show(summary, json, text)


def _load_digits() -> _Digits:
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from fastnn.network.samples import Samples

    X, y = load_digits(return_X_y=True)
    X = (X / 16.0).astype(np.float32)  # pixels are 0 to 16
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=_SEED)
    return _Digits(Samples(X_train, y_train), X_test, y_test)


def _create(digits: _Digits) -> tuple[Network, TrainOptions]:
    from fastnn.network.network import Network
    from fastnn.training.options import TrainOptions

    sizes = [digits.X_test.shape[1], _HIDDEN, 10]
    network = Network.create(sizes, seed=_SEED, classes=range(10))
    return network, TrainOptions("adam", _STEP_SIZE, _BATCH_SIZE, seed=_SEED, alpha=_ALPHA)


def _compile(digits: _Digits) -> None:
    """Run once what is timed later, since compiling happens once per machine and isn't part of training."""
    from fastnn.training.trainer import Trainer

    network, options = _create(digits)
    with said_when_slow(COMPILING):
        for _ in Trainer(network, options).epochs(digits.training, 1):
            network.predict(digits.X_test)


def _train(digits: _Digits) -> tuple[Network, list[float], float]:
    from fastnn.callbacks import ProgressBar, called
    from fastnn.training.stopping import Stopping
    from fastnn.training.trainer import Trainer

    network, options = _create(digits)
    losses = []
    with called([ProgressBar()], _EPOCHS) as report:
        began = perf_counter()
        for epoch in Trainer(network, options).epochs(digits.training, _EPOCHS, Stopping()):
            losses.append(epoch.loss)
            report(epoch)
        seconds = perf_counter() - began
    return network, losses, seconds


def _train_rival(digits: _Digits) -> tuple[float, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    settings: dict[str, Any] = {
        "hidden_layer_sizes": (_HIDDEN,),
        "activation": "tanh",
        "solver": "adam",
        "alpha": _ALPHA,
        "batch_size": _BATCH_SIZE,
        "learning_rate_init": _STEP_SIZE,
        "max_iter": _EPOCHS,
        "random_state": _SEED,
    }
    rival = MLPClassifier(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = perf_counter()
        rival.fit(digits.training.X, digits.training.y)
        seconds = perf_counter() - began
    return float(rival.score(digits.X_test, digits.y_test)), seconds
