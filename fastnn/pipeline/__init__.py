"""Models for tables: a schema, the preprocessing learnt with it, and a network, in one file."""

try:
    import pyarrow  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Tables need pyarrow, which isn't installed: pip install 'fastnn-numba[pipeline]'", name="pyarrow"
    ) from error

from fastnn.pipeline.model import Model
from fastnn.pipeline.schema import DataError, Schema, SchemaError
from fastnn.pipeline.scoring import Scorer, predict_batches

__all__ = ["DataError", "Model", "Schema", "SchemaError", "Scorer", "predict_batches"]
