"""Tables: draws from Gaussian processes whose truth is known, data that libraries bring, regression sets."""

from functools import partial

from bnnbench.tasks.base import TASKS, Task

STORED = ("10fold", "10fold-grouped", "gal", "gal-heteroscedastic", "gap")
PROTOCOL = "Hernandez-Lobato & Adams 2015, arXiv 1502.05336"

for _name, _noise in [
    ("toy-homoscedastic", "homoscedastic"),
    ("toy-heteroscedastic", "heteroscedastic"),
    ("toy-antoran", "heteroscedastic"),
]:
    TASKS.register(Task(_name, "regression", ("toy",), ("fixed",), hidden=(200,), noise=_noise, version=2))

TASKS.register(Task("diabetes", "regression", ("starter",), ("10fold",), version=2))
TASKS.register(Task("digits", "classification", ("starter",), ("10fold",), version=2))

_classification = partial(Task, kind="classification", groups=("classification",))
TASKS.register(_classification("breast-cancer", rules=("10fold",)))
TASKS.register(_classification("mnist1d", rules=("fixed",), citation="Greydanus & Kobak 2024, arXiv 2011.14439"))

_regression = partial(Task, kind="regression", rules=STORED, citation=PROTOCOL, version=2)
for _name in ("housing", "concrete", "energy", "power", "wine", "yacht"):
    TASKS.register(_regression(_name, groups=("uci",)))
for _name in ("kin8nm", "naval"):
    TASKS.register(_regression(_name, groups=("tabular",)))
TASKS.register(Task("bandgap", "regression", ("tabular",), ("10fold",), version=2))
