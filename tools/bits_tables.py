"""Trainings and scorings of tables, in Python and on the command line, for `bits`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
from bits_networks import DTYPES, SOLVERS, Cases, parameters, written

import fastnn.pipeline
from fastnn.cli import main as command


def table(n: int) -> pa.Table:
    """A table with columns of every kind, some values missing, and the target ``label``."""
    rng = np.random.default_rng(n)
    number, whole, hole = rng.uniform(-5, 5, n), rng.integers(0, 50, n), rng.random((4, n)) < 0.1
    word = np.array(["red", "green", "blue", "grey"])[rng.integers(4, size=n)]
    label = np.array(["low", "middle", "high"])[np.digitize(number + whole / 10 + rng.uniform(-1, 1, n), [0, 4])]
    return pa.table(
        {
            "id": np.arange(n),
            "number": pa.array(number, mask=hole[0]),
            "single": number.astype("float32") ** 2,
            "whole": pa.array(whole, mask=hole[1]),
            "word": pa.array(word, mask=hole[2]),
            "day": pa.array([date(2020, 1, 1) + timedelta(days=int(k)) for k in whole], mask=hole[3]),
            "yes": rng.random(n) < 0.5,
            "label": label,
        }
    )


def modelled(trained_: Any, data: pa.Table) -> dict[str, Any]:
    """What a training on a table gave: weights, losses, scores in every form, the model file."""
    model = trained_.model
    results = {
        "weights": parameters(model.network),
        "losses": [[e.loss, e.validation_loss or 0.0, e.validation_score or 0.0] for e in trained_.epochs],
        "scores": model.predict_proba(data),
        "file": written(model.save),
    }
    for keep, output, bad in (([], "proba", "fail"), (["id", "word"], "both", "null"), (["day"], "label", "skip")):
        found = fastnn.pipeline.predict_batches(
            model, iter(data.to_batches(max_chunksize=77)), keep=keep, output=output, on_bad_row=bad
        )
        results[f"{output} batches"] = repr([batch.to_pydict() for batch in found]).encode()
    return results


def tables() -> Cases:
    """Models of tables: in memory and out of core, from every kind of source."""
    Plan, train_batches = fastnn.pipeline.Plan, fastnn.pipeline.train_batches
    data, few = table(900), table(60)
    options_of = type(Plan().options)
    columns = {"number": {"impute": "median", "indicator": True}, "whole": {"kind": "category", "max_categories": 7}}
    plans: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "defaults": ({}, {}, {}),
        "narrow": ({"hidden": (20, 8), "activation": "relu", "batch_size": 37}, {"alpha": 1e-2}, {}),
        "no hidden layer": ({"hidden": (), "validation": 0.0}, {"shuffle": False}, {"ignore": ["day", "word"]}),
        "columns": ({"hold_out_by": "id"}, SOLVERS["adam"], {"columns": columns}),
        "out of core": ({"buffer_rows": 200, "batch_size": 50}, SOLVERS["adam"], {}),
        "out of core, in order": ({"buffer_rows": 300, "batch_size": 100, "validation": 0}, {"shuffle": False}, {}),
    }
    for dtype in DTYPES:
        for name, (plan, options, further) in plans.items():
            for n in (1, 2):
                kept = options_of(seed=4, n_threads=n, **options)
                made = Plan(**{"epochs": 4, "hidden": (40,), "dtype": dtype, **plan}, options=kept)
                found = train_batches(data, "label", made, **further)
                yield f"{dtype} {name} threads={n}", modelled(found, data)
        with in_folder():
            write_tables(data)
            made = Plan(epochs=3, hidden=(40,), dtype=dtype, buffer_rows=250, batch_size=25)
            for source in ("rows.parquet", "rows.csv", "rows.arrow", ["rows.parquet", "more.parquet"]):
                found = train_batches(source, "label", made, ignore=["id"], checkpoint="checkpoint")
                results = {**modelled(found, data), "checkpoint": Path("checkpoint").read_bytes()}
                yield f"{dtype} from {source}", results
        stream = pa.RecordBatchReader.from_batches(few.schema, few.to_batches(max_chunksize=7))
        yield f"{dtype} stream", modelled(train_batches(stream, "label", Plan(epochs=3, dtype=dtype)), few)


@contextlib.contextmanager
def in_folder() -> Iterator[None]:
    """Work in an empty folder, so that files can be named without the folder, which has another name each time."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def write_tables(data: pa.Table) -> None:
    """Write the table in each format, with a fixed time of modification."""
    pa.parquet.write_table(data, "rows.parquet", row_group_size=100)
    pa.parquet.write_table(data.slice(0, 123), "more.parquet")
    pa.csv.write_csv(data, "rows.csv")
    pa.feather.write_feather(data, "rows.arrow", chunksize=150)
    for path in Path().iterdir():
        os.utime(path, ns=(10**18, 10**18))


def run(line: str) -> bytes:
    """Run a command line; what it prints as JSON, without the seconds that it took."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as errors:
        code = command([*line.split(), "--json"])
    if code:
        raise RuntimeError(f"fastnn {line} exits with {code}: {errors.getvalue()}")
    summary = json.loads(out.getvalue())
    summary.pop("seconds", None)
    return json.dumps(summary, sort_keys=True).encode()


def commands() -> Cases:
    """``fastnn train``, ``predict`` and ``evaluate``, with the files that they write."""
    with in_folder():
        write_tables(table(900))
        trainings = {
            "parquet": "rows.parquet --ignore id --epochs 4",
            "csv": "rows.csv --ignore id --epochs 3 --hidden 64,16 --dtype float64 --threads 2 --checkpoint kept",
            "arrow": "rows.arrow --epochs 3 --hold-out-by id --solver sgd --batch-size 31 --activation relu --hidden 9",
            "parts": "rows.parquet more.parquet --epochs 3 --buffer-rows 200 --seed 9 --validation 0 --alpha 0.1",
            "linear": "rows.parquet --hidden 0 --epochs 2 --learning-rate 0.01 --threads 1",
        }
        for name, line in trainings.items():
            said = run(f"train {line} --target label --model {name}.model")
            files = [Path(each).read_bytes() for each in (f"{name}.model", "kept") if Path(each).exists()]
            yield f"train {name}", {"said": said, "files": files}
            said = run(f"evaluate {name}.model rows.csv --target label")
            yield f"evaluate {name}", {"said": said}
            for ending in ("parquet", "csv", "arrow"):
                out = f"{name}.scores.{ending}"
                options = "--keep id --check-drift" if ending == "csv" else "--output proba --on-bad-row null"
                said = run(f"predict {name}.model rows.{ending} --out {out} {options}")
                files = [Path(each).read_bytes() for each in (out, f".{out}.manifest.json")]
                yield f"predict {name} {ending}", {"said": said, "files": files}
