"""What a training on tables is asked for: the network, the split, the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastnn.errors import is_whole
from fastnn.training.option_table import PLAN, checked, options_of
from fastnn.training.options import TrainOptions
from fastnn.training.schedule import Schedule

# The rows of a mini-batch where the user names no number, or all rows if there are fewer. scikit-learn's "auto" means
# the same; that of fastnn's estimators is smaller for fewer than 10,000 rows (a fiftieth of the rows, from 32 to 200).
AUTO_BATCH = 200


@dataclass(frozen=True)
class Plan:
    """What to build, and how long to train it.

    Parameters
    ----------
    hidden : tuple of int
        The number of units in each hidden layer.
    activation : {"identity", "tanh", "relu", "logistic", "leaky_relu", "gelu", "silu"}
        The activation function of the hidden layers.
    dtype : {"float32", "float64"}
        The number format of weights and arithmetic.
    epochs : int
        The number of passes over the samples. With held-out rows, training may stop earlier.
    validation : float
        The share of the samples that is held out for validation. No more than about 200,000 rows are held out. Training
        stops when the loss on them no longer falls (see `n_iter_no_change`), and the best epoch's weights are kept.
        With 0, all rows are trained on for all epochs.
    hold_out_by : str or None
        A column of ids, which is then no feature: rows with the same id are held out together. By default rows are held
        out by their position.
    batch_size : int or None
        The number of samples in a mini-batch. The last mini-batch of an epoch may be smaller. If one mini-batch holds
        all samples, they aren't shuffled. None: 200, or all rows if there are fewer. The `batch_size` of `options` has
        no effect.
    buffer_rows : int or None
        The number of rows that are in memory, and shuffled, at a time. By default all rows if the network's inputs take
        at most 512 MB, otherwise as many as take 128 MB. It is rounded down to whole mini-batches.
    layer_norm : bool
        Whether to normalise the inputs of each hidden layer's activation, for each sample over the layer's units. The
        result is multiplied by a trained gain for each unit before the unit's bias is added.
    bins : int
        The most bins of each number's piecewise-linear encoding; 0 for none. The bins have the same number of rows.
        Each makes an input, which rises from 0 to 1 over the bin, so that the network learns a slope of its own in each
        (Gorishniy, Rubachev and Babenko 2022).
    ensemble : int
        The number of networks to train. Several networks are trained at the same time. They differ in their seed (the
        seed that is given, the one after it, and so on), and their outputs are averaged.
    schedule : {"constant", "invscaling", "adaptive", "cosine"}
        The schedule of the step size. "invscaling" and "adaptive" are scikit-learn's, and have an effect with
        ``solver="sgd"`` only. With "cosine" and any solver, the step size falls along half a cosine to nothing over all
        epochs.
    power_t : float
        The exponent of the schedule "invscaling". The step size is the first one divided by
        ``(number of samples seen + 1) ** power_t``.
    warmup_epochs : int
        The number of epochs in which the step size rises to the one that is given.
    tol : float
        The least improvement that counts. An epoch whose loss (or score on held-out samples) improves by less than
        `tol` counts as no improvement.
    n_iter_no_change : int or inf
        Training stops after more than this many epochs in a row without an improvement.
    task : {"classification", "regression"} or None
        What to learn of the target: its values as classes, or as numbers. By default floats and decimals are numbers,
        and all else is classes.
    loss : {"squared_error", "poisson"}
        The loss of a regression. "squared_error" is half the squared error. "poisson" is half of the Poisson
        distribution's deviance, for counts and other values that are at least 0. The network's outputs are exponentials
        then.
    weight : str or None
        A column of weights, which is then no feature: a row of weight 2 counts as two rows. By default all rows weigh
        the same.
    class_weight : dict, "balanced" or None
        The weights of the classes in the training loss, as in scikit-learn. They multiply the weights of the samples,
        also of those that are held out.
    options : TrainOptions
        The solver and its rates. The seed there also makes the first weights and the split.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "tanh"
    dtype: str = "float32"
    epochs: int = 50
    validation: float = 0.1
    hold_out_by: str | None = None
    batch_size: int | None = None
    buffer_rows: int | None = None
    layer_norm: bool = False
    bins: int = 0
    ensemble: int = 1
    schedule: str = "constant"
    power_t: float = 0.5
    warmup_epochs: int = 0
    tol: float = 1e-4
    n_iter_no_change: float = 10
    task: str | None = None
    loss: str = "squared_error"
    weight: str | None = None
    class_weight: Any = None
    options: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        hidden = [self.hidden] if is_whole(self.hidden, 1) else self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Iterable) or not all(is_whole(n, 1) for n in hidden):
            raise ValueError(f"hidden must be the number of units in each hidden layer, like (64, 32), got {hidden!r}.")
        object.__setattr__(self, "hidden", tuple(map(int, hidden)))
        for name in options_of(PLAN):
            if name not in ("hidden", "hold_out_by", "weight", "class_weight"):
                object.__setattr__(self, name, checked(name, getattr(self, name), PLAN))
        for name in ("hold_out_by", "weight"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name} must be the name of a column, got {getattr(self, name)!r}.")
        if not isinstance(self.class_weight, Mapping | None) and self.class_weight != "balanced":
            raise ValueError(f"class_weight must be balanced, a dict or None, got {self.class_weight!r}.")
        if not isinstance(self.options, TrainOptions):
            raise TypeError(f"options must be fastnn.training.options.TrainOptions, got {self.options!r}.")

    def schedule_of(self) -> Schedule | None:
        """The schedule of the step size; None if it stays the same."""
        options = self.options
        schedule = Schedule.of_solver(
            options.solver, self.schedule, options.step_size, self.power_t, self.epochs, self.warmup_epochs
        )
        return None if schedule.kind == "constant" and not self.warmup_epochs else schedule
