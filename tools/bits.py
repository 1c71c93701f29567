"""Hash the results of many trainings and scorings, so that two commits can be compared bit by bit.

``python tools/bits.py OUT.json`` trains and scores small networks of every kind and writes ``{name: SHA-256}`` of their
weights, losses, scores and files. With ``--against BASE.json`` it also prints the names whose hashes differ from those
in the other file, or that only one of the two files has, and then exits with 1. It uses only public names of fastnn, so
that the same script runs against any commit, chosen by PYTHONPATH::

    PYTHONPATH=/path/to/the/old/tree python tools/bits.py old.json
    PYTHONPATH=/path/to/the/new/tree python tools/bits.py new.json --against old.json

``--kind narrow --kind sparse`` runs and compares these kinds only. A build for processors without AVX-512 gives the
same hashes. Two environment variables ask for it, and it wants a FASTNN_CACHE_DIR of its own:
NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c

Files are hashed as they are written. Input files get a fixed time of modification first, because checkpoints and
manifests of jobs contain that time. Left out are the seconds in summaries, which are measured, and pickles, which name
modules. Files contain the versions of fastnn, PyArrow and ONNX, so compare within one environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import bits_networks
import bits_tables
import numpy as np
from sklearn.exceptions import ConvergenceWarning

import fastnn

KINDS = {
    kind.__name__: kind
    for kind in (
        bits_networks.kernels,
        bits_networks.plain,
        bits_networks.narrow,
        bits_networks.extras,
        bits_networks.normalised,
        bits_networks.sparse,
        bits_networks.ensembles,
        bits_networks.scoring,
        bits_networks.estimators,
        bits_networks.checkpoints,
        bits_tables.tables,
        bits_tables.commands,
    )
}


def digest(value: Any) -> str:
    """The SHA-256 of bytes, of an array with its dtype and shape, or of a list of these."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, list | tuple):
        return hashlib.sha256("".join(map(digest, value)).encode()).hexdigest()
    array = np.asarray(value)
    if array.dtype == object:
        array = array.astype(str)
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()


def main() -> int:
    """Write the hashes, and compare them if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--against", type=Path, help="a JSON file to compare with")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="run this kind only; may be given again")
    arguments = parser.parse_args()
    chosen = arguments.kind or list(KINDS)
    print(f"fastnn in {Path(fastnn.__file__).parent}", file=sys.stderr)
    warnings.simplefilter("ignore", ConvergenceWarning)
    hashes = {name: found for kind in chosen for name, found in hashes_of(kind).items()}
    arguments.out.write_text(json.dumps(hashes, indent=0, sort_keys=True) + "\n")
    return 0 if arguments.against is None else compare(hashes, json.loads(arguments.against.read_text()), chosen)


def hashes_of(kind: str) -> dict[str, str]:
    """The hash of each result of each case of a kind."""
    began, n_cases = time.perf_counter(), 0
    hashes: dict[str, str] = {}
    for n_cases, (name, results) in enumerate(KINDS[kind](), 1):  # noqa: B007
        found = {f"{kind}: {name}: {what}": digest(result) for what, result in results.items()}
        assert hashes.keys().isdisjoint(found), name
        hashes |= found
    seconds = time.perf_counter() - began
    print(f"{kind}: {n_cases} cases, {len(hashes)} hashes, {seconds:.1f} s", file=sys.stderr, flush=True)
    return hashes


def compare(hashes: dict[str, str], base: dict[str, str], kinds: list[str]) -> int:
    """Print what differs; 1 if anything does."""
    base = {name: found for name, found in base.items() if name.split(":")[0] in kinds}
    differing = sorted(name for name in {*hashes, *base} if hashes.get(name) != base.get(name))
    for name in differing:
        print(f"{'differs' if name in hashes and name in base else 'missing'}: {name}")
    print(f"{len(hashes)} hashes, {len(differing)} differences", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
