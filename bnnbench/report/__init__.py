"""Tables, figures and pages, rebuilt from the database alone. Imports no torch and no method."""

from bnnbench.report.build import build
from bnnbench.report.statistics import Comparison, Entry, comparison, corrected_resampled_t_test
from bnnbench.report.tables import summary_table

__all__ = ["Comparison", "Entry", "build", "comparison", "corrected_resampled_t_test", "summary_table"]
