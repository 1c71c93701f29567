"""Which files a path stands for, and which columns the names of folders make."""

import os

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.discovery import Found, find_files, partitions
from fastnn.pipeline.io.places import Local


def names(found):
    return [(file.path, file.inner) for file in found]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in (
        "d/b.parquet",
        "d/a.parquet",
        "d/_SUCCESS",
        "d/.a.parquet.crc",
        "d/_delta_log/0.json",
        "d/.ipynb_checkpoints/a.parquet",
        "d/deep/er/c.csv",
        "d/_k=1/x.parquet",
        "odd[1].csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("d/b.parquet", [("d/b.parquet", "")]),
        ("d/_SUCCESS", [("d/_SUCCESS", "")]),  # hidden files can be asked for by name
        ("odd[1].csv", [("odd[1].csv", "")]),  # the name of a file, although it could be a pattern
        ("absent", [("absent", "")]),
        (
            "d",
            [
                ("d/_k=1/x.parquet", "_k=1"),
                ("d/a.parquet", ""),
                ("d/b.parquet", ""),
                ("d/deep/er/c.csv", "deep/er"),
            ],
        ),
        ("d/*.parquet", [("d/a.parquet", ""), ("d/b.parquet", "")]),
        ("*/[b-z].parquet", [("d/b.parquet", "d")]),
        ("d/**/c.*", [("d/deep/er/c.csv", "deep/er")]),
        ("d/de*", [("d/deep/er/c.csv", "deep/er")]),
        (
            "d/*",
            [("d/_k=1/x.parquet", "_k=1"), ("d/a.parquet", ""), ("d/b.parquet", ""), ("d/deep/er/c.csv", "deep/er")],
        ),
        ("*/_k=?/", [("d/_k=1/x.parquet", "d/_k=1")]),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_paths(folder, path, found, absolute):
    prefix = f"{folder}{os.sep}" if absolute else ""
    assert names(find_files(prefix + path)) == [(prefix + name, below) for name, below in found]


def test_two_ways_to_a_file_are_one(folder):
    """The pattern matches folders and also the files in them."""
    assert names(find_files("d/**")) == names(find_files("d/**/*")) == names(find_files("d"))


def test_nothing_to_read(folder):
    (folder / "empty").mkdir()
    for path, message in [
        ("empty", "no files in this folder"),
        ("d/_delta_log/../_de*", "no file matches"),
    ]:
        with pytest.raises(DataError, match=message):
            find_files(path)


def test_links_in_folders(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "linked.csv").touch()
    (folder / "d" / "link").symlink_to(elsewhere)
    assert ("d/link/linked.csv", "link") in names(find_files("d"))
    (elsewhere / "circle").symlink_to(folder / "d")
    with pytest.raises(DataError, match="circle leads to a folder that is read already"):
        find_files("d")


@pytest.mark.parametrize(
    "keys",
    [
        [{"year": "2024", "town": "a"}, {"year": "2025", "town": "b"}],
        [{"year": "2024"}, {"year": "two"}],
        [{"year": "02024"}, {"year": "-3"}],
        [{"year": "1.5"}, {"year": "1"}],
        [{"id": "3000000000"}, {"id": "1"}],
        [{"day": "2024-01-01"}, {"day": "2024-01-02"}],
        [{"flag": "true"}, {"flag": "false"}],
        [{"year": "__HIVE_DEFAULT_PARTITION__", "town": "x%20y%2Fz"}, {"year": "1", "town": "ü"}],
    ],
)
def test_partitions_are_those_of_pyarrow(tmp_path, keys):
    for file in keys:
        path = tmp_path.joinpath(*(f"{name}={value}" for name, value in file.items()))
        path.mkdir(parents=True)
        pq.write_table(pa.table({"x": [1]}), path / "part.parquet")
    found = find_files(str(tmp_path))
    columns = [{name: value.as_py() for name, value in values.items()} for values, _ in partitions(found)]
    theirs = ds.dataset(tmp_path, partitioning="hive")
    fragments = sorted(theirs.get_fragments(), key=lambda fragment: fragment.path)
    assert [file.path for file in found] == [fragment.path for fragment in fragments]
    assert columns == [ds.get_partition_keys(fragment.partition_expression) for fragment in fragments]
    types = [(name, value.type) for name, value in partitions(found)[0][0].items()]
    assert types == [(field.name, field.type) for field in theirs.schema][1:]


def test_leading_zeros_stay(tmp_path):
    """Pyarrow makes numbers of them, in which 7 and 007 are the same."""
    files = [Found(Local(f"id={value}/x"), f"id={value}") for value in ("007", "7", "8")]
    assert [values["id"].as_py() for values, _ in partitions(files)] == ["007", "7", "8"]


def test_folders_without_keys_make_no_columns():
    files = [Found(Local("d/deep/er/c.csv"), "deep/er"), Found(Local("x=1.csv"))]
    assert partitions(files) == [({}, frozenset())] * 2


def test_a_model_reads_the_names_of_folders_as_text():
    files = [Found(Local(f"id={value}/x"), f"id={value}") for value in ("007", "7", "__HIVE_DEFAULT_PARTITION__")]
    found = [values["id"] for values, _ in partitions(files, typed=False)]
    assert [value.as_py() for value in found] == ["007", "7", None]
    assert {value.type for value in found} == {pa.dictionary(pa.int32(), pa.string())}
