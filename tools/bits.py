"""Hash what fastnn computes, so that two commits can be compared bit by bit.

    PYTHONPATH=TREE python tools/bits.py OUT.json        hash every case with the fastnn in the folder TREE
    python tools/bits.py A.json --against B.json         name the cases that differ; exit with 1 if there are any

A case is a training or a scoring; its hash covers weights, losses, probabilities or the bytes of the files written. The
script uses public names only, so that it runs with older and newer versions alike. The hashes must not depend on the
machine, the threading layer or the build either. For the AVX2 build, set ``NUMBA_CPU_NAME=haswell`` and
``NUMBA_CPU_FEATURES=+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c`` and a ``FASTNN_CACHE_DIR`` of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

Case = tuple[str, list[Any]]
THREADS = (1, 2)
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "alpha": 0.01},
    "nesterov": {"momentum": 0.9, "nesterovs_momentum": True, "shuffle": False},
    "adam": {"solver": "adam", "step_size": 0.01, "alpha": 0.01},
    "adamw": {"solver": "adamw", "step_size": 0.01, "weight_decay": 0.1},
}
# What only the general kernel does, with an activation whose derivative has to be stored.
EXTRAS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.2, "alpha": 0.01},
    "smoothing": {"label_smoothing": 0.1, "solver": "adam", "step_size": 0.01},
    "clipping": {"clip_norm": 0.5, "momentum": 0.9},
    "everything": {"dropout": 0.2, "label_smoothing": 0.1, "clip_norm": 0.5, "solver": "adamw", "weight_decay": 0.1},
}


def digest(parts: list[Any]) -> str:
    """One hash of arrays, numbers, texts and bytes."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            total.update(part)
        elif isinstance(part, str):
            total.update(part.encode())
        else:
            array = np.ascontiguousarray(part)
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(array.astype("U").tobytes() if array.dtype.kind == "O" else array.tobytes())
    return total.hexdigest()


def rows(n: int, n_features: int, dtype: str, sparse: bool = False) -> Any:
    """Random inputs; with `sparse` most of them are 0, and the matrix is SciPy's."""
    X = np.random.default_rng(n + n_features).standard_normal((n, n_features)).astype(dtype)
    if not sparse:
        return X
    from scipy.sparse import csr_array

    X[np.abs(X) < 1] = 0
    return csr_array(X)


