"""The trainer: the article's loop and its relatives, what it promises about state, and what it refuses."""

import signal
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
import reference
from reference import Recipe

import fastnn
from fastnn import Network, TrainingDivergedError, train
from fastnn.network.samples import Parts, Samples
from fastnn.training.checkpoint import Checkpoint
from fastnn.training.schedule import Schedule
from fastnn.training.stopping import Stopping
from fastnn.training.trainer import Trainer, TrainOptions
from fastnn.training.validation import Validation

SIZES = (37, 19, 7, 5)
N_ROWS = 103
rng = np.random.default_rng(7)
X = rng.standard_normal((N_ROWS, SIZES[0]))
y = rng.integers(0, SIZES[-1], N_ROWS)
weight = rng.uniform(0.1, 3, N_ROWS)
# An error of 1e-15, or 1e-6 in float32, grows by a few orders in hundreds of steps.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def parameters(net: Network) -> list[np.ndarray]:
    return [part for layer in zip(net.weights, net.biases, strict=True) for part in layer]


def in_numpy(net: Network, epochs: int, recipe: Recipe, sample_weight: np.ndarray | None = None):
    """The parameters and losses that NumPy comes to from this network, in float64 and without shuffling."""
    params = [part.astype(np.float64) for part in parameters(net)]
    given = np.ones(N_ROWS) if sample_weight is None else sample_weight
    curve = reference.train(params, (X, y, given), [np.arange(N_ROWS)] * epochs, recipe)
    return params, curve


def test_one_epoch_is_the_articles_loop():
    net = Network.create(SIZES, seed=1, dtype="float64")
    expected, curve = in_numpy(net, 1, Recipe())
    history = train(net, X, y, epochs=1, batch_size=10, shuffle=False)
    for found, wanted in zip(parameters(net), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-10, rtol=0)
    np.testing.assert_allclose(history.loss_curve, curve, atol=1e-10)


@each_dtype
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("tanh", momentum=0.9, alpha=0.01),
        Recipe("relu", momentum=0.9, nesterovs_momentum=True, alpha=0.01),
        Recipe("logistic", "adam", 0.01, alpha=0.1, beta_1=0.8, beta_2=0.99, epsilon=1e-6),
        Recipe("identity", batch_size=1, step_size=0.01),
        Recipe("tanh", batch_size=N_ROWS, alpha=1.0),
        Recipe("tanh", batch_size=102),
    ],
    ids=lambda recipe: f"{recipe.activation}-{recipe.solver}-{recipe.batch_size}",
)
@pytest.mark.parametrize("weighted", [False, True])
def test_several_epochs_are_numpys(recipe, dtype, weighted):
    net = Network.create(SIZES, recipe.activation, seed=1, dtype=dtype)
    sample_weight = weight if weighted else None
    expected, curve = in_numpy(net, 5, recipe, sample_weight)
    names = {"solver", "step_size", "batch_size", "momentum", "nesterovs_momentum", "alpha"}
    names |= {"beta_1", "beta_2", "epsilon"}
    options = TrainOptions(shuffle=False, **{name: getattr(recipe, name) for name in names})
    losses = [epoch.loss for epoch in Trainer(net, options).epochs(Samples(X, y, sample_weight), 5)]
    for found, wanted in zip(parameters(net), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE[dtype], rtol=0)
    np.testing.assert_allclose(losses, curve, atol=TOLERANCE[dtype])


def test_a_weight_of_two_is_a_sample_twice_and_one_of_zero_is_none():
    twice = np.r_[np.arange(N_ROWS), np.arange(50)]
    counts = np.r_[np.full(50, 2.0), np.ones(N_ROWS - 50), np.zeros(20)]
    options = TrainOptions(batch_size=1000, alpha=0.1)
    nets = [Network.create(SIZES, dtype="float64") for _ in range(2)]
    list(Trainer(nets[0], options).epochs(Samples(X[twice], y[twice]), 3))
    with_none = Samples(np.vstack([X, 100 + X[:20]]), np.r_[y, y[:20]], counts)
    list(Trainer(nets[1], options).epochs(with_none, 3))
    np.testing.assert_allclose(nets[0].params, nets[1].params, atol=1e-12)


