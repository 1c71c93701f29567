"""Files that an earlier version of fastnn wrote, and the results that loading and continuing them must give.

``python tests/earlier_files.py FOLDER`` writes the files, and the hashes of their results into ``expected.json``. Each
folder in ``tests/data`` is named after the version that wrote its files. To add files, run this script against that
version, chosen by PYTHONPATH: only public names of fastnn are used here. The data and all that is hashed (weights and
scores) have the same bits on all machines.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
import pyarrow as pa
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning

import fastnn
import fastnn.pipeline
from fastnn.callbacks import StopWhen
from fastnn.cli import main as command

EXPECTED = "expected.json"
STOPPED, WHOLE = 3, 6  # epochs of an interrupted training, and of a whole one


class Case(NamedTuple):
    """A file: how it is written, how it is loaded, how work goes on from what was loaded.

    `scores` is what is computed from a model without changing it.
    """

    write: Callable[[Path], object]
    load: Callable[[Path], Any]
    go_on: Callable[[Path, Any], Any]
    scores: Callable[[Any], Any]


rng = np.random.default_rng(0)
X = rng.random((350, 6)).astype(np.float32) * 2 - 1
y = (X[:, 0] * X[:, 1] > 0) + 1 * (X[:, 2] > 0)
several = np.stack([X[:, 0] > 0, X[:, 1] > X[:, 2], X[:, 3] > 0.5], axis=1).astype(int)
values = np.stack([X[:, 0] * X[:, 1], X[:, 2] - X[:, 3]], axis=1)
X_val, y_val = X[:50], y[:50]
words = np.array(["no", "perhaps", "yes"])


def hashed(model: Any, scores: Any) -> dict[str, str]:
    """The SHA-256 of a model's weights and of its scores."""
    net = getattr(model, "network_", getattr(model, "network", model))
    each = getattr(net, "members", [net])
    weights = [array for member in each for array in (*member.weights, *member.biases, *member.gains)]
    arrays = {"weights": weights, "scores": [np.asarray(scores)]}
    return {
        what: hashlib.sha256(b"".join(map(np.ndarray.tobytes, found))).hexdigest() for what, found in arrays.items()
    }


def results(case: Case, path: Path) -> dict[str, dict[str, str]]:
    """The hashes of what a file gives when it is loaded, and after more work."""
    inode = path.stat().st_ino
    with expected_warnings():
        model = case.load(path)
        assert path.stat().st_ino == inode, "the checkpoint was replaced: the training began anew"
        loaded = hashed(model, case.scores(model))
        model = case.go_on(path, model)
        return {"loaded": loaded, "gone on": hashed(model, case.scores(model))}


@contextlib.contextmanager
def expected_warnings() -> Iterator[None]:
    """Trainings as short as these don't converge; pickles name the version of scikit-learn that wrote them."""
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        simplefilter("ignore", InconsistentVersionWarning)
        yield


def written(save: Callable[[Any, Path], object], make: Callable[[], Any], path: Path) -> None:
    """Make something and save it."""
    save(make(), path)


def outputs(net: Any) -> Any:
    """A network's scores."""
    return net.outputs(X)


# Model files.


def target_of(net: fastnn.Network) -> Any:
    """What a network is trained on."""
    if net.output == "identity":
        return values
    if net.output == "logistic":
        return several
    return y if net.classes is None else np.asarray(net.classes)[y % net.n_classes]


def more(path: Path, net: Any) -> Any:
    """Train a network for two epochs more."""
    fastnn.train(net, X, target_of(net), epochs=2, batch_size=50, solver="adam", step_size=0.01)
    return net


def network(sizes: list[int], members: int = 0, **options: Any) -> Any:
    """A trained network, or ensemble."""
    make = partial(fastnn.Ensemble.create, members) if members else fastnn.Network.create
    return more(Path(), make(sizes, seed=1, **options))


