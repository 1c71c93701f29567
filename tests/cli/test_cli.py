"""The command line: what a user types, what comes out, and how it fails."""

import csv
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from breast_cancer import N_ROWS, TABLE

import fastnn
import fastnn.cli
from fastnn.cli import main
from fastnn.files import modelfile
from fastnn.pipeline import Model

TRAIN = ("--target", "diagnosis", "--ignore", "id", "--hidden", "16", "--epochs", "12", "--learning-rate", "0.01")


def write_csv(path: Path, table: pa.Table = TABLE) -> Path:
    pyarrow.csv.write_csv(table, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with data as CSV and Parquet, a model trained on the CSV, and a bare network."""
    folder = tmp_path_factory.mktemp("files")
    write_csv(folder / "d.csv")
    pq.write_table(TABLE, folder / "d.parquet")
    assert main(["train", str(folder / "d.csv"), *TRAIN, "--model", str(folder / "m.safetensors")]) == 0
    fastnn.Network.create([3, 2]).save(folder / "network.safetensors")
    return folder


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fastnn.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def succeed(capsys, *arguments):
    """Run a command in this process; its JSON summary."""
    capsys.readouterr()
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def fail(capsys, *arguments):
    """Run a command in this process that must fail; its exit code and its one line."""
    capsys.readouterr()
    code = main([*map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("fastnn: ")]
    assert len(errors) == 1 and captured.err.endswith(f"{errors[0]}\n") and "Traceback" not in captured.err
    return code, errors[0]


def test_train_predict_evaluate(files, tmp_path, capsys):
    model, out = tmp_path / "m.safetensors", tmp_path / "scores.csv"
    options = ["--model", model, "--plot", tmp_path / "loss.png", "--dtype", "float64", "--threads", 1]
    trained = succeed(capsys, "train", files / "d.csv", *TRAIN, *options)
    assert trained["rows"] + trained["validation_rows"] == N_ROWS
    assert trained["epochs"] <= 12 and trained["sizes"][1:] == [16, 2] and trained["classes"] == ["benign", "malignant"]
    scored = succeed(capsys, "predict", model, files / "d.csv", "--out", out, "--keep", "id", "--keep", "diagnosis")
    assert scored["rows"] == N_ROWS
    evaluated = succeed(
        capsys, "evaluate", model, files / "d.csv", "--target", "diagnosis", "--plot", tmp_path / "confusion.png"
    )
    assert evaluated["accuracy"] > 0.9 and np.sum(evaluated["confusion"]) == N_ROWS

    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "diagnosis", "prediction", "probability_benign", "probability_malignant"]
    assert [row["id"] for row in rows] == TABLE["id"].to_pylist()  # 00012 stays 00012
    right = np.mean([row["prediction"] == row["diagnosis"] for row in rows])
    assert right == pytest.approx(evaluated["accuracy"])
    probabilities = np.array([[float(row["probability_benign"]), float(row["probability_malignant"])] for row in rows])
    np.testing.assert_array_equal(probabilities, Model.load(model).predict_proba(TABLE))
    for picture in ("loss.png", "confusion.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_csv_and_parquet_give_the_same(files, tmp_path, capsys):
    succeed(capsys, "train", files / "d.parquet", *TRAIN, "--model", tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == (files / "m.safetensors").read_bytes()
    for data, out in (("d.csv", "a.parquet"), ("d.parquet", "b.parquet"), ("d.parquet", "c.csv")):
        succeed(capsys, "predict", files / "m.safetensors", files / data, "--out", tmp_path / out)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = pq.read_table(tmp_path / "a.parquet")
    again = pyarrow.csv.read_csv(tmp_path / "c.csv")
    assert again.cast(table.schema.set(0, again.schema.field(0))).to_pydict() == table.to_pydict()


def test_integers_as_categories_are_the_same_in_csv_and_parquet(tmp_path, capsys):
    """Beyond 2**53 too, where float64 hasn't all of them."""
    ids = [2**62 + i % 3 for i in range(90)]
    pq.write_table(pa.table({"id": ids, "y": [i % 3 == 1 for i in range(90)]}), tmp_path / "d.parquet")
    write_csv(tmp_path / "d.csv", pq.read_table(tmp_path / "d.parquet"))
    (tmp_path / "columns.toml").write_text('[id]\nkind = "category"\n')
    options = ["--columns", tmp_path / "columns.toml", "--target", "y", "--epochs", 9]
    succeed(capsys, "train", tmp_path / "d.parquet", *options, "--model", tmp_path / "m")
    for data in ("d.csv", "d.parquet"):
        out = ["--out", tmp_path / f"of {data}.parquet", "--keep", "id"]
        succeed(capsys, "predict", tmp_path / "m", tmp_path / data, *out)
    scores, text = (pq.read_table(tmp_path / f"of d.{ending}.parquet") for ending in ("parquet", "csv"))
    assert text.set_column(0, "id", text["id"].cast(pa.int64())).equals(scores)  # in CSV, what is kept is text
    assert scores["id"].to_pylist() == ids and len(set(scores["probability_True"].to_pylist())) == 3


def test_rows_that_training_never_saw(files, tmp_path, capsys):
    """New categories (some like numbers), missing values where there were none, integers for floats, another order."""
    lines = ["extra,size,mean_area,mean_radius,mean_texture,mean_perimeter,mean_smoothness,mean_compactness"]
    lines[0] += ",mean_concavity,mean_concave_points,count,smooth"
    lines += ["x,7,1000,14,19,90,0,0,0,0,1,false", "y,8,,,,,,,,,,"]
    (tmp_path / "new.csv").write_text("\n".join(lines))
    succeed(capsys, "predict", files / "m.safetensors", tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] in ("benign", "malignant") for row in rows] == [True, True]


