"""The situation `moons`: a small network on little data, which shows what a call and a batch cost."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.MOONS


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.MOONS
