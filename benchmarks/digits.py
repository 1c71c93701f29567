"""The digits situation: 64-32-10, batches of 32, on scikit-learn's 1,797 images."""

import numpy as np
from sklearn.datasets import load_digits

import fastnn


class Digits:
    """One epoch, and scoring, in steady state."""

    # A benchmark's history hangs on its version, not on its source.
    version = "1"
    # Longer than loading the compiled kernels takes, or the repeat count is chosen wrongly.
    warmup_time = 2.0
    timeout = 120.0

    def setup(self) -> None:
        """Load the data and compile what is timed."""
        X, y = load_digits(return_X_y=True)
        self.X, self.y = (X / 16).astype(np.float32), y
        self.net = fastnn.Network.create([64, 32, 10], seed=0)
        self.time_epoch()
        self.time_predict_proba()

    def time_epoch(self) -> None:
        """One epoch of plain gradient descent."""
        fastnn.train(self.net, self.X, self.y, epochs=1, batch_size=32, step_size=0.1)

    def time_predict_proba(self) -> None:
        """Probabilities of all 1,797 rows."""
        self.net.predict_proba(self.X)
