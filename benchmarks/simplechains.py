"""The situation `simplechains`: one large batch through a narrow net, with Adam."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.SIMPLECHAINS


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.SIMPLECHAINS
