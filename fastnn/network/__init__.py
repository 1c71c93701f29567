"""Networks and ensembles: their parameters, their scoring, and the samples that they take."""

from fastnn.network.ensemble import Ensemble
from fastnn.network.network import Network

__all__ = ["Ensemble", "Network"]
