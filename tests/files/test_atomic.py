"""Files that appear whole or not at all. What a kill leaves behind is in test_modelfile.py."""

import os
import subprocess
import sys

import pytest

from fastnn.files.atomic import replacing

# A process that begins to write a file, says so, and is killed.
WRITER = """
import sys
from fastnn.files.atomic import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


def begin_to_write(path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def finish(process) -> None:
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    killed = begin_to_write(tmp_path / "file")
    other = begin_to_write(tmp_path / "other")
    killed.kill()
    finish(killed)
    assert len(list(tmp_path.iterdir())) == 2
    alive = begin_to_write(tmp_path / "file")  # it removes the file of the killed process
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(tmp_path / "file") as file:  # and this leaves the file of the living process alone
        file.write(b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours"
    for process in (alive, other):
        finish(process)
    assert (tmp_path / "file").read_bytes() == (tmp_path / "other").read_bytes() == b"half"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_taken_for_an_orphan_is_made_again(tmp_path, monkeypatch):
    """Another process may remove the temporary file before it is locked."""
    made = os.open
    removed = []

    def make_and_lose(path, flags, *mode):
        descriptor = made(path, flags, *mode)
        if flags & os.O_EXCL and not removed:
            os.unlink(path)
            removed.append(path)
        return descriptor

    with monkeypatch.context() as patch, replacing(tmp_path / "file") as file:
        pass
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", make_and_lose)
        with replacing(tmp_path / "file") as file:
            file.write(b"whole")
    assert removed and (tmp_path / "file").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_writer_takes_anothers_file_for_an_orphan(tmp_path):
    """However often other processes look for orphans, also between the last byte and the rename."""
    looking = """
import sys, pathlib
from fastnn.files import atomic
print("looking", flush=True)
while True:
    atomic._remove_orphans.__wrapped__(pathlib.Path(sys.argv[1]))
"""
    target = tmp_path / "file"
    process = subprocess.Popen([sys.executable, "-c", looking, target], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "looking\n"
        for number in range(1000):
            with replacing(target) as file:
                file.write(str(number).encode())
            assert target.read_bytes() == str(number).encode()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.mark.parametrize("length", [1, 255])
def test_any_name_that_a_file_may_have(tmp_path, length):
    with replacing(tmp_path / ("n" * length)) as file:
        file.write(b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    with replacing(tmp_path / "file") as file:
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
