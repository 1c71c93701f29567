"""The situation `tabular`: a table of numbers, as in a nightly job."""

from benchmarks import common, suite


class Training(suite.Training):
    """See `suite.Training`."""

    situation = common.TABULAR


class Scoring(suite.Scoring):
    """See `suite.Scoring`."""

    situation = common.TABULAR
