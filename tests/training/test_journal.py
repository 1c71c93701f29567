"""A training that goes on from a checkpoint ends in the bytes of one that never stopped."""

import re
import signal
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastnn import MLPClassifier, ModelFileError, Network, TrainingDivergedError, train
from fastnn.network.samples import Samples
from fastnn.runtime import launch as launching
from fastnn.training.calls import Calls
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.journal import Journal
from fastnn.training.schedule import Schedule
from fastnn.training.stopping import VALIDATION_LOSS, VALIDATION_SCORE, Stopping
from fastnn.training.trainer import Trainer, TrainOptions
from fastnn.training.validation import Validation

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 6)).astype(np.float32)
y = (X[:, 0] * X[:, 1] > 0) + 1 * (X[:, 2] > 0)
weight = rng.uniform(0.5, 2, 150)
SIZES = {"in lanes": (6, 8, 3), "by panels": (6, 40, 3)}
SOLVERS = {
    "sgd": {"step_size": 0.1},
    "momentum": {"step_size": 0.1, "momentum": 0.9},
    "nesterov": {"step_size": 0.1, "momentum": 0.9, "nesterovs_momentum": True},
    "adam": {"solver": "adam", "step_size": 0.01},
}
RULES = {
    "none": lambda net: None,
    "loss": lambda net: Stopping(1e-3, 5, Schedule("adaptive", 0.1)),
    "rate": lambda net: Stopping(0.0, np.inf, Schedule("invscaling", 0.1, 0.4)),
    "accuracy": lambda net: Stopping(0.01, 6, None, held_out(net), VALIDATION_SCORE),
    "validation loss": lambda net: Stopping(0.01, 6, None, held_out(net), VALIDATION_LOSS),
    "curves": lambda net: Stopping(0.01, np.inf, None, held_out(net)),
}


def all_of(net, epochs, rule):
    """Everything that a training leaves behind, in bytes."""
    best = None if rule is None or rule.best_params is None else rule.best_params.tobytes()
    seen = None if rule is None else rule.memory()["seen"]
    return net.params.tobytes(), epochs, best, seen


def held_out(net):
    return Validation(net, Samples(X[:20], y[:20]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rule", RULES)
def test_stopped_anywhere_and_resumed(tmp_path, dtype, sizes, solver, rule):
    """Each run starts as after a kill: with a new network, a new trainer and a new stopping rule."""
    options = TrainOptions(**SOLVERS[solver], batch_size=32, alpha=1e-3, seed=3)

    def trained(n_epochs, checkpoint=None):
        net = Network.create(SIZES[sizes], seed=1, dtype=dtype)
        stopping = RULES[rule](net)
        epochs = list(Trainer(net, options).epochs(Samples(X, y, weight), n_epochs, stopping, checkpoint))
        return all_of(net, epochs, stopping)

    whole = trained(30)
    for n_epochs in (1, 4, 4, 11, 30, 30):
        found = trained(n_epochs, Checkpoint(tmp_path / "c", every=3))
    assert found == whole


def test_it_is_written_every_so_many_epochs_and_at_the_end(tmp_path, monkeypatch):
    counts = []
    save = Checkpoint.save

    def count_and_save(checkpoint, net, progress):
        counts.append(progress.numbers["losses"].size)
        save(checkpoint, net, progress)

    monkeypatch.setattr(Checkpoint, "save", count_and_save)
    train(Network.create([6, 8, 3]), X, y, epochs=11, checkpoint=tmp_path / "c", checkpoint_every=4)
    train(Network.create([6, 8, 3]), X, y, epochs=14, checkpoint=tmp_path / "c", checkpoint_every=4)
    assert counts == [4, 8, 11, 12, 14]


def test_an_interrupt_writes_it(tmp_path):
    def fit(n_epochs, checkpoint, press_after=None):
        net, epochs = Network.create([6, 8, 3]), []
        trainer = Trainer(net, TrainOptions(batch_size=32))
        for epoch in trainer.epochs(Samples(X, y), n_epochs, Stopping(0.0, np.inf), checkpoint):
            epochs.append(epoch)
            if epoch.number == press_after:
                signal.raise_signal(signal.SIGINT)
        return net, epochs

    checkpoint = Checkpoint(tmp_path / "c", every=1000)
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 8: the network keeps the weights of epoch 7"):
        fit(20, checkpoint, press_after=7)
    progress = checkpoint.load(Network.create([6, 8, 3]))
    assert progress is not None and progress.numbers["losses"].size == 7
    net, epochs = fit(20, checkpoint)
    other, others = fit(20, None)
    assert epochs == others and net.params.tobytes() == other.params.tobytes()


def test_a_diverging_training_keeps_the_checkpoint_before(tmp_path):
    trainer = Trainer(Network.create([6, 8, 3], "identity"), TrainOptions(batch_size=10))
    checkpoint, kept = Checkpoint(tmp_path / "c"), b""
    with pytest.raises(TrainingDivergedError, match="diverged in epoch 4:"):
        for epoch in trainer.epochs(Samples(X, y), 9, Stopping(), checkpoint):
            if epoch.number == 3:
                kept = trainer.net.params.tobytes()
                trainer.step_size = 1e38
    progress = checkpoint.load(trainer.net)
    assert progress is not None and progress.numbers["losses"].size == 3
    assert progress.vectors["params"].tobytes() == trainer.net.params.tobytes() == kept


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batch_size": 16}, "batch_size 32 (here 16)"),
        ({"seed": 5}, "seed 0 (here 5)"),
        ({"X": X + 1}, "other data"),
        ({"y": y[::-1]}, "other data"),
        ({"net": Network.create([6, 8, 3], seed=7)}, "other initial weights"),
        ({"net": Network.create([6, 9, 3])}, "another network"),
        ({"epochs": 2}, "more epochs than the 2 asked for"),
    ],
)
def test_an_unfinished_training_is_not_mixed_with_another(tmp_path, changed, told):
    path = tmp_path / "c"
    trainer = Trainer(Network.create([6, 8, 3]), TrainOptions(batch_size=32))
    for epoch in trainer.epochs(Samples(X, y), 9, None, Checkpoint(path)):
        if epoch.number == 5:
            break
    before = path.read_bytes()
    same = {"net": Network.create([6, 8, 3]), "X": X, "y": y, "batch_size": 32, "epochs": 9}
    with pytest.raises(ModelFileError) as raised:
        train(**{**same, **changed}, checkpoint=path)
    assert told in str(raised.value) and str(path) in str(raised.value) and "delete it" in str(raised.value)
    assert path.read_bytes() == before
    assert len(train(**same, checkpoint=path).loss_curve) == 9