NETWORKS: dict[str, dict[str, Any]] = {
    "panels": {"sizes": [6, 40, 3]},
    "lanes": {"sizes": [6, 9, 5, 3], "dtype": "float64", "activation": ["relu", "logistic"]},
    "words": {"sizes": [6, 9, 3], "classes": words, "feature_names": list("abcdef")},
    "integers": {"sizes": [6, 9, 3], "classes": [-1, 7, 2**40]},
    "floats": {"sizes": [6, 9, 3], "classes": [0.5, -1.5, 2.0]},
    "booleans": {"sizes": [6, 9, 2], "classes": [False, True]},
    "layer_norm": {"sizes": [6, 40, 9, 3], "layer_norm": True, "activation": "gelu"},
    "logistic": {"sizes": [6, 9, 3], "output": "logistic", "activation": "silu", "classes": words},
    "values": {"sizes": [6, 9, 2], "output": "identity", "activation": "leaky_relu"},
    "ensemble": {"sizes": [6, 40, 3], "members": 2, "classes": words},
    "layer_norm-ensemble": {"sizes": [6, 9, 3], "members": 2, "layer_norm": True, "dtype": "float64"},
}


# Checkpoints of `train`, stopped after `STOPPED` epochs of `WHOLE`.

TRAININGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "panels": ({"sizes": [6, 40, 3]}, {"solver": "adam", "alpha": 1e-2}),
    "lanes": ({"sizes": [6, 9, 3]}, {"momentum": 0.9, "nesterovs_momentum": True}),
    "extras": ({"sizes": [6, 9, 3], "activation": "silu"}, {"solver": "adamw", "weight_decay": 0.1, "dropout": 0.2}),
    "layer_norm": ({"sizes": [6, 40, 3], "layer_norm": True, "dtype": "float64"}, {"clip_norm": 1.0, "momentum": 0.5}),
    "sparse": ({"sizes": [6, 9, 3]}, {"label_smoothing": 0.1}),
    "ensemble": ({"sizes": [6, 9, 3], "members": 2}, {"solver": "adam"}),
}


def training(name: str, epochs: int, stop: bool, path: Path, *model: Any) -> Any:
    """Train with a checkpoint; `stop` leaves it unfinished."""
    net, options = TRAININGS[name]
    members = net.get("members", 0)
    make = partial(fastnn.Ensemble.create, members) if members else fastnn.Network.create
    trained = make(seed=2, **{key: value for key, value in net.items() if key != "members"})
    rows = scipy.sparse.csr_matrix(np.where(X > 0, X, 0)) if name == "sparse" else X
    kept = {"batch_size": 64, "step_size": 0.01, "checkpoint": path, **options}
    callbacks = [StopWhen(lambda epoch: epoch.number == STOPPED)] if stop else []
    fastnn.train(trained, rows, y, epochs=epochs, callbacks=callbacks, **kept)
    return trained


# Estimators: their checkpoints and pickles.

CLASSIFIERS: dict[str, dict[str, Any]] = {
    "early-stopping": {"early_stopping": True, "hidden_layer_sizes": (40,)},
    "accuracy": {"early_stopping": True, "scoring": None, "dtype": "float64"},
    "training-loss": {"early_stopping": False, "solver": "sgd", "learning_rate": "adaptive", "tol": 0.5},
    "invscaling": {
        "early_stopping": False,
        "solver": "sgd",
        "learning_rate": "invscaling",
        "nesterovs_momentum": False,
    },
    "cosine": {"solver": "adamw", "learning_rate": "cosine", "warmup_epochs": 2, "dropout": 0.1},
    "layer_norm": {"layer_norm": True, "class_weight": "balanced"},
    "ensemble": {"n_ensemble": 2, "label_smoothing": 0.1},
    "layer_norm-ensemble": {"n_ensemble": 2, "layer_norm": True, "clip_norm": 1.0},
}
REGRESSORS = {name: CLASSIFIERS[name] for name in ("early-stopping", "training-loss", "layer_norm-ensemble")}
FIXED: dict[str, Any] = {"hidden_layer_sizes": (9,), "max_iter": WHOLE, "n_iter_no_change": 2, "random_state": 3}


def estimator(kind: str, options: dict[str, Any]) -> Any:
    """An unfitted estimator, and its target: words, or values."""
    options = {**FIXED, **options}
    if kind == "classifier":
        return fastnn.MLPClassifier(**options), words[y]
    return fastnn.MLPRegressor(
        **{key: options[key] for key in options if key not in ("class_weight", "label_smoothing")}
    ), values


