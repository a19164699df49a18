"""Run a method on a check's task, many seeds at once, and read the weights off its predictions."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import torch

from bnnbench.checks.problems import Known
from bnnbench.engine.cell import Cell
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.pack import Pack, stack
from bnnbench.engine.train import Trained, train
from bnnbench.evaluation.sets import predictions
from bnnbench.methods import Method
from bnnbench.model import GaussianPredictive, Problem
from bnnbench.tasks.budget import Budget

CPU = torch.device("cpu")
UPDATES, SAMPLES, SEEDS = 10_000, 200, 16


def as_checked(method: Method) -> Method:
    """The method without early stopping, which would prefer what fits over what it ought to converge to."""
    names = {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]
    return replace(method, early_stopping=False) if "early_stopping" in names else method  # type: ignore[type-var]


def budget(method: Method, updates: int = UPDATES, compiled: bool = True) -> Budget:
    """So many steps that the method makes about `updates` updates."""
    steps = max(1, updates * 1000 // max(method.updates(1000), 1))
    return Budget("check", steps, SAMPLES, 1, compiled, "")


def sample(method: Method, task: Known) -> np.ndarray:
    """Predictive means at the probes of `SEEDS` cells that differ in their seed, standardised [R, S, probes].

    One cell after the other where the method cannot be vmapped.
    """
    method = as_checked(method)
    cells = [Cell(task, method, "known", 0, seed, budget(method)) for seed in range(SEEDS)]
    groups = [cells] if method.vmappable else [[cell] for cell in cells]
    return np.concatenate([terms(train(stack(group, CPU), is_compiled(cells[0], CPU))) for group in groups])


def terms(trained: Trained) -> np.ndarray:
    """Means of the predictive terms at the probes, standardised [R, S, probes]; NaN where a cell diverged."""
    pack = trained.pack
    probes = pack.data.x[pack.splits[0].test]
    found = []
    for r, predictive in enumerate(predictions(trained, [probes] * len(pack.cells))):
        assert isinstance(predictive, GaussianPredictive)
        shift, scale = float(pack.problem.rows.y_shift[r]), float(pack.problem.rows.y_scale[r])
        values = (predictive.mean.double().numpy() - shift) / scale
        found.append(values if bool(trained.live[r]) else np.nan * values)
    return np.stack(found)


def weights(values: np.ndarray) -> np.ndarray:
    """f(0) = b and f(e_j) = w_j + b, hence [R, S, d + 1] weights and bias."""
    bias = values[..., :1]
    return np.concatenate([values[..., 1:] - bias, bias], -1)


def problem(pack: Pack) -> Problem:
    """The problem of a pack's first cell."""
    return pack.problem_of(
        pack.problem.table, type(pack.problem.rows)(*(v[0] for v in pack.problem.rows)), pack.problem.t
    )
