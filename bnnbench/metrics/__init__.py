"""Scores of predictive distributions: proper scores, calibration, uncertainty, out-of-distribution detection."""

from bnnbench.metrics.base import METRICS, Context, Metric, Value, metric, score

# Imported here in the order of the tables' columns, which is then the same whichever module a user imports first.
from bnnbench.metrics import likelihood, regression, classification, adaptive, selective, intervals  # isort: skip
from bnnbench.metrics import toy, fidelity, convergence, ood, density  # isort: skip

__all__ = ["METRICS", "Context", "Metric", "Value", "metric", "score"]
__all__ += ["adaptive", "classification", "convergence", "density", "fidelity", "intervals", "likelihood", "ood"]
__all__ += ["regression", "selective", "toy"]
