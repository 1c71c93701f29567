"""Trainings and scorings of networks and estimators, for `bits`: each case is a name and the results to hash."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

import fastnn
import fastnn.callbacks

Case = tuple[str, dict[str, Any]]  # a name, and the results to hash
Cases = Iterator[Case]

DTYPES = ("float32", "float64")
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "alpha": 1e-2},
    "nesterov": {"momentum": 0.9, "nesterovs_momentum": True, "shuffle": False},
    "adam": {"solver": "adam", "step_size": 0.01, "alpha": 1e-2},
    "adamw": {"solver": "adamw", "step_size": 0.01, "weight_decay": 0.1},
}
# Options of a network in the first dictionary, of training in the second.
VARIATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "relu": ({"activation": "relu"}, {}),
    "logistic": ({"activation": "logistic"}, {}),
    "identity": ({"activation": "identity"}, {"step_size": 0.01}),
    "batches of 1": ({}, {"batch_size": 1, "step_size": 0.01}),
    "batches of 37": ({}, {"batch_size": 37, "alpha": 1.0}),
    "one batch": ({}, {"batch_size": 5000}),
    "largest seed": ({"seed": 7}, {"seed": 2**64 - 1}),
    "other betas": ({}, {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4}),
}
EXTRAS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dropout": ({}, {"dropout": 0.3}),
    "label smoothing": ({"activation": "relu"}, {"label_smoothing": 0.1}),
    "clipped": ({}, {"clip_norm": 0.1, "momentum": 0.9}),
    "gelu": ({"activation": "gelu"}, {"solver": "adam"}),
    "silu": ({"activation": "silu"}, {"alpha": 1e-2}),
    "leaky_relu": ({"activation": "leaky_relu"}, {"shuffle": False}),
    "several activations": ({"activation": ["gelu", "tanh", "leaky_relu"]}, {}),
    "several labels": ({"output": "logistic"}, {"label_smoothing": 0.1}),
    "values": ({"output": "identity"}, {"step_size": 0.01, "batch_size": 37}),
    "counts": ({"output": "exp"}, {"step_size": 0.01, "batch_size": 37, "clip_norm": 1.0}),
    "everything": (
        {"activation": ["silu", "logistic", "gelu"]},
        {**SOLVERS["adamw"], "dropout": 0.2, "label_smoothing": 0.2, "clip_norm": 0.5, "alpha": 1e-3},
    ),
}
PANELS = {"float32": [67, 131, 3, 33, 7], "float64": [67, 131, 3, 33, 7]}
LANES = {"float32": [9, 31, 3, 32, 7], "float64": [9, 15, 3, 16, 7]}


def written(save: Callable[[Path], object]) -> bytes:
    """The bytes of the file that a function writes."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


def parameters(net: fastnn.Network) -> list[list[Any]]:
    """The weights, biases and gains of a network, or of each member of an ensemble."""
    return [[each.weights, each.biases, each.gains] for each in getattr(net, "members", [net])]


def samples(n: int, n_features: int, n_outputs: int, output: str = "softmax", dtype: str = "float32") -> Any:
    """Random X and y; a third of X is 0."""
    rng = np.random.default_rng([n, n_features])
    X = rng.uniform(-2, 2, (n, n_features)) * (rng.random((n, n_features)) < 0.67)
    scores = X @ rng.uniform(-1, 1, (n_features, n_outputs)) + rng.uniform(-1, 1, (n, n_outputs))
    targets = {"softmax": scores.argmax(axis=1), "logistic": (scores > 0).astype(int), "identity": scores}
    targets["exp"] = np.abs(scores).round()
    return X.astype(dtype), targets[output]


def network(sizes: list[int], members: int = 0, **options: Any) -> fastnn.Network:
    """A new network, or an ensemble."""
    options = {"seed": 5, **options}
    return fastnn.Ensemble.create(members, sizes, **options) if members else fastnn.Network.create(sizes, **options)


