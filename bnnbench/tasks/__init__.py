"""Tasks, one file per group; see docs/extending.md for how to add one."""

from bnnbench.tasks.base import TASKS, Task
from bnnbench.tasks.sets import TestSet, TestSetFamily

# Imported here in the order of sections and columns; discovery appends what is not listed.
from bnnbench.tasks import tabular, images, density, vae, fidelity, own  # isort: skip

__all__ = ["TASKS", "Task", "TestSet", "TestSetFamily", "density", "fidelity", "images", "own", "tabular", "vae"]