def test_a_finished_training_makes_room_for_the_next(tmp_path):
    """The job of the next night has other data, and the same file."""
    path = tmp_path / "c"
    for data in (X, X * 2):
        nets = Network.create([6, 8, 3]), Network.create([6, 8, 3])
        train(nets[0], data, y, epochs=3, checkpoint=path)
        train(nets[1], data, y, epochs=3)
        assert nets[0].params.tobytes() == nets[1].params.tobytes()


@pytest.mark.parametrize("change", ["sizes", "epochs"])
def test_a_finished_training_makes_room_for_any_other(tmp_path, change):
    path = tmp_path / "c"
    train(Network.create([6, 8, 3]), X, y, epochs=5, checkpoint=path)
    nets = [Network.create([6, 9, 3] if change == "sizes" else [6, 8, 3]) for _ in range(2)]
    for net, kept in zip(nets, (path, None), strict=True):
        train(net, X, y, epochs=3, checkpoint=kept)
    assert nets[0].params.tobytes() == nets[1].params.tobytes()
    assert Checkpoint(path).load(nets[0]).numbers["losses"].size == 3


def test_an_interrupted_training_goes_on_in_the_same_process(tmp_path, monkeypatch):
    """Its network isn't what it was at first, but what the checkpoint says."""
    net, whole = Network.create([6, 8, 3]), Network.create([6, 8, 3])
    arguments = {"epochs": 2000, "batch_size": 32, "checkpoint": tmp_path / "c", "checkpoint_every": 500}

    def press_and_launch(*launch):
        signal.raise_signal(signal.SIGINT)
        return launching.launch(*launch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="interrupted in epoch"):
        patch.setattr("fastnn.training.calls.launch", press_and_launch)
        train(net, X, y, **arguments)
    curve = train(net, X, y, **arguments).loss_curve
    assert curve == train(whole, X, y, **{**arguments, "checkpoint": None}).loss_curve
    assert net.params.tobytes() == whole.params.tobytes()


