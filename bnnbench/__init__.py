"""bnnbench: the benchmark suite for Bayesian neural networks.

The command line is a wrapper of these functions, which load their machinery on first use:

* `bnnbench.check` puts a method on problems with known answers,
* `bnnbench.run` trains and scores methods on tasks into a results database,
* `bnnbench.tune` tries configurations of every method, the best of which `run(tuned=...)` takes,
* `bnnbench.load` gives back a trained posterior that predicts arrays,
* `bnnbench.scores` is the results as a tidy DataFrame, `bnnbench.report` writes tables and figures from them,
* `bnnbench.serve` serves the report's page while runs go on, `bnnbench.status` tells how they stand,
  `bnnbench.figure` draws one figure for a paper,
* `bnnbench.splits` and `bnnbench.write_splits` give the rows of a task to other programs, `bnnbench.score` scores what
  these predict,
* `bnnbench.merge` makes one database of several, `bnnbench.compare` sets two methods or databases side by side,
* `bnnbench.rescore` adds metrics, test sets and calibrations to what is stored, and never trains,
* `bnnbench.submit` writes results into one file, which `bnnbench.validate` checks,
* `bnnbench.forget` drops from a database what newer versions supersede.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bnnbench._version import __version__

if TYPE_CHECKING:
    from bnnbench.api import (
        Task,
        check,
        compare,
        figure,
        forget,
        load,
        merge,
        report,
        rescore,
        run,
        score,
        scores,
        serve,
        splits,
        status,
        submit,
        tune,
        validate,
        write_splits,
    )

# Idle OpenMP threads that spin for long make every step many times slower on a machine that is shared. The runtime
# reads this when torch is loaded, and nothing of bnnbench loads it before.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

__all__ = ["Task", "__version__", "check", "compare", "figure", "forget", "load", "merge", "report", "rescore", "run"]
__all__ += ["score", "scores", "serve", "splits", "status", "submit", "tune", "validate", "write_splits"]


def __getattr__(name: str) -> Any:
    # torch and pandas are imported when they are first needed: `bnnbench --help` must answer at once.
    if name in __all__:
        from bnnbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bnnbench' has no attribute {name!r}")