def test_a_batch_without_weight_is_left_out():
    counts = np.r_[np.zeros(20), np.ones(N_ROWS - 20)]
    options = TrainOptions(batch_size=20, shuffle=False, momentum=0.9)
    nets = [Network.create(SIZES, dtype="float64") for _ in range(2)]
    list(Trainer(nets[0], options).epochs(Samples(X, y, counts), 1))
    list(Trainer(nets[1], options).epochs(Samples(X[20:], y[20:]), 1))
    np.testing.assert_allclose(nets[0].params, nets[1].params, atol=1e-12)


def params_after(epochs: int = 2, **options) -> bytes:
    net = Network.create(SIZES, seed=0)
    train(net, X, y, epochs=epochs, **{"batch_size": 10, **options})
    return net.params.tobytes()


def test_each_epoch_is_a_pass_in_an_order_of_its_own():
    assert params_after(1) == params_after(1)
    assert params_after(1) != params_after(1, shuffle=False)
    assert params_after(2, seed=1) != params_after(2, seed=2)
    # An epoch visits each sample once: the mean loss at a standstill is the loss over all, in any order.
    net = Network.create(SIZES, dtype="float64")
    still = train(net, X, y, epochs=3, batch_size=10, step_size=1e-300).loss_curve
    whole = train(net, X, y, epochs=1, batch_size=N_ROWS, step_size=1e-300).loss_curve[0]
    np.testing.assert_allclose(still, whole, rtol=1e-14)


def test_one_batch_of_all_rows_is_never_shuffled():
    whole = params_after(batch_size=N_ROWS, shuffle=False)
    for batch_size in (N_ROWS, N_ROWS + 1, 10**9):
        assert params_after(batch_size=batch_size, shuffle=True) == whole


def test_labels_and_indices_train_alike():
    names = np.array(["e", "a", "d", "b", "c"])
    by_index = Network.create(SIZES)
    by_label = Network.create(SIZES, classes=names)
    train(by_index, X, y)
    train(by_label, X.tolist(), list(names[y]))
    assert by_index.params.tobytes() == by_label.params.tobytes()
    np.testing.assert_array_equal(by_label.predict(X), names[by_index.predict(X)])


def test_the_step_size_may_change_between_epochs():
    expected, _ = in_numpy(net := Network.create(SIZES, dtype="float64"), 1, Recipe(step_size=0.5))
    trainer = Trainer(net, TrainOptions(batch_size=10, shuffle=False, step_size=0.1))
    assert trainer.step_size == 0.1
    trainer.step_size = 0.5
    list(trainer.epochs(Samples(X, y), 1))
    np.testing.assert_allclose(net.weights[0], expected[0], atol=1e-12)


def test_invscaling_counts_the_samples_of_all_calls():
    """As scikit-learn's ``t_`` does, calls of different lengths included."""
    schedule = Schedule("invscaling", 0.5, power_t=0.5)
    trainer = Trainer(Network.create(SIZES), TrainOptions(step_size=0.5, batch_size=10))
    stopping = Stopping(schedule=schedule)
    seen = 0
    for n in (100, 40, 7):
        list(trainer.epochs(Samples(X[:n], y[:n]), 1, stopping))
        seen += n
        assert trainer.step_size == pytest.approx(0.5 / (seen + 1) ** 0.5)


def test_a_rule_stops_training_or_lowers_the_step():
    never = {"tol": np.inf}  # nothing ever improves by so much
    trainer = Trainer(Network.create(SIZES), TrainOptions(batch_size=50))
    rule = Stopping(**never, n_iter_no_change=2)
    epochs = list(trainer.epochs(Samples(X, y), 100, rule))
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert rule.stopped

    trainer = Trainer(Network.create(SIZES), TrainOptions(batch_size=50, step_size=1e-4))
    rule = Stopping(**never, n_iter_no_change=1, schedule=Schedule("adaptive", 1e-4))
    assert len(list(trainer.epochs(Samples(X, y), 100, rule))) == 2 * 4  # 1e-4, 2e-5, 4e-6, 8e-7
    assert trainer.step_size == pytest.approx(8e-7)


