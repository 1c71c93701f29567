"""Places on the local disk, in an S3 store and in memory: all of them can be read, replaced, searched and removed."""

import os
import stat
import uuid

import pyarrow.fs
import pytest
import stores

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.discovery import find_files
from fastnn.pipeline.io.places import Local, is_uri, place_of, without_secrets


@pytest.fixture(scope="module")
def s3():
    with stores.s3_server() as options:
        yield options


@pytest.fixture(params=["local", "file", "memory", "s3"])
def store(request, tmp_path):
    """A function that makes the path or the URI of a name in an empty folder."""
    if request.param == "local":
        return lambda name: f"{tmp_path}/{name}"
    if request.param == "file":
        return lambda name: f"file://{tmp_path}/{name}"
    folder = uuid.uuid4().hex
    if request.param == "memory":
        return lambda name: f"memory://{folder}/{name}"
    options = request.getfixturevalue("s3")
    return lambda name: f"s3://bucket/{folder}/{name}{options}"


def write(place, content=b"a\n1\n"):
    place.make_folders()
    with place.replacing() as file:
        file.write(content)


def test_a_file_is_replaced_whole_or_not_at_all(store):
    place = place_of(store("out/x y+=%.csv".replace("%", "")))
    assert place.kind is None
    write(place, b"first")
    assert (place.kind, place.read(), place.status()["size"]) == ("file", b"first", 5)
    with pytest.raises(RuntimeError), place.replacing() as file:
        file.write(b"half")
        raise RuntimeError
    assert place.read() == b"first"
    write(place, b"second")
    assert place.read() == b"second"
    with place.open() as file:
        file.seek(3)
        assert file.read(2) == b"on"
    folder = place_of(store("out"))
    assert folder.kind == "folder" and sorted(folder.below()) == [("x y+=.csv",)]
    with pytest.raises(IsADirectoryError):
        folder.check_replaceable()
    place.remove()
    place.remove()
    assert place.kind is None


def test_names(store):
    place = place_of(store("a/b.csv"))
    assert (place_of(store("a")) / "b.csv").identity == place.identity
    assert place.beside("c").identity == place_of(store("a/c")).identity
    assert place.name.endswith("a/b.csv") and "?" not in place.name


def test_folders_and_patterns(store):
    for name in ("d/b.csv", "d/k=1/a.csv", "d/k=2/a.csv", "d/_SUCCESS", "d/.hidden/x.csv", "e.csv"):
        write(place_of(store(name)))

    def found(name):
        return [(file.inner, file.outer, os.path.basename(file.path)) for file in find_files(store(name))]

    everything = [("", "", "b.csv"), ("k=1", "", "a.csv"), ("k=2", "", "a.csv")]
    assert found("d") == everything == found("d/**")
    assert found("d/*.csv") == [("", "", "b.csv")]
    assert found("d/k=[1]/*.csv") == [("k=1", "", "a.csv")]
    assert found("d/k=2/*") == [("", "k=2", "a.csv")] == found("d/k=2") == found("d/k=2/a.csv")
    for name, message in (("d/*.parquet", "no file matches this pattern"), ("f/*", "no file matches")):
        with pytest.raises(DataError, match=message):
            find_files(store(name))


def test_what_is_a_uri():
    assert is_uri("s3://b/k") and is_uri("memory://x") and is_uri("abfs+x://c@a/k")
    for path in ("C:/x", "c://x", "data/s3://x", "x.csv", "/s3:/x"):
        assert not is_uri(path)
    assert isinstance(place_of("file:///tmp/a%20b"), Local) and place_of("file:///tmp/a%20b").name == "/tmp/a b"
    with pytest.raises(DataError, match="file://server/share: a file URI names no other machine"):
        place_of("file://server/share")
    for uri, shown in [
        ("s3://key:secret@bucket/a?x=1", "s3://bucket/a"),
        ("s3://AKIA:SE/CRET@bucket/a", "s3://bucket/a"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("hdfs://host:8020/a@b", "hdfs://host:8020/a@b"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
    ]:
        assert without_secrets(uri) == shown


@pytest.mark.parametrize("uri", ["nothing://a/b", "hdfs2://a"])
def test_unknown_file_systems(uri):
    with pytest.raises(DataError, match=f"{uri}: there is no such file system"):
        place_of(uri)


def test_a_store_that_cannot_be_reached(monkeypatch):
    for name, value in stores.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=r"^s3://bucket/x can't be read: "):
        find_files("s3://u:pw@bucket/x?scheme=http&endpoint_override=127.0.0.1:1&region=a&max_attempts=1")


def test_a_name_that_is_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")
    write(Local(path))
    assert [file.path for file in find_files(tmp_path)] == [path] and Local(path).read() == b"a\n1\n"


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "x"
    path.touch()
    path.chmod(0o640)
    write(Local(str(path)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nothing_half_sent_is_left(monkeypatch):
    place = place_of("memory://unsent/x.csv")
    write(place, b"old")

    def send_half(source, destination, source_filesystem, destination_filesystem):
        with destination_filesystem.open_output_stream(destination) as file:
            file.write(b"ha")
        raise OSError("the network is down")

    monkeypatch.setattr(pyarrow.fs, "copy_files", send_half)
    with pytest.raises(OSError, match="network"):
        write(place, b"half")
    assert place.read() == b"old" and list(place_of("memory://unsent").below()) == [("x.csv",)]