def file_bytes(thing: Any) -> bytes:
    """The bytes that a model writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        thing.save(path)
        return path.read_bytes()


def targets(n: int, n_outputs: int, output: str) -> Any:
    """Class indices, several labels a sample, or values."""
    random = np.random.default_rng(n)
    if output == "softmax":
        return np.arange(n) % n_outputs
    return random.integers(0, 2, (n, n_outputs)) if output == "logistic" else random.standard_normal((n, n_outputs))


def kernel_cases() -> Iterator[Case]:
    """The ten public functions."""
    from fastnn import kernels

    for dtype in ("float32", "float64"):
        for n, n_in, n_out in ((1, 5, 3), (37, 67, 33), (200, 300, 129)):
            X, W, b = rows(n, n_in, dtype), rows(n_in, n_out, dtype), rows(1, n_out, dtype)[0]
            y = np.arange(n) % n_out
            z, a = kernels.linear(X, W, b), kernels.linear_tanh(X, W, b)
            p = kernels.softmax(z)
            delta = kernels.output_delta(p, y)
            grad_W, below = kernels.weight_gradient(X, delta), np.tanh(rows(n, n_in, "float64")).astype(dtype)
            stepped = W.copy()
            kernels.sgd_step(stepped, grad_W, 0.1)
            others = [kernels.tanh(z), kernels.cross_entropy(z, y), kernels.bias_gradient(delta), stepped]
            yield f"kernels {dtype} {n} {n_in} {n_out}", [z, a, p, delta, grad_W, *others]
            yield f"kernels hidden_delta {dtype} {n} {n_in} {n_out}", [kernels.hidden_delta(delta, W, below)]


def training(name: str, sizes: list[int], options: dict[str, Any], how: dict[str, Any]) -> Iterator[Case]:
    """A training by `fastnn.train` on one thread and on two, with its losses, its scores and its model file."""
    import fastnn

    dtype, output, members = how.get("dtype", "float32"), how.get("output", "softmax"), how.get("members", 1)
    n, batch_size = how.get("n", 203), how.get("batch_size", 64)
    create = {"dtype": dtype, "layer_norm": how.get("layer_norm", False), "output": output}
    X, y = rows(n, sizes[0], dtype, how.get("sparse", False)), targets(n, sizes[-1], output)
    for n_threads in how.get("threads", THREADS):
        activation = how.get("activation", "tanh")
        if members == 1:
            net = fastnn.Network.create(sizes, activation, 5, **create)
        else:
            net = fastnn.Ensemble.create(members, sizes, activation, 5, **create)
        history = fastnn.train(net, X, y, epochs=3, batch_size=batch_size, seed=3, n_threads=n_threads, **options)
        scores = net.outputs(X, n_threads=n_threads)
        one = rows(1, sizes[0], dtype)
        parts = [net.params, np.array(history.loss_curve), scores, net.outputs(one), file_bytes(net)]
        yield f"{name} threads={n_threads}", parts


def train_cases() -> Iterator[Case]:
    """Every kind of training that `fastnn.train` knows."""
    panels, narrow, wide = [67, 131, 1, 33, 7], [9, 15, 1, 11, 7], [300, 200, 10]
    for dtype in ("float32", "float64"):
        for name, options in SOLVERS.items():
            how: dict[str, Any] = {"dtype": dtype}
            yield from training(f"panels {dtype} {name}", panels, options, {**how, "n": 203, "batch_size": 101})
            yield from training(f"lanes {dtype} {name}", narrow, options, {**how, "n": 1403, "batch_size": 700})
        for name, options in EXTRAS.items():
            for activation in ("tanh", "gelu"):
                how = {"dtype": dtype, "activation": activation}
                yield from training(f"extras {dtype} {name} {activation}", panels, options, how)
        for activation in ("relu", "logistic", "identity", "silu", "leaky_relu"):
            how = {"dtype": dtype, "activation": activation}
            yield from training(f"activation {dtype} {activation}", panels, SOLVERS["adam"], how)
        for output in ("logistic", "identity"):
            for name in ("sgd", "adam"):
                how = {"dtype": dtype, "output": output}
                yield from training(f"output {dtype} {output} {name}", panels, SOLVERS[name], how)
        for sparse in (False, True):
            for normalised in (False, True):
                if not (sparse or normalised):
                    continue
                for name, options in {**SOLVERS, "everything": EXTRAS["everything"]}.items():
                    how = {"dtype": dtype, "sparse": sparse, "layer_norm": normalised}
                    yield from training(f"sparse={sparse} layer_norm={normalised} {dtype} {name}", panels, options, how)
        kinds: list[tuple[str, list[int], dict[str, Any], dict[str, Any]]] = [
            ("panels", panels, SOLVERS["adam"], {}),
            ("lanes", narrow, SOLVERS["momentum"], {}),
            ("extras", panels, EXTRAS["everything"], {}),
            ("sparse", panels, SOLVERS["sgd"], {"sparse": True}),
            ("layer_norm", panels, SOLVERS["adam"], {"layer_norm": True}),
        ]
        for name, sizes, options, further in kinds:
            yield from training(f"ensemble {dtype} {name}", sizes, options, {"dtype": dtype, "members": 3, **further})
        yield from training(f"one batch {dtype}", wide, SOLVERS["adam"], {"dtype": dtype, "batch_size": 203})
        yield from training(f"wide {dtype}", wide, SOLVERS["nesterov"], {"dtype": dtype, "batch_size": 50})


def estimator_cases() -> Iterator[Case]:
    """The estimators: stopping, validation, weights, going on, checkpoints, several labels, values, ensembles."""
    from fastnn import MLPClassifier, MLPRegressor

    X, y = rows(400, 12, "float64"), np.array(["b", "a", "c"])[np.arange(400) % 3]
    weight = np.random.default_rng(1).uniform(0.5, 2, 400)
    settings: dict[str, dict[str, Any]] = {
        "defaults": {},
        "float64": {"dtype": "float64"},
        "accuracy": {"early_stopping": True, "scoring": "accuracy"},
        "scorer": {"early_stopping": True, "scoring": "f1_macro"},
        "balanced": {"class_weight": "balanced"},
        "class weights": {"class_weight": {"a": 2.0, "b": 0.5, "c": 1.0}},
        "cosine": {"learning_rate": "cosine", "warmup_epochs": 3, "solver": "adamw"},
        "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
        "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "early_stopping": False, "tol": 0.01},
        "extras": {"dropout": 0.1, "label_smoothing": 0.1, "clip_norm": 1.0, "activation": ("gelu", "tanh")},
        "ensemble": {"n_ensemble": 3},
        "normalised": {"layer_norm": True},
    }
    for name, options in settings.items():
        for n_threads in THREADS:
            common = {"hidden_layer_sizes": (40, 9), "max_iter": 12, "random_state": 1, "n_threads": n_threads}
            clf = MLPClassifier(**{**common, **options}).fit(X, y, sample_weight=weight)
            curves = [clf.loss_curve_, clf.validation_scores_ or [], clf.validation_loss_curve_ or []]
            parts = [clf.network_.params, *map(np.array, curves), clf.predict_proba(X), clf.predict(X).astype("U")]
            yield f"classifier {name} threads={n_threads}", [*parts, file_bytes(clf.network_)]
    common = {"hidden_layer_sizes": (40,), "max_iter": 6, "random_state": 1}
    for name, y_values in {"one": X[:, 0] * 2, "two": X[:, :2]}.items():
        for options in ({}, {"n_ensemble": 2}, {"dtype": "float64", "early_stopping": True}):
            reg = MLPRegressor(**common, **options).fit(X, y_values)
            yield f"regressor {name} {options}", [reg.network_.params, reg.predict(X), np.array(reg.loss_curve_)]
    labels = MLPClassifier(**common).fit(X, np.c_[y == "a", y != "b"].astype(int))
    yield "several labels", [labels.network_.params, labels.predict_proba(X)]
    held_out = MLPClassifier(**common).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    yield "validation set", [held_out.network_.params, np.array(held_out.validation_loss_curve_)]
    parts = MLPClassifier(**common, early_stopping=True)
    for _ in range(5):
        parts.partial_fit(X, y, classes=["a", "b", "c"])
    yield "partial_fit", [parts.network_.params, parts.predict_proba(X)]
    warm = MLPClassifier(**common, warm_start=True, solver="sgd", learning_rate="adaptive")
    yield "warm_start", [warm.fit(X, y).network_.params.copy(), warm.fit(X, y).network_.params]
    theirs = MLPClassifier.from_sklearn(warm.to_sklearn())
    yield "to and from scikit-learn", [theirs.predict_proba(X), theirs.fit(X, y).network_.params]
    yield from checkpoint_cases(X, np.arange(400) % 3)


def checkpoint_cases(X: Any, y: Any) -> Iterator[Case]:
    """A training that stops in its midst and goes on from its checkpoint; the checkpoint's own bytes as well."""
    import fastnn

    class StopError(Exception):
        """Ends a training from within a callback."""

    for name, options in {"adam": SOLVERS["adam"], "extras": EXTRAS["everything"]}.items():
        for members in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "checkpoint"
                content = []
                for n_epochs in (3, 7):
                    if members == 1:
                        net = fastnn.Network.create([12, 40, 3], seed=0)
                    else:
                        net = fastnn.Ensemble.create(members, [12, 40, 3], seed=0)
                    fastnn.train(net, X, y, epochs=n_epochs, batch_size=32, checkpoint=path, **options)
                    content.append(path.read_bytes())
                yield f"checkpoint {name} members={members}", [net.params, *content]
    for early in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"

            def stop(epoch: Any) -> None:
                if epoch.number == 4:
                    raise StopError

            clf = fastnn.MLPClassifier((20,), max_iter=9, random_state=0, early_stopping=early)
            try:
                clf.fit(X, y, checkpoint=path, callbacks=[stop])
            except StopError:
                half = path.read_bytes()
            whole = fastnn.MLPClassifier((20,), max_iter=9, random_state=0, early_stopping=early)
            whole.fit(X, y, checkpoint=path)
            yield f"resumed estimator early_stopping={early}", [half, whole.network_.params, path.read_bytes()]


