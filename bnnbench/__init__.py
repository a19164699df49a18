"""bnnbench: the benchmark suite for Bayesian neural networks.

The command line is a thin face of these functions, which load their machinery on first use:

* `bnnbench.check` puts a method on problems with known answers,
* `bnnbench.run` trains and scores methods on tasks into a results database,
* `bnnbench.load` gives back a trained posterior that predicts arrays,
* `bnnbench.scores` is the results as a tidy DataFrame, `bnnbench.report` writes tables and figures from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The functions `check`, `run` and `report` share their names with the packages they are made of. Importing a package
# binds its name here, once: the empty packages are imported now and unbound, so that the names lead to the functions.
import bnnbench.check
import bnnbench.report
import bnnbench.run  # noqa: F401

del globals()["check"], globals()["report"], globals()["run"]

if TYPE_CHECKING:
    from bnnbench.api import check, load, report, run, scores

__version__ = "0.1.0"
__all__ = ["__version__", "check", "load", "report", "run", "scores"]


def __getattr__(name: str) -> Any:
    # torch and pandas are imported when they are first needed: `bnnbench --help` must answer at once.
    if name in {"check", "run", "load", "scores", "report"}:
        from bnnbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bnnbench' has no attribute {name!r}")
