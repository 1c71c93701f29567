"""Files that fastnn can't read are called what they are."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pyarrow.parquet.encryption
import pytest

from fastnn.pipeline.columns.schema import DataError
from fastnn.pipeline.io.opening import open_source

TABLE = pa.table({"a": [1, 2], "b": ["x", "y"]})
CSV = "a,b\n1,x\n2,\xe9\n"


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("d.csv", CSV)


def tarred(path):
    with tarfile.open(path, "w") as file:
        file.add(__file__, "d.csv")


def database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a)")
    connection.close()


def npz(path):
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))


def compressed_parquet(path):
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer)
    path.write_bytes(gzip.compress(buffer.getvalue()))


WRITERS = {
    "zip": (zipped, "a zip archive or an Excel file .*save it as CSV"),
    "npz": (npz, "a zip archive"),
    "tar": (tarred, "a tar archive"),
    "xz": (lambda path: path.write_bytes(lzma.compress(CSV.encode())), "compressed by xz"),
    "orc": (lambda path: pyarrow.orc.write_table(TABLE, path), "an ORC file: export it"),
    "feather 1": (lambda path: pyarrow.feather.write_feather(TABLE, path, version=1), "Feather file of version 1"),
    "sqlite": (database, "a SQLite database"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a pickle"),
    "json": (lambda path: path.write_text(json.dumps({"a": [1, 2]})), "JSON"),
    "json rows": (lambda path: path.write_text(json.dumps([{"a": 1}])), "JSON"),
    "html": (lambda path: path.write_text("<!DOCTYPE html><html></html>"), "HTML"),
    "parquet.gz": (compressed_parquet, "a Parquet file that was compressed as a whole: unpack it"),
    "encrypted": (lambda path: path.write_bytes(b"PARE" + bytes(range(100)) + b"PARE"), "an encrypted Parquet file"),
    "utf-16": (lambda path: path.write_text(CSV, encoding="utf-16"), "UTF-16: declare it: --encoding utf-16"),
    "utf-16-le": (lambda path: path.write_text(CSV, encoding="utf-16-le"), "--encoding utf-16-le"),
    "utf-16-be": (lambda path: path.write_text(CSV, encoding="utf-16-be"), "--encoding utf-16-be"),
    "utf-32": (lambda path: path.write_text(CSV, encoding="utf-32"), "--encoding utf-32"),
    "png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "neither text nor"),
    "noise": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(1000)), "neither text nor"),
    "bz2 of noise": (lambda path: path.write_bytes(bz2.compress(bytes(range(256)))), "neither text nor"),
}


@pytest.mark.filterwarnings("ignore:Feather V1")
@pytest.mark.parametrize("kind", WRITERS)
def test_foreign_files_are_named(tmp_path, kind):
    write, message = WRITERS[kind]
    write(tmp_path / "data")
    with pytest.raises(DataError, match=message) as caught:
        open_source(tmp_path / "data")
    assert str(caught.value).startswith(str(tmp_path / "data")) and str(caught.value).isprintable()