def trained(
    sizes: list[int], rows: int = 203, sparse: bool = False, net: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """What a training leaves: parameters, losses, scores and the model file."""
    model = network(sizes, **(net or {}))
    X, y = samples(rows, sizes[0], sizes[-1], model.output, str(model.dtype))
    X = scipy.sparse.csr_matrix(X) if sparse else X
    history = fastnn.train(model, X, y, **{"epochs": 3, "batch_size": 101, "seed": 3, **options})
    scores = model.outputs(X, n_threads=options.get("n_threads"))
    labels = [] if model.output in ("identity", "exp") else model.predict(X)
    return {
        "weights": parameters(model),
        "losses": history.loss_curve,
        "scores": [scores, labels],
        "file": written(model.save),
    }


def by_solver(sizes: dict[str, list[int]], net: dict[str, Any] | None = None, **further: Any) -> Cases:
    """Each solver on one and two threads."""
    for dtype in DTYPES:
        for solver, options in SOLVERS.items():
            for n in (1, 2):
                kept = {"dtype": dtype, **(net or {})}
                yield (
                    f"{dtype} {solver} threads={n}",
                    trained(sizes[dtype], net=kept, n_threads=n, **options, **further),
                )


def varied(variations: dict[str, Any], sizes: dict[str, list[int]], threads: int = 2, **further: Any) -> Cases:
    """Each variation of network and training."""
    given = further.pop("net", {})
    for dtype in DTYPES:
        for name, (net, options) in variations.items():
            made = {"dtype": dtype, **given, **net}
            yield f"{dtype} {name}", trained(sizes[dtype], net=made, n_threads=threads, **{**further, **options})


def named(prefix: str, cases: Cases) -> Cases:
    """The cases with a prefix to their names."""
    return ((f"{prefix} {name}", results) for name, results in cases)


def kernels() -> Cases:
    """The ten public functions; the last shape is large enough for a parallel launch."""
    k = fastnn.kernels
    for dtype in DTYPES:
        for n, n_in, n_out in ((1, 1, 1), (49, 67, 33), (127, 32, 10), (1000, 300, 256)):
            rng = np.random.default_rng([n, n_in])
            X, W, b, z = (
                rng.uniform(-3, 3, shape).astype(dtype) for shape in ((n, n_in), (n_in, n_out), (n_out,), (n, n_out))
            )
            y = rng.integers(n_out, size=n)
            a_prev = k.tanh(X)
            p = k.softmax(z)
            delta = k.output_delta(p, y)
            stepped = W.copy()
            k.sgd_step(stepped, W[::-1], 0.125)
            results = {
                "linear": k.linear(X, W, b),
                "tanh": a_prev,
                "linear_tanh": k.linear_tanh(X, W, b),
                "softmax": p,
                "cross_entropy": k.cross_entropy(z, y),
                "output_delta": delta,
                "weight_gradient": k.weight_gradient(a_prev, delta),
                "bias_gradient": k.bias_gradient(delta),
                "hidden_delta": k.hidden_delta(delta, W, a_prev),
                "sgd_step": stepped,
            }
            yield f"{dtype} {n}x{n_in}x{n_out}", results


def plain() -> Cases:
    """Networks that are trained by panels."""
    yield from by_solver(PANELS)
    yield from varied(VARIATIONS, PANELS)
    for dtype in DTYPES:
        for solver in ("sgd", "adam"):
            for n in (1, 2):  # large enough for two threads to be at work
                options = {"batch_size": 256, "n_threads": n, **SOLVERS[solver]}
                results = trained([300, 256, 128, 10], 1024, net={"dtype": dtype}, **options)
                yield f"{dtype} wide {solver} threads={n}", results
        yield f"{dtype} no hidden layer", trained([67, 40], net={"dtype": dtype})
        yield f"{dtype} one unit", trained([67, 131, 1, 33, 7], net={"dtype": dtype})
        yield f"{dtype} 130 classes", trained([40, 130], net={"dtype": dtype})


def narrow() -> Cases:
    """Networks whose samples lie in the lanes of vectors."""
    yield from by_solver(LANES, rows=1403, batch_size=700)
    yield from varied(VARIATIONS, LANES)
    for dtype in DTYPES:
        yield f"{dtype} no hidden layer", trained([9, 2], net={"dtype": dtype})
        yield f"{dtype} one unit", trained([9, 15, 1, 16, 7], net={"dtype": dtype})
        yield f"{dtype} deep", trained([16] * 9, 3000, net={"dtype": dtype}, batch_size=999, n_threads=2)


def extras() -> Cases:
    """Dropout, smoothed labels, clipping, weight decay, the rarer activations and outputs."""
    for name, sizes in (("panels", PANELS), ("lanes", LANES)):
        for n in (1, 2):
            yield from named(f"{name} threads={n}", varied(EXTRAS, sizes, n))
    for dtype in DTYPES:
        for n in (1, 2):
            options = {"dropout": 0.5, "batch_size": 256, "n_threads": n}
            yield f"{dtype} wide threads={n}", trained([300, 256, 10], 1024, net={"dtype": dtype}, **options)


def normalised() -> Cases:
    """Layer normalisation."""
    net = {"layer_norm": True}
    yield from by_solver(PANELS, net)
    yield from named("panels", varied(EXTRAS, PANELS, net=net))
    yield from named("lanes", varied(EXTRAS, LANES, net=net))


def sparse() -> Cases:
    """Sparse rows, with and without layer normalisation."""
    yield from by_solver(PANELS, sparse=True)
    yield from varied(EXTRAS, PANELS, sparse=True)
    yield from varied(VARIATIONS, LANES, sparse=True)
    yield from named("normalised", by_solver(PANELS, {"layer_norm": True}, sparse=True))
    yield from named("normalised", varied(EXTRAS, LANES, sparse=True, net={"layer_norm": True}))


def ensembles() -> Cases:
    """Ensembles of each kind of network."""
    net: dict[str, Any] = {"members": 3}
    yield from named("panels", by_solver(PANELS, net))
    yield from named("lanes", by_solver(LANES, net))
    yield from named("extras", varied(EXTRAS, PANELS, net=net))
    yield from named("normalised", varied(EXTRAS, PANELS, net={**net, "layer_norm": True}))
    yield from named("sparse", varied(EXTRAS, PANELS, net=net, sparse=True))
    yield from named("sparse normalised", varied(EXTRAS, LANES, net={**net, "layer_norm": True}, sparse=True))


def scoring() -> Cases:
    """Untrained networks of each kind, by rows in every form, few and many."""
    kinds = {
        "panels": network([67, 131, 33, 7]),
        "lanes": network([67, 31, 7]),
        "float64": network([67, 40, 7], dtype="float64", classes=list("abcdefg")),
        "gelu": network([67, 40, 7], activation="gelu", output="identity"),
        "normalised": network([67, 40, 7], layer_norm=True, output="logistic"),
        "ensemble": network([67, 40, 7], 3),
    }
    X, _ = samples(4000, 67, 7, dtype="float64")
    sparse_rows = scipy.sparse.csr_matrix(X)
    for name, net in kinds.items():
        for n in (0, 1, 7, 48, 500, 4000):
            rows = X[:n]
            forms = [rows, rows.astype("float32"), np.asfortranarray(rows), rows.astype(">f8"), sparse_rows[:n]]
            yield f"{name} {n} rows", {"scores": [net.outputs(form, n_threads=t) for form in forms for t in (1, 2)]}
        yield name, {"file": written(net.save), "onnx": written(net.to_onnx)}


def fitted(model: Any, X: Any, again: Callable[[Any], object] = lambda model: None) -> dict[str, Any]:
    """What an estimator is after a fit, and after what comes `again`."""
    results: dict[str, Any] = {}
    for when in ("", "again "):
        if when:
            again(model)
        curves = [getattr(model, f"{name}_", None) for name in ("validation_loss_curve", "validation_scores")]
        scores = [getattr(model, name)(X) for name in ("predict", "predict_proba") if hasattr(model, name)]
        results[f"{when}weights"] = parameters(model.network_)
        results[f"{when}curves"] = [model.loss_curve_, *[[] if curve is None else curve for curve in curves]]
        results[f"{when}scores"] = [scores, model.n_iter_, model.t_]
    return {**results, "file": written(model.network_.save)}


ESTIMATORS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "narrow": {"hidden_layer_sizes": (20,)},
    "training loss": {"early_stopping": False, "tol": 1e-2, "n_iter_no_change": 2},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2, "tol": 1e-2, "validation_fraction": 0.3},
    "scored": {"early_stopping": True, "scoring": None},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "shuffle": False, "batch_size": 33},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "nesterovs_momentum": False},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "momentum": 0.0},
    "cosine": {"learning_rate": "cosine", "warmup_epochs": 2},
    "warm-up": {"warmup_epochs": 3, "early_stopping": False},
    "extras": {"solver": "adamw", "dropout": 0.2, "clip_norm": 1.0, "activation": ("gelu", "relu")},
    "normalised": {"layer_norm": True, "activation": "silu"},
    "ensemble": {"n_ensemble": 3},
    "normalised ensemble": {"n_ensemble": 2, "layer_norm": True, "dropout": 0.1, "early_stopping": False},
}