def test_a_model_among_its_data(files, tmp_path, capsys):
    pq.write_table(TABLE, tmp_path / "q.parquet")
    for data in (tmp_path, tmp_path / "*.parquet"):
        code, line = fail(capsys, "train", data, *TRAIN, "--model", tmp_path / "q.parquet")
        assert code == 2 and "the next run would read it as data" in line
    assert pq.read_table(tmp_path / "q.parquet").num_rows == N_ROWS


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or "jemalloc" not in pa.supported_memory_backends(),
    reason="another allocator is used here",
)
def test_arrow_gets_the_allocator_that_keeps_least():
    code = "import fastnn.cli, sys; assert fastnn.cli.main(['info']) == 0; import pyarrow as pa; "
    code += "print(pa.default_memory_pool().backend_name)"
    environment = {name: value for name, value in os.environ.items() if name not in fastnn.cli.ARROW_MEMORY}
    for given, used in ({}, "jemalloc"), ({"ARROW_DEFAULT_MEMORY_POOL": "system"}, "system"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == used
        assert not done.stderr


@pytest.mark.parametrize(
    ("labels", "shown"), [([10, 2, 33], "2, 10, 33"), (["1", "b", "ü"], "1, b, ü"), ([True, False], "False, True")]
)
def test_labels_of_every_type(labels, shown, tmp_path, capsys):
    y = [labels[i % len(labels)] for i in range(90)]
    data = write_csv(tmp_path / "d.csv", pa.table({"x": np.arange(90.0), "y": y}))
    options = ["--epochs", 2, "--hidden", 0]
    succeed(capsys, "train", data, "--target", "y", "--model", tmp_path / "m", *options)
    assert main(["info", str(tmp_path / "m")]) == 0
    assert re.search(rf"^classes +{shown}$", capsys.readouterr().out, re.MULTILINE)
    few = write_csv(tmp_path / "few.csv", pa.table({"x": [1.0], "y": [labels[0]]}))
    assert succeed(capsys, "evaluate", tmp_path / "m", few, "--target", "y")["rows"] == 1


def test_text_output(files, tmp_path, capsys):
    assert main(["evaluate", str(files / "m.safetensors"), str(files / "d.csv"), "--target", "diagnosis"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"accuracy +0\.9\d+", out) and re.search(r"^malignant +\d+ +\d+$", out, re.MULTILINE)


def test_info(files, capsys):
    facts = succeed(capsys, "info", files / "m.safetensors")
    assert (facts["kind"], facts["target"], facts["dtype"]) == ("pipeline", "diagnosis", "float32")
    assert facts["columns"]["size"] == "category (string)" and facts["columns"]["smooth"] == "boolean (bool)"
    facts = succeed(capsys, "info", files / "network.safetensors")
    assert (facts["kind"], facts["sizes"], facts["parameters"]) == ("network", [3, 2], 8)
    facts = succeed(capsys, "info")
    assert facts["threads"] >= 1 and facts["threading_layer"] and facts["numba"]


def test_progress_is_on_stderr(files, tmp_path, capsys):
    assert main(["train", str(files / "d.csv"), *TRAIN, "--model", str(tmp_path / "m")]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1 and "held-out accuracy" in captured.out
    assert re.search(r"epoch 1/12 +loss \d\.\d+ +held-out score", captured.err)


def test_progress_bar_on_a_terminal(files, tmp_path):
    """Through a pseudo-terminal, as a user has one."""
    command = [sys.executable, "-m", "fastnn.cli", "train", files / "d.csv", *TRAIN, "--model", tmp_path / "m"]
    master, slave = os.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
    os.close(master)
    out, _ = process.communicate()
    assert process.returncode == 0 and out.count(b"\n") == 1
    assert b"epoch" in shown and b"loss 0." in shown and "━".encode() in shown


def test_demo(tmp_path, capsys):
    result = succeed(capsys, "demo", "--out", tmp_path)
    assert result["accuracy"] >= 0.95 and result["accuracy"] >= result["sklearn_accuracy"] - 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-loss.png", "digits.safetensors"]
    network = fastnn.Network.load(tmp_path / "digits.safetensors")
    assert network.sizes == (64, 100, 10)


def test_demo_without_matplotlib_names_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert "pip install 'fastnn-numba[plot]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["digits.safetensors"]


def test_help_is_quick_and_lists_the_commands():
    shown = run("--help")
    assert shown.returncode == 0 and shown.stderr == ""
    for command in ("train", "predict", "evaluate", "info", "warmup", "demo"):
        assert f" {command} " in shown.stdout
    program = (
        "import sys, fastnn.cli\n"
        "heavy = {'sklearn', 'pyarrow', 'matplotlib', 'fastnn.pipeline'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Failures, each with its exit code. They run in this process, since a new process takes seconds. Tests further below
# try each exit code in a new process.

CSV = "d.csv"
MODEL = "m.safetensors"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", CSV, "--model", "new"], "'--target'"),
        (["train", CSV, *TRAIN, "--model", "new", "--epochs", "0"], "epochs"),
        (["train", CSV, *TRAIN, "--model", "new", "--hidden", "12,x"], "--hidden"),
        (["train", CSV, *TRAIN, "--model", "new", "--hidden", ""], "--hidden"),
        (["train", CSV, *TRAIN, "--model", "new", "--batch-size", "0"], "--batch-size"),
        (["train", CSV, *TRAIN, "--model", "new", "--activation", "sine"], "sine"),
        (["train", CSV, *TRAIN, "--model", "new", "--solver", "lbfgs"], "lbfgs"),
        (["train", CSV, *TRAIN, "--model", "new", "--learning-rate", "-1"], "--learning-rate"),
        (["train", CSV, *TRAIN, "--model", "new", "--alpha", "nan"], "alpha"),
        (["train", CSV, *TRAIN, "--model", "new", "--validation", "1"], "--validation"),
        (["train", CSV, *TRAIN, "--model", "new", "--threads", "0"], "threads"),
        (["train", CSV, *TRAIN, "--model", "new", "--ignore", "diagnosis"], "both target and ignored"),
        (["train", CSV, *TRAIN, "--model", CSV], "named twice"),
        (["train", CSV, *TRAIN, "--model", "new.png", "--plot", "new.png"], "named twice"),
        (["train", CSV, *TRAIN, "--model", "new", "--plot", "loss.docx"], "loss.docx"),
        (["train", CSV, *TRAIN, "--model", "new", "--columns", CSV], f"{CSV}: "),
        (["train", CSV, *TRAIN, "--model", "new", "--columns", "absent.toml"], "absent.toml: No such file"),
        (["train", CSV, *TRAIN, "--model", "new", "--nonsense"], "--nonsense"),
        (["predict", MODEL, CSV], "'--out'"),
        (["predict", MODEL, CSV, "--out", "scores.txt"], ".csv, .parquet or .arrow"),
        (["predict", MODEL, CSV, "--out", CSV], "named twice"),
        (["evaluate", MODEL, CSV], "'--target'"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage(files, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(files)
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    code, line = fail(capsys, *arguments)
    assert code == 2 and message in line
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_no_arguments_show_the_help(capsys):
    assert main([]) == 2
    assert "Usage: fastnn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "no such file"),
        ("", [], "is empty"),
        ("a,y\n", [], "no rows"),
        ("a,y\n1,2\n3\n", [], "Expected 2 columns, got 1"),
        ("a,y\n1,p\n2,p\n", [], "one class only"),
        ("a,b\n1,p\n2,q\n", [], "no column 'y'"),
        ("a,y\n1,p\n2,\n", [], "missing in 1 row"),
        ("a,y\n1,0.5\n2,1.5\n", ["--task", "classification"], "aren't whole"),
        ("a,y\ninf,p\n2,q\n", [], "'a' holds an infinite value"),
        ("a,a,y\n1,1,p\n2,2,q\n", [], "More than one column is called 'a'"),
        ("y\np\nq\n", [], "no column to learn from"),
        ("a,b,y\n1,,p\n2,,q\n", [], "--ignore b"),
        ("a,y\n1,p\n2,q\n", ["--ignore", "z"], "no column 'z'"),
        ("a,y\n1,p\n2,q\n", ["--validation", "0.1"], "--validation 0"),
        (b"a,y\n\xff,p\n2,q\n", [], "isn't utf-8. Say which encoding"),
        (b"PAR1\0\0", [], "can't be read"),
    ],
)
def test_unusable_data(tmp_path, capsys, content, options, message):
    data = tmp_path / "d.csv"
    if content is not None:
        data.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ["train", data, "--target", "y", "--model", tmp_path / "m", "--plot", tmp_path / "p.png"]
    code, line = fail(capsys, *arguments, "--validation", 0, *options)
    assert code == 5 and message in line
    assert [path.name for path in tmp_path.iterdir()] == ([] if content is None else ["d.csv"])


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda t: t.drop_columns(["size", "mean_area"]), 4, "no column 'mean_area', 'size'"),
        (lambda t: t.rename_columns({"size": "Size"}), 4, "no column 'size'"),
        (
            lambda t: t.set_column(0, "mean_radius", [["wide"] * N_ROWS]),
            4,
            "'mean_radius' is string (such as 'wide'), but",
        ),
        (
            lambda t: t.set_column(0, "mean_radius", [["2020-01-01"] * N_ROWS]),
            4,
            "'mean_radius' is string (such as '2020-01-01'), but",
        ),
        (lambda t: t.set_column(0, "mean_radius", [["-inf"] + ["1"] * (N_ROWS - 1)]), 5, "'mean_radius' holds an inf"),
        (lambda t: t.set_column(0, "mean_radius", [[1e300] * N_ROWS]), 5, "'mean_radius' holds a value too far"),
        (lambda t: t.slice(0, 0), 5, "no rows"),
        (lambda t: t.drop_columns(["id"]), 5, "no column 'id'"),
    ],
)
def test_data_that_does_not_fit_the_model(files, tmp_path, capsys, change, code, message):
    data = write_csv(tmp_path / "new.csv", change(TABLE))
    arguments = ["predict", files / MODEL, data, "--out", tmp_path / "scores.csv", "--keep", "id"]
    found, line = fail(capsys, *arguments)
    assert (found, message in line) == (code, True), line
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_evaluate_refuses(files, tmp_path, capsys):
    strangers = TABLE.set_column(
        TABLE.column_names.index("diagnosis"), "diagnosis", pa.array(["benign"] * 568 + ["unclear"])
    )
    data = write_csv(tmp_path / "new.csv", strangers)
    arguments = ["evaluate", files / MODEL, data, "--plot", tmp_path / "c.png", "--target"]
    assert fail(capsys, *arguments, "diagnosis")[0] == 4
    code, line = fail(capsys, *arguments, "outcome")
    assert code == 5 and "no column 'outcome'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_unusable_model_files(files, tmp_path, capsys):
    content = (files / MODEL).read_bytes()
    broken = tmp_path / "m"
    for length in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        broken.write_bytes(content[:length])
        for command in (["predict", broken, files / CSV, "--out", tmp_path / "s.csv"], ["info", broken]):
            assert fail(capsys, *command)[0] == 3
    for wrong, message in ((files / CSV, "not a safetensors file"), (files / "network.safetensors", "Network.load")):
        code, line = fail(capsys, "evaluate", wrong, files / CSV, "--target", "diagnosis")
        assert code == 3 and message in line
    code, line = fail(capsys, "predict", tmp_path / "absent", files / CSV, "--out", tmp_path / "s.csv")
    assert code == 3 and "no such model file" in line
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    "change",
    [
        lambda said: {"network": 3},
        lambda said: {"network": {**said["network"], "sizes": 3}},
        lambda said: {"network": {**said["network"], "sizes": [[1], [2]]}},
        lambda said: {"network": {**said["network"], "classes": [1]}},
        lambda said: {"schema": None},
        lambda said: {"schema": [{"name": "x"}]},
        lambda said: {"kind": "checkpoint"},
    ],
)
def test_info_about_a_forged_description(files, tmp_path, capsys, change):
    tensors, said = modelfile.load(files / MODEL)
    modelfile.save(tmp_path / "m", tensors, {**said, **change(said)})
    code, line = fail(capsys, "info", tmp_path / "m")
    assert code == 3 and "its description makes no sense" in line


