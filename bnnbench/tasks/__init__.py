"""Tasks, one file per group; see CONTRIBUTING.md for how to add one."""

from bnnbench.tasks.base import TASKS, Points, Task

__all__ = ["TASKS", "Points", "Task"]
