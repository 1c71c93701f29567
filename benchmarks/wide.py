"""The situation `wide`: wide layers, where the matrix products are all."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.WIDE


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.WIDE