@pytest.mark.parametrize("moment", range(4))
def test_an_exception_at_a_bad_moment_keeps_the_checkpoint_before(tmp_path, monkeypatch, moment):
    """A second Ctrl-C, or an exception in a host's signal handler, comes after an epoch and before its record."""
    checkpoint, epochs = Checkpoint(tmp_path / "c", every=5), 12

    def judge(rule, net, loss):
        verdict = Stopping.judge(rule, net, loss)
        if moment == 0 and net.count == 8:
            raise KeyboardInterrupt
        net.count += 1
        return verdict

    def fit(disturbed):
        net, rule = Network.create([6, 8, 3]), Stopping(0.0, np.inf)
        net.count = 0
        if disturbed:
            rule.judge = lambda net, loss: judge(rule, net, loss)
        trainer = Trainer(net, TrainOptions(batch_size=32, solver="adam", step_size=0.01))
        losses = [epoch.loss for epoch in trainer.epochs(Samples(X, y), epochs, rule, checkpoint)]
        return losses, net.params.tobytes(), rule.best

    def raises_after(function, calls):
        left = [calls]

        def wrapped(*arguments, **keywords):
            result = function(*arguments, **keywords)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return result

        return wrapped

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if moment == 1:  # after compiled code, before anybody knows what it has done
            patch.setattr("fastnn.training.calls.launch", raises_after(launching.launch, 8))
        if moment == 2:
            patch.setattr("fastnn.training.journal.Journal.add", raises_after(Journal.add, 8))
        if moment == 3:
            patch.setattr("fastnn.training.calls.Calls._count", raises_after(Calls._count, 8))
        fit(disturbed=True)
    found = fit(disturbed=False)
    (tmp_path / "c").unlink()
    assert found == fit(disturbed=False)


def test_a_solvers_state_may_overflow(tmp_path):
    net, arguments = Network.create([6, 3]), {"solver": "adam", "checkpoint": tmp_path / "c", "step_size": 1e-3}
    train(net, X * 1e25, y, epochs=2, **arguments)
    again = Network.create([6, 3])
    train(again, X * 1e25, y, epochs=2, **arguments)
    assert again.params.tobytes() == net.params.tobytes()


def test_a_trainer_with_a_past(tmp_path):
    def fit(checkpoint):
        trainer = Trainer(Network.create([6, 8, 3]), TrainOptions(batch_size=32))
        list(trainer.epochs(Samples(X, y), 3))
        list(trainer.epochs(Samples(X, y), 10, None, checkpoint))
        return trainer.net.params.tobytes(), trainer.epochs_done

    checkpoint = Checkpoint(tmp_path / "c", 5)
    assert fit(checkpoint) == fit(checkpoint) == fit(None)


def test_the_number_of_threads_may_change(tmp_path):
    for n_threads in (1, 2):
        curve = train(
            Network.create([6, 8, 3]), X, y, epochs=2 * n_threads, n_threads=n_threads, checkpoint=tmp_path / "c"
        ).loss_curve
    assert curve == train(Network.create([6, 8, 3]), X, y, epochs=4).loss_curve


def fit(checkpoint=None, **parameters):
    digits, labels = load_digits(return_X_y=True)
    clf = MLPClassifier((16,), **{"max_iter": 12, "random_state": 0, "early_stopping": True, **parameters})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clf.fit(digits, labels, checkpoint=checkpoint, checkpoint_every=2)


def attributes(clf):
    words = (
        "loss_curve_",
        "validation_loss_curve_",
        "validation_scores_",
        "best_validation_score_",
        "best_loss_",
        "loss_",
        "n_iter_",
        "t_",
    )
    return [getattr(clf, word) for word in words] + [clf.network_.params.tobytes()]


@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_estimator_goes_on(tmp_path, early_stopping):
    whole = fit(early_stopping=early_stopping)
    fit(tmp_path / "c", early_stopping=early_stopping, max_iter=5)
    assert attributes(fit(tmp_path / "c", early_stopping=early_stopping)) == attributes(whole)


def test_without_a_random_state_the_files_seed_goes_on(tmp_path):
    first = fit(tmp_path / "c", random_state=None, max_iter=5)
    second = fit(tmp_path / "c", random_state=None)
    assert second.loss_curve_[:5] == first.loss_curve_ and second.n_iter_ == 12


def test_a_checkpoint_that_lacks_a_newer_option_goes_on(tmp_path, monkeypatch):
    """Its training had the option's default."""
    save = Checkpoint.save

    def without_dropout(self, net, progress):
        progress.identity["options"].pop("dropout", None)
        save(self, net, progress)

    file, whole, stopped = tmp_path / "c", Network.create(SIZES["by panels"]), Network.create(SIZES["by panels"])
    train(whole, X, y, epochs=4)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", without_dropout)
        train(stopped, X, y, epochs=4, checkpoint=file, callbacks=[lambda epoch: epoch.number == 2])
    with pytest.raises(ModelFileError, match=re.escape("dropout 0.0 (here 0.5)")):
        train(Network.create(SIZES["by panels"]), X, y, epochs=4, checkpoint=file, dropout=0.5)
    resumed = Network.create(SIZES["by panels"])
    assert len(train(resumed, X, y, epochs=4, checkpoint=file).loss_curve) == 4
    assert resumed.params.tobytes() == whole.params.tobytes() != stopped.params.tobytes()
