"""Real data that come with scikit-learn: nothing to download."""

from bnnbench.tasks.base import TASKS, Task

TASKS.register(Task("diabetes", "regression", ("starter",), ("10fold",)))
TASKS.register(Task("digits", "classification", ("starter",), ("10fold",), version=2))