def test_weights_that_overflow_on_held_out_samples_are_a_divergence():
    net = Network.create([2, 3])
    held_out = Validation(net, Samples(np.full((4, 2), 1e30), [0, 1, 2, 0]))
    trainer = Trainer(net, TrainOptions(step_size=1e25, batch_size=10))
    rows = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(TrainingDivergedError, match=r"diverged in epoch 1: on the held-out .* outputs overflow"):
        list(trainer.epochs(Samples(rows, np.arange(50) % 3), 5, Stopping(validation=held_out)))
    assert np.isfinite(net.params).all()


def test_nothing_happens_in_no_epochs():
    net = Network.create(SIZES)
    before = net.params.tobytes()
    assert train(net, X, y, epochs=0).loss_curve == []
    assert net.params.tobytes() == before


def test_inputs_are_left_alone():
    given = X.astype(np.float32), y.copy(), weight.astype(np.float32)
    for array in given:
        array.flags.writeable = False
    net = Network.create(SIZES)
    list(Trainer(net, TrainOptions()).epochs(Samples(*given), 2))
    np.testing.assert_array_equal(given[0], X.astype(np.float32))


def test_padding_stays_zero():
    """Widths are padded to whole lines; a number that crept in there would be read by the next layer."""
    for solver in ("sgd", "adam"):
        net = Network.create((3, 5, 2), dtype="float64")
        train(net, X[:, :3], y % 2, solver=solver, batch_size=10, alpha=0.1)
        held = sum(part.size for part in parameters(net))
        assert np.count_nonzero(net.params) <= held


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (Samples(X[:0], y[:0]), ValueError, "X has no rows"),
        (Samples(X[:, 1:], y), ValueError, "X has 36 features, but the network expects 37"),
        (Samples(X[0], y[:1]), ValueError, "two dimensions"),
        (Samples(X * np.nan, y), ValueError, "NaN or infinity"),
        (Samples(X * 1e300, y), ValueError, "too large for float32"),
        (Samples(X, y[1:]), ValueError, r"y must have shape \(103,\)"),
        (Samples(X, y + 1), ValueError, "class indices from 0 to 4, got 1 to 5"),
        (Samples(X, y * 1.0), TypeError, "integer dtype"),
        (Samples(X, y, weight[1:]), ValueError, "sample_weight must have shape"),
        (Samples(X, y, weight * np.nan), ValueError, "sample_weight holds NaN"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples, error, message):
    net = Network.create(SIZES)
    before = net.params.tobytes()
    with pytest.raises(error, match=message):
        list(Trainer(net, TrainOptions()).epochs(samples, 1))
    assert net.params.tobytes() == before


def test_a_network_learns_the_moons():
    """End to end, on data that no straight line separates: a check that needs no oracle."""
    t = np.linspace(0, np.pi, 250)
    moons = np.vstack([np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]])
    labels = np.repeat(["upper", "lower"], 250)
    net = fastnn.Network.create([2, 8, 2], seed=0, classes=["lower", "upper"])
    history = train(net, moons, labels, epochs=100, batch_size=32, solver="adam", step_size=0.01)
    assert history.loss_curve[-1] < history.loss_curve[0] / 4
    assert (net.predict(moons) == labels).mean() > 0.98


class Halves(Parts):
    """The samples as parts of so many rows."""

    def __init__(self, net: Network, rows: int) -> None:
        self.whole, self.rows = net.checked(Samples(X, y)), rows

    def parts(self, epoch: int):
        for first in range(0, N_ROWS, self.rows):
            here = slice(first, first + self.rows)
            yield Samples(self.whole.X[here], self.whole.y[here], self.whole.sample_weight)

    def fingerprint(self) -> str:
        return "these"