def scores(model: Any) -> Any:
    """An estimator's scores."""
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def fit(kind: str, options: dict[str, Any], stop: bool, path: Path, *model: Any) -> Any:
    """Fit with a checkpoint; `stop` leaves it unfinished."""
    estimator_, target = estimator(kind, options)
    callbacks = [StopWhen(lambda epoch: epoch.number == STOPPED)] if stop else []
    return estimator_.fit(X, target, callbacks=callbacks, checkpoint=path)


def fitted(kind: str, options: dict[str, Any]) -> Any:
    """A fitted estimator."""
    model, target = estimator(kind, options)
    return model.fit(X, target)


def halfway(kind: str, options: dict[str, Any]) -> Any:
    """An estimator in the middle of a training by `partial_fit`, or of warm starts."""
    model, target = estimator(kind, options)
    if options.get("warm_start"):
        return model.set_params(max_iter=2).fit(X, target)
    further = {"classes": words} if kind == "classifier" else {}
    for _ in range(3):
        model.partial_fit(X, target, X_val=X_val, y_val=target[:50], **further)
    return model


def going_on(kind: str, path: Path, model: Any) -> Any:
    """Two epochs more, by `partial_fit` or warm starts."""
    target = words[y] if kind == "classifier" else values
    if model.warm_start:
        return model.fit(X, target)
    held_out = {"X_val": X_val, "y_val": target[:50]} if model.early_stopping is True else {}
    if model.get_params().get("class_weight") == "balanced":
        model.set_params(class_weight=None)
    for _ in range(2):
        model.partial_fit(X, target, **held_out)
    return model


HALFWAY: dict[str, tuple[str, dict[str, Any]]] = {
    "classifier-partial_fit": ("classifier", {"early_stopping": True}),
    "classifier-partial_fit-ensemble": ("classifier", {"n_ensemble": 2, "early_stopping": True}),
    "classifier-warm_start": ("classifier", {"warm_start": True, "layer_norm": True}),
    "classifier-warm_start-sgd": ("classifier", {"warm_start": True, **CLASSIFIERS["invscaling"]}),
    "regressor-partial_fit": ("regressor", {"early_stopping": True, "dtype": "float64"}),
    "regressor-warm_start": ("regressor", {"warm_start": True, "hidden_layer_sizes": (33, 5)}),
}


# Tables.

TABLE = {
    "number": [None if k % 11 == 0 else float(x) for k, x in enumerate(X[:, 0].tolist())],
    "word": [None if k % 7 == 0 else "abcde"[k * k % 5] for k in range(350)],
    "whole": [k % 13 for k in range(350)],
    "label": words[y].tolist(),
}


def write_csv() -> None:
    """Write the table as rows.csv. Checkpoints hold its size and time of modification."""
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in zip(*TABLE.values(), strict=True)]
    Path("rows.csv").write_bytes("\n".join([",".join(TABLE), *lines, ""]).encode())
    os.utime("rows.csv", ns=(10**18, 10**18))


class Interrupting(io.StringIO):
    """Output that presses Ctrl-C when an epoch is reported."""

    def write(self, text: str) -> int:
        """Take text."""
        if f"epoch {STOPPED}/" in text:
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def train_command(options: str, epochs: int, stop: bool, path: Path, *model: Any) -> Any:
    """The model that ``fastnn train`` makes, with a checkpoint; None with `stop`, which presses Ctrl-C."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_csv()
        line = f"train rows.csv --target label --model model --epochs {epochs} --checkpoint {path} {options}"
        errors = Interrupting() if stop else io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            code = command(line.split())
        if code != (128 + signal.SIGINT if stop else 0):
            raise RuntimeError(f"exit code {code}: {errors.getvalue()}")
        return None if stop else fastnn.pipeline.Model.load("model")


def table_scores(model: Any) -> Any:
    """A model's scores of the table."""
    return model.predict_proba(pa.table(TABLE))


def plan() -> fastnn.pipeline.Plan:
    """The plan of a training on the table."""
    return fastnn.pipeline.Plan(hidden=(9,), epochs=3)


