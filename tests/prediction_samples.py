"""Small tasks of a user's own, and sound predictions of them to be spoilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import bnnbench
from bnnbench.data.arrays import Data
from bnnbench.tasks import Task

ROWS, TEST, K = 60, 12, 3  # rows of the tables, test rows of the fixed split, classes


def _table(y: np.ndarray) -> Data:
    x = np.random.default_rng(0).normal(size=(ROWS, 2))
    rows = np.random.default_rng(1).permutation(ROWS)
    return Data.of(x, y, target="height [m]", features=("width", "depth"), fixed=(rows[TEST:], rows[:TEST]))


def _numbers() -> Data:
    return _table(np.random.default_rng(2).normal(10.0, 3.0, ROWS))


def _labels() -> Data:
    return _table(np.array(["ash", "beech", "oak"])[np.arange(ROWS) % K])


def _folds() -> Data:
    return Data.of(np.random.default_rng(0).normal(size=(ROWS, 2)), np.random.default_rng(2).normal(10.0, 3.0, ROWS))


HEIGHTS = Task("heights", "regression", ("own",), ("fixed",), loader=_numbers)
TREES = Task("trees", "classification", ("own",), ("fixed",), loader=_labels)
FOLDS = Task("folds", "regression", ("own",), ("10fold",), loader=_folds)
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
TASKS = {task.kind: task for task in (HEIGHTS, TREES)}


def sound(form: str, n: int = TEST, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of a form for n rows, without ids."""
    rng = np.random.default_rng(seed)
    made = {
        "mean": {"mean": rng.normal(10, 1, (4, n)), "scale": rng.uniform(1, 3, (4, n))},
        "samples": {"samples": rng.normal(10, 3, (40, n))},
        "quantiles": {
            "quantiles": np.sort(rng.normal(10, 3, (5, n)), 0),
            "levels": np.array([0.05, 0.25, 0.5, 0.75, 0.95]),
        },
        "bins": {"edges": np.linspace(-10, 30, 9), "probs": rng.dirichlet(np.ones(8), (2, n))},
        "probs": {"probs": rng.dirichlet(np.ones(K), (2, n))},
        "log_probs": {"log_probs": np.log(rng.dirichlet(np.ones(K), (2, n)))},
    }
    return made[form]


KIND = dict.fromkeys(("mean", "samples", "quantiles", "bins"), "regression")
KIND |= dict.fromkeys(("probs", "log_probs"), "classification")


def with_ids(form: str, task: Task | None = None, index: int = 0) -> dict[str, np.ndarray]:
    """The same with the ids of a split's test rows."""
    split = bnnbench.splits(task or TASKS[KIND[form]])[index]
    return {"ids": split.test.ids, **sound(form, len(split.test.ids))}


def csv(path: Path, **columns: object) -> Path:
    """A table of these columns."""
    import pandas as pd

    pd.DataFrame(columns).to_csv(path, index=False)
    return path
