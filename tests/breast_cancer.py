"""A real table with everything that tables have: strings, missing values, a boolean, integers, an id."""

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer

N_ROWS = 569


def _make() -> pa.Table:
    data = load_breast_cancer()
    rng = np.random.default_rng(0)
    columns = {name.replace(" ", "_"): data.data[:, i] for i, name in enumerate(data.feature_names[:8])}
    columns["mean_area"] = pa.array(columns["mean_area"], mask=rng.random(N_ROWS) < 0.1)
    # Two of the other measurements, as words and as a boolean.
    size = np.where(data.data[:, 20] > 16.5, "large", np.where(data.data[:, 20] > 13, "medium", "small"))
    columns["size"] = pa.array(size, mask=rng.random(N_ROWS) < 0.05)
    columns["smooth"] = data.data[:, 24] < 0.13
    columns["count"] = rng.integers(0, 5, N_ROWS)
    columns["id"] = [f"{i:05d}" for i in range(N_ROWS)]
    columns["diagnosis"] = data.target_names[data.target]
    return pa.table(columns)


TABLE = _make()
