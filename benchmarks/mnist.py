"""The situation `mnist`: the textbook's net on 28 x 28 images."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.MNIST


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.MNIST
