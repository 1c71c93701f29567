"""Model files: what is saved is loaded, and nothing else is."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import safetensors.numpy
from child import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnn.files import modelfile
from fastnn.files.modelfile import ModelFileError, load, save

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "uint64", "bool", ">f8", ">i4"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)


def small_file(path: Path) -> bytes:
    rng = np.random.default_rng(0)
    tensors = {
        "weights.0": rng.normal(size=(7, 5)).astype(np.float32),
        "biases.0": rng.normal(size=5),
        "empty": np.zeros((0, 3), np.float32),
        "flags": np.array([True, False, True]),
    }
    save(path, tensors, {"kind": "test", "classes": ["α", 'b"', 3, True, None, 1.5e300, "\n"], "step": 1e22})
    return path.read_bytes()


@given(tensors=st.dictionaries(NAMES, ARRAYS, max_size=4), description=st.dictionaries(st.text(), JSON, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_round_trip(tmp_path, tensors, description):
    path = tmp_path / "model.safetensors"
    save(path, tensors, description)
    again, described = load(path)
    assert described == description
    assert {name: array.shape for name, array in again.items()} == {n: a.shape for n, a in tensors.items()}
    for name, array in tensors.items():
        assert again[name].dtype == array.dtype.newbyteorder("=")
        assert again[name].flags.writeable and again[name].flags.c_contiguous
        assert again[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    # Any reader of safetensors can read the arrays.
    assert set(safetensors.numpy.load_file(path)) == set(tensors)


def test_arrays_in_any_memory_order(tmp_path):
    array = np.arange(24.0).reshape(4, 6)
    save(tmp_path / "m", {"transposed": array.T, "strided": array[::2, ::3], "scalar": np.array(2.5)}, {})
    tensors, _ = load(tmp_path / "m")
    np.testing.assert_array_equal(tensors["transposed"], array.T)
    np.testing.assert_array_equal(tensors["strided"], array[::2, ::3])
    assert tensors["scalar"].shape == ()


def test_same_model_gives_same_bytes_in_every_process(tmp_path):
    program = (
        "import sys, numpy as np; from fastnn.files.modelfile import save\n"
        "names = ['weights.0', 'biases.0', 'weights.1', 'biases.1', 'x']\n"
        "save(sys.argv[1], {n: np.ones(3) for n in names}, {n: n for n in names})"
    )
    for i in range(4):
        subprocess.run([sys.executable, "-c", program, tmp_path / str(i)], check=True)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(4)}) == 1


def test_loaded_arrays_outlive_the_file(tmp_path):
    content = small_file(tmp_path / "m")
    tensors, _ = load(tmp_path / "m")
    before = tensors["weights.0"].tobytes()
    (tmp_path / "m").write_bytes(b"\0" * len(content))
    assert tensors["weights.0"].tobytes() == before


def test_truncated_at_every_byte(tmp_path):
    content = small_file(tmp_path / "m")
    for length in range(len(content)):
        (tmp_path / "m").write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load(tmp_path / "m")


def test_every_flipped_bit_is_seen(tmp_path):
    content = small_file(tmp_path / "m")
    for position in range(len(content)):
        for mask in [1 << bit for bit in range(8)] + [0xFF]:
            damaged = bytearray(content)
            damaged[position] ^= mask
            (tmp_path / "m").write_bytes(damaged)
            with pytest.raises(ModelFileError):
                load(tmp_path / "m")


@given(content=st.binary(max_size=200) | st.binary(max_size=80).map(lambda b: len(b).to_bytes(8, "little") + b))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError):
        load(tmp_path / "m")


def as_file(header: dict[str, object] | bytes, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def described(document: object) -> bytes:
    return as_file({"__metadata__": {"fastnn": document if isinstance(document, str) else json.dumps(document)}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x02", "truncated"),
        (b"a,b,c\n1,2,3\n" * 10, "not a safetensors file"),
        (b"\xff" * 8 + b"{}", "header claims 18446744073709551615"),
        ((200).to_bytes(8, "little") + b"{}", "has 10 bytes, and its header claims 200"),
        (as_file(b"{" * 100_000), "its header is no JSON"),
        (as_file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "its header is no JSON"),
        (as_file(b"{" + b"\xff" * 20 + b"}"), "its header is no JSON"),
        (as_file({}), "not one that fastnn made"),
        (as_file({"__metadata__": {"format": "pt"}}), "not one that fastnn made"),
        (as_file({"__metadata__": [1]}), "not one that fastnn made"),
        (described("no JSON"), "its description can't be read"),
        (described([1]), "its description can't be read"),
        (described({"format_version": "1", "description": {}}), "its description can't be read"),
        (described({"format_version": 1, "description": []}), "its description can't be read"),
        (described({"format_version": 2, "fastnn_version": "9.1", "description": {}}), "written by fastnn 9.1"),
        (described({"format_version": 1, "description": {}}), "SHA-256"),
        (described('{"format_version": 1, "description": {"x": NaN}, "sha256": ""}'), "SHA-256"),
        (
            as_file(
                {"__metadata__": {"fastnn": '{"format_version":1,"description":{}}'}, "w": {"dtype": "F32"}},
            ),
            "its tensors can't be read",
        ),
    ],
)
def test_message_says_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_newer_format_names_the_update(tmp_path, monkeypatch):
    monkeypatch.setattr(modelfile, "FORMAT_VERSION", 7)
    small_file(tmp_path / "m")
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match=r"format version 7.*pip install --upgrade fastnn-numba"):
        load(tmp_path / "m")


def test_another_file_s_tensors(tmp_path):
    save(tmp_path / "m", {"w": np.ones(4)}, {})
    header_length = int.from_bytes((tmp_path / "m").read_bytes()[:8], "little")
    damaged = bytearray((tmp_path / "m").read_bytes())
    damaged[8 + header_length :] = np.zeros(4).tobytes()
    (tmp_path / "m").write_bytes(damaged)
    with pytest.raises(ModelFileError, match="SHA-256"):
        load(tmp_path / "m")


def test_what_is_no_file(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        load(tmp_path / "absent")
    with pytest.raises(ModelFileError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ModelFileError, match="can't be read"):
        load("with\0nul")
    os.mkfifo(tmp_path / "fifo")  # opening it would wait for a writer for ever
    with pytest.raises(ModelFileError, match="no ordinary file"):
        load(tmp_path / "fifo")


@pytest.mark.parametrize(
    ("tensors", "description", "error"),
    [
        ({"w": np.array(["a"])}, {}, TypeError),
        ({"w": np.array([None])}, {}, TypeError),
        ({"w": np.ones(2, complex)}, {}, TypeError),
        ({"": np.ones(2)}, {}, ValueError),
        ({"__metadata__": np.ones(2)}, {}, ValueError),
        ({"a\x1f": np.ones(2)}, {}, ValueError),
        ({}, {"x": np.ones(2)}, TypeError),
        ({}, {"x": float("nan")}, ValueError),
    ],
)
def test_what_can_t_be_saved_leaves_nothing(tmp_path, tensors, description, error):
    with pytest.raises(error):
        save(tmp_path / "m", tensors, description)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch, step):
    content = small_file(tmp_path / "m")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path / "m", {"w": np.ones(1000)}, {})
    assert (tmp_path / "m").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("n_kills", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_in_the_middle_leaves_a_whole_file(tmp_path, n_kills):
    """A process that saves two models in turn is killed at many moments: the file is always a whole one of the two."""
    program = (
        "import sys, numpy as np; from fastnn.files.modelfile import save\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for value in (1.0, 2.0):\n"
        "        save(sys.argv[1], {'w': np.full(300_000, value)}, {'value': value})\n"
    )
    path = tmp_path / "m"
    save(path, {"w": np.full(300_000, 1.0)}, {"value": 1.0})
    rng = np.random.default_rng(0)
    for _ in range(n_kills):
        process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        tensors, description = load(path)
        assert np.all(tensors["w"] == description["value"])


def load_many(folder, n: int) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[2]); import pathlib, mutations\n"
    code += "mutations.load_many(pathlib.Path(sys.argv[1]), int(sys.argv[3]), seed=int(sys.argv[3]))"
    for count in (1, n):  # the first compiles, which takes more memory than any file
        print(run(code, str(folder), str(Path(__file__).parents[1]), str(count), timeout=3000))


def test_thousands_of_damaged_and_forged_files(tmp_path):
    load_many(tmp_path, 4000)


@pytest.mark.slow
def test_hundreds_of_thousands_of_them(tmp_path):
    load_many(tmp_path, 200_000)


def test_permissions_and_links(tmp_path):
    old = os.umask(0o027)
    try:
        save(tmp_path / "m", {}, {})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("m")
    save(tmp_path / "link", {"w": np.ones(1)}, {})
    assert (tmp_path / "link").is_symlink()
    assert "w" in load(tmp_path / "m")[0]


def test_paths_that_can_t_be_replaced(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        save(tmp_path / "absent" / "m", {}, {})
    with pytest.raises(IsADirectoryError):
        save(tmp_path, {}, {})
    with pytest.raises(OSError, match="no ordinary file"):  # a rename would put a file where the device was
        save("/dev/null", {}, {})
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
