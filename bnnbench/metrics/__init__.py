"""Scores of predictive distributions: proper scores, calibration, uncertainty, out-of-distribution detection."""

from bnnbench.metrics.base import METRICS, Context, Metric, Value, metric, score

# Imported here in the order of the tables' columns, which is then the same whichever module a user imports first.
from bnnbench.metrics import likelihood, regression, classification, toy, fidelity, convergence, ood, density  # isort: skip

__all__ = ["METRICS", "Context", "Metric", "Value", "metric", "score"]
__all__ += ["classification", "convergence", "density", "fidelity", "likelihood", "ood", "regression", "toy"]
