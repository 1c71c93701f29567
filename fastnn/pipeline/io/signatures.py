"""What a file's first bytes tell: a compression that can be undone, or a format that can't be read."""

from __future__ import annotations

import re

from fastnn.pipeline.columns.schema import DataError

START_BYTES = 512

# More than the first three letters of bzip2, because a column's name may begin with them.
_COMPRESSIONS = {
    "gzip": rb"\x1f\x8b",
    "bz2": rb"BZh[1-9]1AY&SY",
    "zstd": rb"\x28\xb5\x2f\xfd",
    "lz4": rb"\x04\x22\x4d\x18",
}
_UNPACK = "unpack it first"
_EXPORT = "export it as Parquet or CSV"
_FOREIGN = [
    (rb"PARE", "an encrypted Parquet file, and fastnn has no keys", "decrypt it first"),
    (rb"PAR1", "a Parquet file that was compressed as a whole", _UNPACK),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive or an Excel file (.xlsx)", f"{_UNPACK}, or save it as CSV"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file (.xls)", "save it as CSV"),
    (rb"\xfd7zXZ\0", "compressed by xz", f"{_UNPACK} (unxz)"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb"(\xff\x06\0\0sNaPpY|\x82SNAPPY)", "compressed by snappy", _UNPACK),
    (rb"ORC", "an ORC file", _EXPORT),
    (rb"Obj\x01", "an Avro file", _EXPORT),
    (rb"FEA1", "a Feather file of version 1", "write it anew with a current version of its program"),
    (rb"SQLite format 3\0", "a SQLite database", _EXPORT),
    (rb".{8}DUCK", "a DuckDB database", _EXPORT),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (rb"\x80[\x02-\x05]", "a pickle of Python", _EXPORT),
    (rb"%PDF-", "a PDF document", _EXPORT),
    (rb"\s*[{\[]\s*([{\[]\s*)?(\"|\}|\])", "JSON", _EXPORT),
    (rb"(?i)\s*<(!doctype|html|\?xml)", "HTML or XML", _EXPORT),
    (rb"(\xff\xfe\0\0|\0\0\xfe\xff)", "text in UTF-32", "declare it: --encoding utf-32"),
    (rb"(\xff\xfe|\xfe\xff)", "text in UTF-16", "declare it: --encoding utf-16"),
    (rb"([\t\r\n -~]\0){4}", "text in UTF-16", "declare it: --encoding utf-16-le"),
    (rb"(\0[\t\r\n -~]){4}", "text in UTF-16", "declare it: --encoding utf-16-be"),
]


def compression_of(start: bytes) -> str | None:
    """Arrow's name for the compression of a file that begins with these bytes; None for no compression."""
    return next((name for name, magic in _COMPRESSIONS.items() if re.match(magic, start)), None)


def refuse_foreign(name: str, start: bytes, encoding: str) -> None:
    """Raise a DataError if a file that begins with these bytes is no text, or is text in another encoding.

    `encoding` is the one that the user declared, or UTF-8.
    """
    declared = encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig")
    # A header may begin with the letters of a format: ORCID, PARENT.
    is_text = not re.search(rb"[\0-\x08\x0e-\x1f]", start)
    for magic, what, way in _FOREIGN:
        letters = is_text and magic.replace(rb".{8}", b"").isalnum()
        if re.match(magic, start, re.DOTALL) and not letters and not (declared and what.startswith("text")):
            raise DataError(f"{name} is {what}: {way}.")
    if not declared and b"\0" in start:
        raise DataError(f"{name} is neither text nor a file of a format that fastnn reads.")
