"""What is known of a table's columns, and what is done with their values."""

from fastnn.pipeline.columns.options import ColumnOptions

__all__ = ["ColumnOptions"]