def test_outputs_that_can_t_be_written_are_known_before_the_work(files, tmp_path, capsys):
    for out in (tmp_path / "absent" / "m", tmp_path):
        code, line = fail(capsys, "train", tmp_path / "not read.csv", *TRAIN, "--model", out)
        assert code == 1 and str(out) in line
    code, line = fail(capsys, "demo", "--out", tmp_path / "absent")
    assert code == 1 and "no folder" in line


def test_diverged_training_writes_no_model(files, tmp_path, capsys):
    arguments = [*TRAIN[:4], "--solver", "sgd", "--learning-rate", "1e30", "--activation", "identity"]
    code, line = fail(capsys, "train", files / CSV, *arguments, "--model", tmp_path / "m")
    assert code == 1 and "diverged" in line and list(tmp_path.iterdir()) == []


def test_unforeseen_errors_are_one_line_too(files, tmp_path, capsys, monkeypatch):
    def break_down(*_):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(Model, "load", break_down)
    code, line = fail(capsys, "predict", files / MODEL, files / CSV, "--out", tmp_path / "s.csv")
    assert code == 1 and line == "fastnn: RuntimeError: first line second line"


def test_without_pyarrow_the_message_names_the_extra(files):
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from fastnn.cli import main\n"
        "sys.exit(main(['predict', 'm.safetensors', 'd.csv', '--out', 's.csv']))"
    )
    failed = subprocess.run([sys.executable, "-c", program], cwd=files, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "pip install 'fastnn-numba[pipeline]'" in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (1, ["train", "d.csv", *TRAIN, "--model", "absent/m"]),
        (2, ["train", "d.csv"]),
        (3, ["predict", "d.csv", "d.csv", "--out", "s.csv"]),
        (4, ["evaluate", "m.safetensors", "ids.csv", "--target", "diagnosis"]),
        (5, ["train", "ragged.csv", *TRAIN, "--model", "new"]),
    ],
)
def test_every_code_from_outside(files, code, arguments):
    (files / "ragged.csv").write_text("a,diagnosis\n1,p\n2\n")
    (files / "ids.csv").write_text("id,diagnosis\n1,benign\n")
    before = sorted(path.name for path in files.iterdir())
    failed = run(*arguments, cwd=files)
    assert failed.returncode == code and failed.stdout == ""
    assert failed.stderr.startswith("fastnn: ") and failed.stderr.count("\n") == 1
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize("out", ["s.csv", "s.parquet"])
def test_full_disk(files, tmp_path, out):
    """A limit on the size of files stands for a full disk."""
    failed = run(
        *("predict", files / MODEL, files / CSV, "--out", tmp_path / out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
        env={**os.environ, "FASTNN_CACHE_DIR": str(files / "cache that may fail")},
    )
    assert failed.returncode == 1 and failed.stderr.startswith("fastnn: ") and failed.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_interrupted(files, tmp_path):
    command = [sys.executable, "-m", "fastnn.cli", "train", files / CSV, *TRAIN, "--model", tmp_path / "m"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000000", "--validation", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "rows" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("fastnn: interrupted\n") and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_interrupted_with_a_checkpoint(files, tmp_path, capsys):
    """The same command goes on from there, to the bytes of one that was never interrupted."""
    arguments = ["train", files / CSV, *TRAIN, "--epochs", "3000", "--validation", "0", "--threads", "1"]
    succeed(capsys, *arguments, "--model", tmp_path / "whole")
    arguments += ["--model", tmp_path / "m", "--checkpoint", tmp_path / "c", "--checkpoint-every", "100"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnn.cli", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "c").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"{tmp_path / 'c'} keeps the epochs that are done" in err and err.endswith("fastnn: interrupted\n")
    assert not (tmp_path / "m").exists()
    found = succeed(capsys, "info", tmp_path / "c")
    assert found["kind"] == "checkpoint" and 0 < found["epochs"] < 3000 and not found["finished"]
    assert succeed(capsys, *arguments)["epochs"] == 3000
    assert (tmp_path / "m").read_bytes() == (tmp_path / "whole").read_bytes()
    code, line = fail(capsys, *arguments[:-6], "--model", tmp_path / "m", "--checkpoint", files / CSV)
    assert code == 2 and "named twice" in line


def test_reader_that_has_gone(files):
    """As in `fastnn info M | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnn.cli", "info", files / MODEL], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err == ""


def test_warmup_compiles_everything_once(tmp_path, capsys, monkeypatch):
    """A warm-up takes minutes. Here another function replaces it, to see what the command prints."""
    monkeypatch.setattr("fastnn.warmup.warm_up", lambda report: report("float32: training"))
    summary = succeed(capsys, "warmup")
    assert summary["seconds"] < 1 and summary["compile_cache"]
    assert main(["warmup"]) == 0
    assert capsys.readouterr().err == "float32: training\n"


def test_the_first_run_on_a_machine_says_that_it_compiles(files, tmp_path):
    environment = {**os.environ, "FASTNN_CACHE_DIR": str(tmp_path / "cache")}
    command = ["train", files / CSV, *TRAIN, "--model", tmp_path / "m", "--json"]
    done = run(*command, env=environment)
    said = re.search(r"^compiling \(once per machine\): (\d+\.\d) s$", done.stderr, re.MULTILINE)
    assert said is not None, done.stderr
    # The time of training has no compiling in it.
    assert json.loads(done.stdout)["seconds"] < float(said[1])