def train_table(plan: fastnn.pipeline.Plan) -> Any:
    """Train on the table: a model, and how it came to be."""
    return fastnn.pipeline.train_batches(pa.table(TABLE), "label", plan)


def table_model() -> Any:
    """A model of the table."""
    return train_table(plan()).model


def streamed(path: Path, model: Any) -> Any:
    """The model, if it scores a stream as it scores a table."""
    batches = fastnn.pipeline.predict_batches(model, pa.table(TABLE).to_batches(max_chunksize=99), output="proba")
    columns = pa.Table.from_batches(batches).columns
    assert np.array_equal(np.column_stack([column.to_numpy() for column in columns]), table_scores(model))
    return model


def dump(thing: Any, path: Path) -> None:
    """Pickle something."""
    path.write_bytes(pickle.dumps(thing, protocol=5))


def unpickled(path: Path) -> Any:
    """What was pickled."""
    return pickle.loads(path.read_bytes())


def cases() -> Iterator[tuple[str, Case]]:
    """Every file by its name."""
    for name, options in NETWORKS.items():
        cls = fastnn.Ensemble if "members" in options else fastnn.Network
        make = partial(network, **options)
        yield f"network-{name}.safetensors", Case(partial(written, cls.save, make), cls.load, more, outputs)
        yield f"network-{name}.pickle", Case(partial(written, dump, make), unpickled, more, outputs)
    for name in TRAININGS:
        resumed = [partial(training, name, *how) for how in ((WHOLE, True), (STOPPED, False), (WHOLE, False))]
        yield f"train-{name}.checkpoint", Case(*resumed, outputs)
    finished = [partial(training, "panels", epochs, False) for epochs in (STOPPED, STOPPED, WHOLE)]
    yield "train-finished.checkpoint", Case(*finished, outputs)
    for kind, each in (("classifier", CLASSIFIERS), ("regressor", REGRESSORS)):
        for name, options in each.items():
            stopped = partial(fit, kind, options, True)
            yield f"{kind}-{name}.checkpoint", Case(stopped, stopped, partial(fit, kind, options, False), scores)
            made = partial(written, dump, partial(fitted, kind, options))
            yield f"{kind}-{name}.pickle", Case(made, unpickled, partial(going_on, kind), scores)
    whole = partial(fit, "classifier", {}, False)
    yield "classifier-finished.checkpoint", Case(whole, whole, whole, scores)
    for name, (kind, options) in HALFWAY.items():
        made = partial(written, dump, partial(halfway, kind, options))
        yield f"{name}.pickle", Case(made, unpickled, partial(going_on, kind), scores)
    for name, options in (
        ("memory", "--hidden 40"),
        ("all-rows", "--hidden 9 --validation 0 --solver sgd --dtype float64"),
        ("out-of-core", "--hidden 9 --buffer-rows 120 --batch-size 30"),
    ):
        runs = [partial(train_command, options, *how) for how in ((WHOLE, True), (STOPPED, False), (WHOLE, False))]
        yield f"table-{name}.checkpoint", Case(*runs, table_scores)
    Model = fastnn.pipeline.Model
    yield "table.safetensors", Case(partial(written, Model.save, table_model), Model.load, streamed, table_scores)
    yield "table.pickle", Case(partial(written, dump, table_model), unpickled, streamed, table_scores)
    trained = partial(written, dump, lambda: train_table(plan()))
    yield "table-trained.pickle", Case(trained, lambda path: unpickled(path).model, streamed, table_scores)
    planned = partial(written, dump, plan)
    yield "table-plan.pickle", Case(planned, lambda path: train_table(unpickled(path)).model, streamed, table_scores)


CASES = dict(cases())


def main(folder: Path) -> None:
    """Write all files, and the hashes of what they give."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, case in CASES.items():
        with expected_warnings():
            (folder / name).unlink(missing_ok=True)
            case.write((folder / name).absolute())
        with tempfile.TemporaryDirectory() as copies:
            expected[name] = results(case, Path(shutil.copy(folder / name, copies)))
    (folder / EXPECTED).write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