def estimators() -> Cases:
    """Classifiers and regressors: each is fitted once, and then goes on in another way."""
    X, y = samples(400, 20, 4)
    _, labels = samples(400, 20, 4, "logistic")
    _, values = samples(400, 20, 2, "identity")
    weight = np.random.default_rng(0).uniform(0, 2, 400)
    held_out = {"X_val": X[300:], "y_val": y[300:], "sample_weight_val": weight[300:]}
    for dtype in DTYPES:
        fixed: dict[str, Any] = {"hidden_layer_sizes": (40, 9), "max_iter": 7, "random_state": 3, "dtype": dtype}
        for name, options in ESTIMATORS.items():
            clf = fastnn.MLPClassifier(**{**fixed, **options}).fit(X, y)
            yield f"{dtype} classifier {name}", fitted(clf, X, lambda model: model.partial_fit(X, y))
            reg = fastnn.MLPRegressor(**{**fixed, **options}).fit(X, values)
            again = lambda model: model.set_params(warm_start=True, max_iter=3).fit(X, values)  # noqa: E731
            yield f"{dtype} regressor {name}", fitted(reg, X, again)
        more: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
            "weights": ({}, y, {"sample_weight": weight}),
            "f1": ({"early_stopping": True, "scoring": "f1_macro", "n_threads": 2}, y, {}),
            "balanced": ({"class_weight": "balanced"}, y, {"sample_weight": weight}),
            "class weights": ({"class_weight": {0: 1, 1: 2, 2: 0.5, 3: 1}}, y, {}),
            "held out": ({"n_iter_no_change": 2, "tol": 0.1}, y, held_out),
            "curves": ({"early_stopping": False}, y, held_out),
            "several labels": ({}, labels, {}),
            "words": ({"label_smoothing": 0.1}, np.array(["a", "bc", "d", "e"])[y], {}),
            "random state": ({"random_state": np.random.RandomState(3)}, y, {}),
        }
        for name, (options, target, further) in more.items():
            clf = fastnn.MLPClassifier(**{**fixed, "warm_start": True, **options}).fit(X, target, **further)
            again = lambda model, y=target, kept=further: model.set_params(solver="sgd").fit(X, y, **kept)  # noqa: E731
            yield f"{dtype} classifier {name}", fitted(clf, X, again)
            rows = scipy.sparse.csr_matrix(X)
            clf = fastnn.MLPClassifier(**{**fixed, **options}).fit(rows, target, **further)
            yield f"{dtype} sparse classifier {name}", fitted(clf, rows)
        reg = fastnn.MLPRegressor(**fixed).partial_fit(X, values[:, 0], weight)
        again = lambda model: model.set_params(learning_rate_init=0.01).partial_fit(X[:33], values[:33, 0])  # noqa: E731
        yield f"{dtype} regressor of one value", fitted(reg, X, again)
        theirs = fastnn.MLPClassifier(**fixed).fit(X, y).to_sklearn()
        ours = fitted(fastnn.MLPClassifier.from_sklearn(theirs), X, lambda model: model.fit(X, y))
        yield f"{dtype} to scikit-learn and back", {**ours, "their weights": [theirs.coefs_, theirs.intercepts_]}


