"""The digits situation: 64-32-10, batches of 32, on scikit-learn's 1,797 images."""

import numpy as np
from sklearn.datasets import load_digits

import fastnn

# Loaded here and not in a `setup`: asv would run that before every call, and time one call at a time.
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
NET = fastnn.Network.create([64, 32, 10], seed=0)


class Digits:
    """One epoch, and scoring, in steady state."""

    # A benchmark's history hangs on its version, not on its source.
    version = "1"
    # Longer than compiling takes, or the repeat count is chosen wrongly.
    warmup_time = 20.0
    timeout = 180.0

    def time_epoch(self) -> None:
        """One epoch of plain gradient descent."""
        fastnn.train(NET, X, y, epochs=1, batch_size=32, step_size=0.1)

    def time_predict_proba(self) -> None:
        """Probabilities of all 1,797 rows."""
        NET.predict_proba(X)
