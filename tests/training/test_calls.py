"""The calls of compiled code: how long they are, on how many threads they run, and what a failure leaves behind."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from fastnn import Network, TrainingDivergedError, train
from fastnn.kernels.epoch.panels import PANELS
from fastnn.network.samples import Samples
from fastnn.runtime.launch import launch
from fastnn.training.options import TrainOptions
from fastnn.training.trainer import Trainer

SIZES = (37, 19, 7, 5)
N_ROWS = 103
rng = np.random.default_rng(7)
X = rng.standard_normal((N_ROWS, SIZES[0]))
y = rng.integers(0, SIZES[-1], N_ROWS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@each_dtype
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("slow", [True, False])
def test_a_diverging_run_keeps_the_last_finite_weights(dtype, solver, slow):
    """By steps that overflow at once, or after some batches."""
    top = np.finfo(dtype).max
    step_size = float(top) / (1e6 if slow else 2)
    net = Network.create(SIZES, "identity", dtype=dtype)
    with pytest.raises(TrainingDivergedError, match=r"diverged in epoch .*Standardise X, or lower the step size"):
        train(net, X * 1e3, y, epochs=500, batch_size=10, step_size=step_size, solver=solver)
    assert np.isfinite(net.params).all()
    assert issubclass(TrainingDivergedError, ValueError)


@pytest.fixture(params=["long calls", "a call for each batch"])
def calls(request, monkeypatch) -> None:
    """How many batches a call of compiled code runs."""
    if request.param != "long calls":
        monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_CALL", 0.0)
        monkeypatch.setattr("fastnn.training.calls._SECONDS_PER_TRIAL", 0.0)


def disturbed(options: TrainOptions, disturb: Callable[[Trainer], None]) -> Network:
    """A network after two epochs, a disturbance, and two more."""
    net = Network.create(SIZES, seed=4)
    trainer = Trainer(net, options)
    list(trainer.epochs(Samples(X, y), 2))
    disturb(trainer)
    list(trainer.epochs(Samples(X, y), 2))
    return net


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_an_epoch_that_fails_leaves_no_trace(calls, solver, monkeypatch):
    """Divergence, or Ctrl-C, in the midst of an epoch: weights, solver and shuffle are those of the epoch before."""
    options = TrainOptions(solver=solver, step_size=0.01, momentum=0.9, batch_size=10)

    def diverge(trainer: Trainer) -> None:
        trainer.step_size = 1e38
        with pytest.raises(TrainingDivergedError, match="diverged in epoch 3:"):
            list(trainer.epochs(Samples(X * 100, y), 5))
        trainer.step_size = 0.01

    def interrupt(trainer: Trainer) -> None:
        def launch_and_interrupt(*args: object, **keywords: object) -> None:
            launch(*args, **keywords)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("fastnn.training.calls.launch", launch_and_interrupt)
            patch.setattr("fastnn.training.calls._SECONDS_PER_CALL", 0.0)  # the first call is one batch
            patch.setattr("fastnn.training.calls._SECONDS_PER_TRIAL", 0.0)
            list(trainer.epochs(Samples(X, y), 1))

    calm = disturbed(options, lambda trainer: None).params.tobytes()
    assert disturbed(options, diverge).params.tobytes() == calm
    assert disturbed(options, interrupt).params.tobytes() == calm


def test_one_compile_serves_every_run():
    for dtype in ("float32", "float64"):
        for sizes, solver in (((37, 5), "sgd"), ((37, 40, 3, 5), "adam")):
            net = Network.create(sizes, "relu", dtype=dtype)
            read_only = X.astype(dtype)
            read_only.flags.writeable = False
            for form in (X, read_only, np.asfortranarray(X), X.tolist()):
                train(net, form, y.astype(np.int8), epochs=1, solver=solver, n_threads=1, batch_size=17)
    assert len(PANELS.kernel.compiled.signatures) == 2


@pytest.mark.parametrize("n_threads", [None, 2])
def test_trainings_at_once_share_the_threads(monkeypatch, n_threads):
    """A second training runs during epochs 3 and 4 of the first. A training that names `n_threads` has that number."""

    class AlwaysTwo:
        n_threads = 2

        def choose(self):
            return 2, False

        def record(self, threads, seconds): ...

    used = {"first": [], "second": []}

    def noting(kernel, args, threads, dtype=None):
        used[threading.current_thread().name].append(threads)
        return launch(kernel, args, threads, dtype)

    monkeypatch.setattr("fastnn.training.calls.pace", lambda *_: AlwaysTwo())
    monkeypatch.setattr("fastnn.training.calls.usable_threads", lambda n_threads=None: 2)
    monkeypatch.setattr("fastnn.training.calls.launch", noting)
    met, done = threading.Event(), threading.Event()

    def second(epoch):
        met.set()
        assert done.wait(60)

    def first(epoch):
        if epoch.number == 2:
            other.start()
            assert met.wait(60)
        if epoch.number == 4:
            done.set()
            other.join()

    def work(callback, epochs):
        train(Network.create(SIZES), X, y, epochs=epochs, callbacks=[callback], n_threads=n_threads)

    other = threading.Thread(target=work, args=(second, 3), name="second")
    alone = threading.Thread(target=work, args=(first, 6), name="first")
    alone.start()
    alone.join()
    few = n_threads or 1
    assert used["first"] == [2, 2, few, few, 2, 2]
    assert used["second"][0] == few and len(used["second"]) == 3
