"""The situation `digits`: scikit-learn's own images: many short batches."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.DIGITS


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.DIGITS
