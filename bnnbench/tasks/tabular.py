"""Further tabular regression sets."""

from bnnbench.tasks.base import TASKS, Task

for _name in ["kin8nm", "naval"]:
    TASKS.register(
        Task(
            _name,
            "regression",
            ("tabular",),
            ("10fold", "10fold-grouped", "gal", "gap"),
            version=2,
            reference="Hernandez-Lobato & Adams 2015, arXiv 1502.05336",
        )
    )
TASKS.register(Task("bandgap", "regression", ("tabular",), ("10fold",), version=2))
