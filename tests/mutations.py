"""Model files that somebody damaged, by accident or on purpose, and what loading them takes."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastnn import ModelFileError, Network, modelfile, train
from fastnn.training.checkpoint import Checkpoint

NUMBERS = [0, 1, -1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63), 0.5, 1e308]
WORDS = ["", "x" * 1000, "float32", "network", "checkpoint", "pipeline"]
VALUES = [None, True, [], {}, [[[]]], {"a": {}}, *WORDS, *NUMBERS]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The file's bytes after one to four accidents."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, n = chance.randrange(len(data) + 1), chance.randint(1, 16)
        match chance.randrange(7):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + n]
            case 2:
                data[at:at] = chance.randbytes(n)
            case 3:
                data[at : at + n] = data[: min(n, len(data))]
            case 4:
                data[:8] = chance.choice([n, 2**63, 2**64 - 1, len(data), 2**31]).to_bytes(8, "little")
            case 5:
                del data[at:]
            case 6:
                digits = [i for i, byte in enumerate(data[:2000]) if 48 <= byte < 58]
                if digits:
                    where = chance.choice(digits)
                    data[where : where + 1] = str(chance.choice(NUMBERS)).encode()
    return bytes(data)


def forged(path: Path, chance: random.Random) -> None:
    """Change the description or the tensors, and write the file again with a right checksum."""
    tensors, description = modelfile.load(path)
    for _ in range(chance.randint(1, 3)):
        if tensors and chance.random() < 0.4:
            name = chance.choice(sorted(tensors))
            array = tensors.pop(name)
            dtype = chance.choice(["float32", "float64", "float16", "int64", "bool"])
            shape = [chance.choice([0, 1, 3, *array.shape[:1]]) for _ in range(chance.randint(0, 3))]
            changed = np.full(shape, chance.choice([0, 1, np.nan, np.inf, -1]))
            with np.errstate(invalid="ignore"):
                tensors[chance.choice([name, "weights.7", "numbers.losses"])] = changed.astype(dtype)
        else:
            change(description, chance)
    modelfile.save(path, tensors, description)


def change(document: dict, chance: random.Random) -> None:
    """Change an entry of a JSON document, or of one within it."""
    key = chance.choice(sorted(document)) if document else "kind"
    if isinstance(document.get(key), dict) and document[key] and chance.random() < 0.6:
        change(document[key], chance)
    elif chance.random() < 0.2:
        document.pop(key, None)
    else:
        document[key] = json.loads(json.dumps(chance.choice(VALUES)))


def load_many(folder: Path, n: int, seed: int) -> None:
    """Load `n` damaged or forged files: all are loaded or a ModelFileError, in less than 256 MB altogether."""
    chance = random.Random(seed)
    X, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3

    def network() -> Network:
        return Network.create([5, 7, 3], classes=["a", "b", "ü"], feature_names=list("vwxyz"), seed=1)

    network().save(folder / "network")
    labels = np.array(["a", "b", "ü"])[y]
    train(network(), X, labels, epochs=2, solver="adam", checkpoint=folder / "checkpoint")
    path = folder / "damaged"

    def resume() -> None:
        train(network(), X, labels, epochs=2, solver="adam", checkpoint=path)

    loads: dict[str, Callable[[], object]] = {
        "network": lambda: Network.load(path),
        "checkpoint": lambda: Checkpoint(path).load(network()),
    }
    whole = {name: (folder / name).read_bytes() for name in loads}
    loaded = 0
    for number in range(n):
        name = chance.choice(sorted(whole))
        if chance.random() < 0.8:
            path.write_bytes(damaged(whole[name], chance))
        else:
            path.write_bytes(whole[name])
            try:
                forged(path, chance)
            except (TypeError, ValueError):  # what can't even be saved
                continue
        load = resume if name == "checkpoint" and number % 50 == 0 else loads[name]
        try:
            load()
            loaded += 1
        except ModelFileError:
            pass
    # Not `getrusage`: a process begins there with the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    print(f"{n} files, {loaded} loaded, peak memory {peak / 1024:.0f} MB")
    assert n == 1 or (peak < 256 * 1024 and loaded < n / 4)
