"""Models for tables: a schema, the preprocessing learnt with it, and a network, in one file."""

try:
    import pyarrow  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Tables need pyarrow, which isn't installed: pip install 'fastnn-numba[pipeline]'", name="pyarrow"
    ) from error

from fastnn.pipeline.columns.schema import DataError, Schema, SchemaError
from fastnn.pipeline.jobs.scoring import Scorer, predict_batches
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import train_batches
from fastnn.pipeline.model import Model

__all__ = ["DataError", "Model", "Plan", "Schema", "SchemaError", "Scorer", "predict_batches", "train_batches"]