@pytest.mark.parametrize(("rows", "shuffle"), [(20, False), (50, False), (N_ROWS, True)])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_samples_in_parts_train_as_all_at_once(rows, shuffle, solver):
    """Parts of whole batches without a shuffle, or one part with it, come to the same bits."""
    options = TrainOptions(solver, 0.01, 10, shuffle=shuffle, momentum=0.9, alpha=0.1)
    nets = [Network.create(SIZES) for _ in range(2)]
    curves = [
        [epoch.loss for epoch in Trainer(net, options).epochs(samples, 3)]
        for net, samples in zip(nets, (Samples(X, y), Halves(nets[1], rows)), strict=True)
    ]
    assert nets[0].params.tobytes() == nets[1].params.tobytes()
    np.testing.assert_allclose(*curves, rtol=1e-6)


def test_parts_of_an_epoch_have_orders_of_their_own(tmp_path):
    """An epoch of the same part twice isn't two epochs of it. Stopping after an epoch and resuming changes nothing."""

    class Twice(Halves):
        def parts(self, epoch: int):
            yield self.whole
            yield self.whole

    options = TrainOptions(batch_size=10)
    nets = [Network.create(SIZES) for _ in range(3)]
    train(nets[0], X, y, epochs=2, batch_size=10)
    calm = list(Trainer(nets[1], options).epochs(Twice(nets[1], 0), 1))
    assert nets[0].params.tobytes() != nets[1].params.tobytes()
    calm = list(Trainer(nets[2], options).epochs(Twice(nets[2], 0), 4))
    for n_epochs in (1, 3, 4):  # each in a new trainer
        net = Network.create(SIZES)
        checkpoint = Checkpoint(tmp_path / "c")
        trainer = Trainer(net, options)
        with closing(trainer.epochs(Twice(net, 0), 4, None, checkpoint)) as epochs:
            seen = list(islice(epochs, n_epochs))
    assert seen == calm and net.params.tobytes() == nets[2].params.tobytes()
    assert trainer.samples_seen == 8 * N_ROWS


@pytest.mark.parametrize("stopper", [ValueError("unreadable"), KeyboardInterrupt()])
def test_an_epoch_whose_parts_fail_leaves_no_trace(stopper):
    class Failing(Halves):
        def parts(self, epoch: int):
            yield from islice(super().parts(epoch), 1 if epoch else None)
            if epoch:
                raise stopper

    net, calm = Network.create(SIZES), Network.create(SIZES)
    options = TrainOptions("adam", batch_size=10)
    trainer, other = Trainer(net, options), Trainer(calm, options)
    with pytest.raises(type(stopper)):
        list(trainer.epochs(Failing(net, 50), 2))
    assert trainer.epochs_done == 1 and trainer.samples_seen == N_ROWS
    list(other.epochs(Halves(calm, 50), 1))
    assert net.params.tobytes() == calm.params.tobytes()
    for one, two in ((trainer, Halves(net, 50)), (other, Halves(calm, 50))):
        list(one.epochs(two, 2))
    assert net.params.tobytes() == calm.params.tobytes()


def test_ctrl_c_ends_an_epoch_of_parts():
    class Pressed(Halves):
        def parts(self, epoch: int):
            for part in super().parts(epoch):
                signal.raise_signal(signal.SIGINT)
                yield part

    net = Network.create(SIZES)
    before = net.params.tobytes()
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 1: the network keeps the weights of epoch 0"):
        list(Trainer(net, TrainOptions(batch_size=10)).epochs(Pressed(net, 50), 2))
    assert net.params.tobytes() == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_gives_ctrl_c_back(tmp_path, monkeypatch):
    """Even while somebody holds the exception, as Jupyter does."""

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(Checkpoint, "save", fails)
    with pytest.raises(OSError, match="no space") as held:
        train(Network.create(SIZES), X, y, epochs=3, checkpoint=tmp_path / "c")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    del held


def test_ctrl_c_in_the_last_epoch_is_heard(tmp_path):
    class Last(Stopping):
        def judge(self, net, loss):
            signal.raise_signal(signal.SIGINT)
            self.n_iter_no_change = -1
            return super().judge(net, loss)

    trainer = Trainer(Network.create(SIZES), TrainOptions())
    with pytest.raises(KeyboardInterrupt):
        list(trainer.epochs(Samples(X, y), 10, Last()))
