"""The situation `wide`: wide layers, where nearly all time goes into matrix products."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.WIDE


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.WIDE
