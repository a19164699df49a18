"""The six UCI regression sets of the field."""

from bnnbench.tasks.base import TASKS, Task

for _name in ["housing", "concrete", "energy", "power", "wine", "yacht"]:
    TASKS.register(
        Task(
            _name,
            "regression",
            ("uci",),
            ("10fold", "10fold-grouped", "gal", "gap"),
            version=2,
            reference="Hernandez-Lobato & Adams 2015, arXiv 1502.05336",
        )
    )