def checkpoints() -> Cases:
    """Trainings that stop in the middle, with their files, and go on."""
    stop = fastnn.callbacks.StopWhen(lambda epoch: epoch.number == 3)
    kinds: dict[str, tuple[dict[str, list[int]], dict[str, Any], dict[str, Any]]] = {
        "panels": (PANELS, {}, SOLVERS["adam"]),
        "lanes": (LANES, {}, SOLVERS["nesterov"]),
        "extras": (PANELS, {"activation": "gelu"}, {"dropout": 0.2, **SOLVERS["adamw"]}),
        "normalised": (LANES, {"layer_norm": True}, SOLVERS["momentum"]),
        "ensemble": (LANES, {"members": 2}, SOLVERS["adam"]),
    }
    X, y = samples(400, 20, 4)
    for dtype in DTYPES:
        for name, (sizes, net, options) in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                path, log = Path(folder) / "checkpoint", Path(folder) / "log.csv"
                callbacks = [stop, fastnn.callbacks.EpochLog(log)]
                kept: dict[str, Any] = {"net": {"dtype": dtype, **net}, "epochs": 6, "checkpoint": path, **options}
                before = trained(sizes[dtype], callbacks=callbacks, **kept)
                unfinished = path.read_bytes()
                after = trained(sizes[dtype], checkpoint_every=2, **kept)
                files = {"unfinished checkpoint": unfinished, "finished checkpoint": path.read_bytes()}
                logged = [line.rsplit(",", 1)[0] for line in log.read_text().splitlines()]  # without the seconds
            yield f"{dtype} {name}", {**files, **after, "stopped weights": before["weights"], "log": logged}
        for name in ("defaults", "training loss", "adaptive", "cosine", "normalised ensemble"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "checkpoint"
                clf = fastnn.MLPClassifier(**{"random_state": 3, "dtype": dtype, "max_iter": 6, **ESTIMATORS[name]})
                clf.fit(X, y, checkpoint=path, callbacks=[stop])
                unfinished = path.read_bytes()
                results = fitted(clf.fit(X, y, checkpoint=path), X)
                files = {"unfinished checkpoint": unfinished, "finished checkpoint": path.read_bytes()}
            yield f"{dtype} classifier {name}", {**files, **results}
