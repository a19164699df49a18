"""Tasks, one file per group; see CONTRIBUTING.md for how to add one."""

from bnnbench.tasks.base import TASKS, Points, Task

# Imported here in the order of sections and columns; discovery appends what is not listed.
from bnnbench.tasks import toy, starter, uci, tabular, images, density, vae  # isort: skip

__all__ = ["TASKS", "Points", "Task", "density", "images", "starter", "tabular", "toy", "uci", "vae"]
