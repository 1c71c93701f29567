"""What a training on tables is asked for: the network, the split, the epochs."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        The number of units of each hidden layer.
    activation : {"tanh", "relu", "logistic", "identity"}
        The hidden layers' activation.
    dtype : {"float32", "float64"}
        The number format of weights and arithmetic.
    epochs : int
        The most passes over the rows.
    validation : float
        The share of rows, from 0 to below 1, that are held out; not (much) more than 200,000 rows. Training stops when
        the loss on the held-out rows hasn't fallen for ten epochs, and the best epoch's weights are kept. With 0,
        training uses all rows and runs for all epochs.
    hold_out_by : str, optional
        A column of ids, which is then no feature: rows with the same id are held out together. By default rows are held
        out by their position.
    batch_size : int, optional
        The rows of a mini-batch, by default 200, or all rows if there are fewer. It replaces the one in `options`.
    buffer_rows : int, optional
        How many rows are in memory, and shuffled, at a time, rounded down to whole batches. By default all rows if the
        network's inputs take no more than 512 MB, otherwise as many as take 128 MB.
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
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation is a share from 0 to below 1, got {self.validation:g}.")
        for name in ("batch_size", "buffer_rows"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a number of rows of at least 1, got {value!r}.")
