"""What a training on tables is asked for: the network, the split, the epochs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fastnn.errors import is_whole
from fastnn.training.option_table import PLAN, checked, options_of
from fastnn.training.options import TrainOptions

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
        stops when the loss on them hasn't fallen for ten epochs, and the best epoch's weights are kept. With 0, all
        rows are trained on for all epochs.
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
    options: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        hidden = [self.hidden] if is_whole(self.hidden, 1) else self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Iterable) or not all(is_whole(n, 1) for n in hidden):
            raise ValueError(f"hidden must be the number of units in each hidden layer, like (64, 32), got {hidden!r}.")
        object.__setattr__(self, "hidden", tuple(map(int, hidden)))
        for name in options_of(PLAN):
            if name not in ("hidden", "hold_out_by"):
                object.__setattr__(self, name, checked(name, getattr(self, name), PLAN))
        if self.hold_out_by is not None and not isinstance(self.hold_out_by, str):
            raise TypeError(f"hold_out_by must be the name of a column, got {self.hold_out_by!r}.")
        if not isinstance(self.options, TrainOptions):
            raise TypeError(f"options must be fastnn.training.options.TrainOptions, got {self.options!r}.")
