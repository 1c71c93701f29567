"""The same data, seed and options give the same bytes, for any threads, layer, processor, chunks or slices."""

import copy
import json
import pickle
import platform

import numpy as np
import pytest
from child import ALWAYS_PARALLEL, run

import fastnn
from fastnn.network.samples import Samples
from fastnn.runtime.machine import host_features
from fastnn.training.stopping import Stopping
from fastnn.training.trainer import Trainer, TrainOptions

# Widths that are odd or one, in panels and in the lanes; batches of 101, 101, 1 rows, and of 700, 700, 3. Prints a hash
# of weights, losses and probabilities for each number of threads (the argument) and each way to train.
WORK = (
    ALWAYS_PARALLEL
    + """
import hashlib, json, sys
import numpy as np
import fastnn
from fastnn.kernels.epoch.lanes import LANES
from fastnn.kernels.epoch.panels import PANELS
from fastnn.kernels.forward.scoring import predict
from fastnn.network.samples import Samples
from fastnn.training.trainer import TrainOptions, Trainer

def work(n_threads):
    digests = {}
    for dtype in ("float32", "float64"):
        rng = np.random.default_rng(0)
        X, weight = rng.standard_normal((1403, 67)).astype(dtype), rng.uniform(0, 2, 1403)
        y = np.arange(1403) % 7
        for name, activation, options in (
            ("sgd", "identity", {}),
            ("momentum", "tanh", dict(momentum=0.9, alpha=1e-2)),
            ("nesterov", "relu", dict(momentum=0.9, nesterovs_momentum=True, alpha=1e-2, shuffle=False)),
            ("adam", "logistic", dict(solver="adam", step_size=0.01, alpha=1e-2)),
            ("extras", "gelu", dict(solver="adamw", weight_decay=0.1, dropout=0.2, label_smoothing=0.1, clip_norm=0.5)),
            ("layer_norm", "silu", dict(solver="adam", step_size=0.01, alpha=1e-2, dropout=0.2)),
        ):
            normalised = name == "layer_norm"
            for sizes, n, batch_size in (([67, 131, 1, 33, 7], 203, 101), ([9, 31, 1, 17, 7], 1403, 700)):
                net = fastnn.Network.create(sizes, activation, seed=5, dtype=dtype, layer_norm=normalised)
                kept = dict(batch_size=batch_size, seed=3, n_threads=n_threads)
                trainer = Trainer(net, TrainOptions(**{**kept, **options}))
                rows = np.ascontiguousarray(X[:n, : sizes[0]])
                samples = Samples(rows, y[:n], weight[:n] if name == "adam" else None)
                losses = [epoch.loss for epoch in trainer.epochs(samples, 4)]
                parts = [*net.tensors().values(), np.array(losses), net.predict_proba(rows, n_threads=n_threads)]
                assert all(np.isfinite(part).all() for part in parts)
                digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
                digests[f"{dtype} {name} {sizes}"] = digest
    return digests

for n_threads in map(int, sys.argv[1:]):
    print(json.dumps(work(n_threads)))
    assert bool(REGIONS) == (n_threads > 1)
"""
)
HASHES = 24

# A processor without AVX-512. The name alone isn't enough: LLVM would still be told the host's features.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c",
    "NUMBA_NUM_THREADS": "2",
}


def hashes(*threads: int, code: str = WORK, **environment: str) -> list[dict[str, str]]:
    """What `WORK` prints, for each number of threads."""
    found = [json.loads(line) for line in run(code, *map(str, threads), **environment).splitlines()]
    assert [len(each) for each in found] == [HASHES] * len(threads)
    return found


@pytest.fixture(scope="module")
def serial() -> dict[str, str]:
    """The hashes on one thread."""
    return hashes(1)[0]


def test_two_and_three_threads_give_the_bits_of_one(serial):
    assert hashes(2, 3, NUMBA_NUM_THREADS="3") == [serial, serial]


