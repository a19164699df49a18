"""One-dimensional regression on draws from a Gaussian process, where the truth is known everywhere."""

from bnnbench.tasks.base import TASKS, Task

for _name, _noise in [
    ("toy-homoscedastic", "homoscedastic"),
    ("toy-heteroscedastic", "heteroscedastic"),
    ("toy-antoran", "heteroscedastic"),
]:
    TASKS.register(Task(_name, "regression", ("toy",), ("fixed",), hidden=(200,), noise=_noise, version=2))