def table_cases() -> Iterator[Case]:
    """Tables: training in memory and out of core, scoring of streams, and the command line on files."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet as pq

    from fastnn.cli import main
    from fastnn.pipeline import Model, Plan, predict_batches, train_batches

    random = np.random.default_rng(0)
    n = 3000
    table = pa.table(
        {
            "id": np.arange(n),
            "x": random.standard_normal(n).astype("float32"),
            "z": pa.array(random.standard_normal(n), mask=random.random(n) < 0.1),
            "word": pa.array(random.choice(["one", "two", "three"], n).tolist()),
            "day": pa.array(random.integers(15000, 15400, n).astype("int32"), pa.int32()).cast(pa.date32()),
            "flag": random.random(n) < 0.5,
            "label": pa.array(random.choice(["yes", "no", "maybe"], n).tolist()),
        }
    )
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            pq.write_table(table, "t.parquet", row_group_size=500)
            pyarrow.csv.write_csv(table, "t.csv")
            pa.feather.write_feather(table, "t.arrow", compression="uncompressed")
            for name, options in {
                "plain": {},
                "hidden": {"hidden": (40, 20), "hold_out_by": "id"},
                "out of core": {"buffer_rows": 700},
            }.items():
                for source in ("t.parquet", "t.csv"):
                    plan = Plan(**{"epochs": 3, "batch_size": 128, **options})
                    trained = train_batches(source, "label", plan, ignore=["id"])
                    batches = list(predict_batches(trained.model, table, keep=["id"], output="proba"))
                    scores = pa.Table.from_batches(batches)
                    arrays = [scores[column].to_numpy() for column in scores.column_names]
                    yield f"table {name} {source}", [file_bytes(trained.model), *arrays, trained.model.predict(table)]
            for source in ("t.parquet", "t.csv", "t.arrow"):
                for threads in ("1", "2"):
                    command = f"train {source} --target label --ignore id --hidden 20,8 --epochs 3 --model m-{threads}"
                    yield from command_case(main, command + f" --threads {threads}", f"m-{threads}")
                for out in ("scores.csv", "scores.parquet", "scores.arrow"):
                    command = f"predict m-1 {source} --out {out} --keep id --output proba"
                    yield from command_case(main, command, out, f"{source} ")
            yield "table loaded", [Model.load("m-1").predict_proba(table)]
        finally:
            os.chdir(here)


def command_case(main: Any, command: str, written: str, prefix: str = "") -> Iterator[Case]:
    """What a command writes: bytes, or the values of Parquet and Arrow files, which name their writer's version."""
    import pyarrow.feather
    import pyarrow.parquet as pq

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        code = main(command.split())
    assert code == 0, (command, errors.getvalue())
    if written.endswith((".parquet", ".arrow")):
        read = pq.read_table if written.endswith(".parquet") else pyarrow.feather.read_table
        table = read(written)
        yield f"{prefix}fastnn {command}", [str(table.schema.names), *(column.to_numpy() for column in table.columns)]
    else:
        yield f"{prefix}fastnn {command}", [Path(written).read_bytes()]


def main() -> int:
    """See the module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Hash what fastnn computes, or compare two files of hashes.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--against", type=Path, help="another file of hashes, to compare with")
    arguments = parser.parse_args()
    if arguments.against is not None:
        one, other = (json.loads(path.read_text()) for path in (arguments.file, arguments.against))
        different = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        print("\n".join(different), f"{len(different)} of {len(one)} and {len(other)} cases differ", sep="\n")
        return 1 if different else 0
    warnings.simplefilter("ignore")
    hashes: dict[str, str] = {}
    for cases in (kernel_cases, train_cases, estimator_cases, table_cases):
        for name, parts in cases():
            assert name not in hashes, name
            hashes[name] = digest(parts)
        print(f"{len(hashes)} cases after {cases.__name__}", file=sys.stderr)
    arguments.file.write_text(json.dumps(hashes, indent=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