def test_workqueue_gives_the_bits_of_the_default_layer(serial):
    code = WORK + "\nimport numba\nassert numba.threading_layer() == 'workqueue'"
    assert hashes(2, code=code, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2") == [serial]


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not {"+avx2", "+fma"} <= set(host_features().split(",")),
    reason="this processor has no AVX2",
)
def test_a_build_without_avx512_gives_the_same_bits(serial, tmp_path):
    # In a cache of its own, for Numba shows the assembly of what it has compiled, not of what it has loaded.
    code = (
        WORK
        + """
for kernel in (PANELS.kernel, LANES.kernel, predict):
    for assembly in kernel.compiled.inspect_asm().values():
        assert "vfmadd231p" in assembly and "ymm" in assembly
        assert "zmm" not in assembly
"""
    )
    assert hashes(2, code=code, FASTNN_CACHE_DIR=str(tmp_path), **AVX2) == [serial]


def trained(dtype: str, **options) -> tuple[fastnn.Network, np.ndarray]:
    """A network after two epochs, and rows to score."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((1009, 21)).astype(dtype)
    net = fastnn.Network.create([21, 35, 17, 3], seed=2, dtype=dtype, classes=["a", "b", "c"])
    fastnn.train(net, X, np.array(list("abc"))[np.arange(1009) % 3], epochs=2, batch_size=64, **options)
    return net, X


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_score_alike_alone_in_chunks_and_together(dtype):
    net, X = trained(dtype)
    whole = net.predict_proba(X)
    for chunk in (1, 5, 48, 49, 500):
        parts = [net.predict_proba(X[i : i + chunk]) for i in range(0, len(X), chunk)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    # Rows that are converted a block at a time.
    many = np.tile(X, (9, 1))
    for form in (np.asfortranarray(many), many.astype(">f8"), many.tolist()):
        assert net.predict_proba(form).tobytes() == np.tile(whole, (9, 1)).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_scores_alike_after_save_pickle_and_copy(dtype, tmp_path):
    net, X = trained(dtype, solver="adam", step_size=0.01)
    net.save(tmp_path / "net.safetensors")
    again = fastnn.Network.load(tmp_path / "net.safetensors")
    for other in (again, pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert other.params.tobytes() == net.params.tobytes()
        assert other.predict_proba(X).tobytes() == net.predict_proba(X).tobytes()
        assert list(other.predict(X)) == list(net.predict(X))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("width", [13, 40])
def test_calls_of_compiled_code_may_be_cut_anywhere(solver, width, monkeypatch):
    """A call may run all epochs, one epoch (as a stopping rule needs) or one batch. `epochs` may be called again."""
    rng = np.random.default_rng(0)
    samples = Samples(rng.standard_normal((103, 9)).astype(np.float32), np.arange(103) % 4)
    options = TrainOptions(solver=solver, step_size=0.01, momentum=0.9, batch_size=10, alpha=1e-3, seed=11)

    def train(*epochs: int, stopping: Stopping | None = None) -> tuple[bytes, list[float]]:
        net = fastnn.Network.create([9, width, 4], seed=1)
        trainer = Trainer(net, options)
        losses = [epoch.loss for n in epochs for epoch in trainer.epochs(samples, n, stopping)]
        return net.params.tobytes(), losses

    whole = train(6)
    assert train(6, stopping=Stopping(n_iter_no_change=np.inf)) == whole
    assert train(1, 2, 3) == whole
    monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_CALL", 0.0)
    monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_TRIAL", 0.0)
    assert train(6) == whole


def test_the_seed_decides():
    def params(seed: int, shuffle_seed: int) -> bytes:
        net = fastnn.Network.create([4, 5, 3], seed=seed)
        X = np.random.default_rng(0).standard_normal((50, 4))
        fastnn.train(net, X, np.arange(50) % 3, epochs=2, batch_size=10, seed=shuffle_seed)
        return net.params.tobytes()

    assert params(0, 0) == params(0, 0)
    assert len({params(0, 0), params(1, 0), params(0, 1), params(0, 2**64 - 1)}) == 4
