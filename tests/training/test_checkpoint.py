"""The file of a checkpoint: what is in it, what is refused, and that a kill leaves it whole."""

import subprocess
import sys
import time

import numpy as np
import pytest

from fastnn import ModelFileError, Network, train
from fastnn.files import modelfile
from fastnn.training.checkpoint import Checkpoint, Progress, differing, fingerprint

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 6)).astype(np.float32)
y = (X[:, 0] * X[:, 1] > 0) + 1 * (X[:, 2] > 0)


def test_a_checkpoint_is_no_model_and_a_model_no_checkpoint(tmp_path):
    net = Network.create([6, 8, 3])
    train(net, X, y, epochs=1, checkpoint=tmp_path / "c")
    with pytest.raises(ModelFileError, match="checkpoint of a training, not a model"):
        Network.load(tmp_path / "c")
    net.save(tmp_path / "m")
    with pytest.raises(ModelFileError, match="is no checkpoint but a model"):
        train(net, X, y, epochs=1, checkpoint=tmp_path / "m")


def test_a_damaged_one_is_named_and_kept(tmp_path):
    path = tmp_path / "c"
    train(Network.create([6, 8, 3]), X, y, epochs=1, checkpoint=path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], b"", whole[:100] + b"?" + whole[101:]):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=str(path)):
            train(Network.create([6, 8, 3]), X, y, epochs=2, checkpoint=path)
        assert path.read_bytes() == content


@pytest.mark.parametrize("harm", ["identity", "vectors", "network", "finished", "params", "state", "numbers", "nan"])
def test_one_with_a_right_checksum_and_strange_content(tmp_path, harm):
    """A file that somebody made to do harm may have the right checksum."""
    path = tmp_path / "c"
    arguments = {"epochs": 2, "solver": "adam", "checkpoint": path}
    train(Network.create([6, 8, 3]), X, y, **{**arguments, "epochs": 1})
    tensors, description = modelfile.load(path)
    if harm in description:
        description |= {"finished": False, harm: 7}
        if harm == "identity":
            assert Checkpoint(path).seed() is not None
    elif harm == "params":
        tensors["params.weights.0"] = np.ones((2, 2), np.float32)
    elif harm == "state":
        del tensors["state.1.biases.0"]
    elif harm == "numbers":
        tensors["numbers.counts"] = np.zeros(1)
        description["finished"] = False
    else:
        tensors["params.weights.0"][0] = np.nan
    modelfile.save(path, tensors, description)
    if harm == "identity":
        assert Checkpoint(path).seed() is None
    if harm == "finished":  # 7 is a true value, and as good as True
        assert len(train(Network.create([6, 8, 3]), X, y, **arguments).loss_curve) == 2
        return
    with pytest.raises(ModelFileError):
        train(Network.create([6, 8, 3]), X, y, **arguments)


@pytest.mark.parametrize(
    ("path", "every", "error"),
    [("c", 0, ValueError), ("c", 1.5, TypeError), ("c", True, TypeError), ("no/c", 1, FileNotFoundError)],
)
def test_what_can_not_be_written_is_refused_before_the_work(tmp_path, path, every, error):
    net = Network.create([6, 8, 3])
    before = net.params.tobytes()
    with pytest.raises(error):
        train(net, X, y, checkpoint=tmp_path / path, checkpoint_every=every)
    assert net.params.tobytes() == before


def test_the_same_progress_gives_the_same_bytes(tmp_path):
    net = Network.create([6, 8, 3])
    progress = Progress({"options": {"seed": 1}}, {"params": net.params}, {"losses": np.ones(2)}, False)
    for name in "ab":
        Checkpoint(tmp_path / name).save(net, progress)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = Checkpoint(tmp_path / "a").load(net)
    assert loaded is not None and loaded.identity == progress.identity
    assert loaded.vectors["params"].tobytes() == net.params.tobytes()


def test_fingerprints_differ_where_arrays_do():
    arrays = [X, X[::2], X.reshape(6, -1), X.astype(float), y, np.array(["a", "b"]), np.array(["a", "b"], object), None]
    assert len({fingerprint(array) for array in arrays}) == len(arrays) - 1  # equal strings count as equal arrays
    assert fingerprint(X) == fingerprint(np.asfortranarray(X)) != fingerprint(X, X)


def test_what_differs_is_told():
    one = {"options": {"seed": 1, "alpha": 0.1}, "data": "0" * 64}
    assert differing(one, one) is None
    assert differing(one, {**one, "options": {"seed": 1, "alpha": 0.2}}) == "alpha 0.1 (here 0.2)"
    assert differing(one, {**one, "data": "1" * 64}) == "other data"


# Kills

FIT = """
import sys, warnings
from sklearn.datasets import load_digits
from fastnn import MLPClassifier
warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
clf = MLPClassifier((32,), max_iter=150, n_iter_no_change=1000, early_stopping=True, random_state=0, n_threads=1)
print("ready", flush=True)
clf.fit(X, y, checkpoint=sys.argv[1], checkpoint_every=3)
clf.network_.save(sys.argv[2])
"""


def killed_and_resumed(folder, n_kills: int) -> None:
    """Kill a fit at random moments, each at another place of it, and resume: the same model file every time."""

    def run(kill_after=None):
        process = subprocess.Popen([sys.executable, "-c", FIT, folder / "c", folder / "m"], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        began = time.perf_counter()
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        return time.perf_counter() - began

    seconds = run()
    whole = (folder / "m").read_bytes()
    random = np.random.default_rng(0)
    kills = 0
    while kills < n_kills:
        for path in folder.iterdir():
            path.unlink()
        while not (folder / "m").exists():
            if kills < n_kills:
                run(kill_after=random.uniform(0, seconds))
                kills += 1
            else:
                run()
            if (folder / "c").exists():
                assert modelfile.load(folder / "c")[1]["kind"] == "checkpoint"
        assert (folder / "m").read_bytes() == whole
        run()
        assert not list(folder.glob(".*"))


def test_a_fit_that_is_killed_a_few_times(tmp_path):
    killed_and_resumed(tmp_path, 4)


@pytest.mark.slow
def test_a_fit_that_is_killed_a_hundred_times(tmp_path):
    killed_and_resumed(tmp_path, 100)
