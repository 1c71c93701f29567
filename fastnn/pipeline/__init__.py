"""Models for tables: a schema, the preprocessing learnt with it, and a network, in one file."""

from fastnn.errors import DataWarning, missing_package

try:
    import pyarrow  # noqa: F401
except ModuleNotFoundError as error:
    raise missing_package("Tables", "pyarrow", "pipeline") from error

from fastnn.pipeline.columns.options import Dialect
from fastnn.pipeline.columns.schema import DataError, RowError, Schema, SchemaError
from fastnn.pipeline.jobs.scoring import Scorer, predict_batches
from fastnn.pipeline.learning.plan import Plan
from fastnn.pipeline.learning.train import train_batches
from fastnn.pipeline.model import Model

__all__ = [
    "DataError",
    "DataWarning",
    "Dialect",
    "Model",
    "Plan",
    "RowError",
    "Schema",
    "SchemaError",
    "Scorer",
    "predict_batches",
    "train_batches",
]
