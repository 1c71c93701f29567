"""Samples that an estimator holds out of those that it is fitted with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from fastnn.network.samples import Samples


def hold_out(samples: Samples, seed: int, fraction: float, strata: NDArray[Any] | None) -> tuple[Samples, Samples]:
    """Split the samples into those to train on and those to validate by.

    Parameters
    ----------
    samples : Samples
    seed : int
    fraction : float
        The share of the samples that is held out.
    strata : ndarray of shape (n,), optional
        The groups that keep their proportions.
    """
    arrays = [samples.X, samples.y] + ([] if samples.sample_weight is None else [samples.sample_weight])
    split = train_test_split(*arrays, random_state=seed % 2**32, test_size=fraction, stratify=strata)
    if split[1].shape[0] < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    training, held_out = Samples(*split[0::2]), Samples(*split[1::2])
    if held_out.sample_weight is not None and not np.any(held_out.sample_weight):
        raise ValueError(
            "Sample weights must contain at least one non-zero number: those held out are all zero. "
            "Give X_val and y_val, or early_stopping=False."
        )
    return training, held_out
