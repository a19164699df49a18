"""Run a method on a check's task, many seeds at once, and read the weights off its predictions."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import torch

from bnnbench.checks.problems import Known
from bnnbench.engine.cell import Cell
from bnnbench.engine.compile import is_compiled
from bnnbench.engine.fit import Trained, fit
from bnnbench.engine.pack import Pack, stack
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.methods import Inference
from bnnbench.model import GaussianPredictive, Problem
from bnnbench.tasks.budget import Budget

CPU = torch.device("cpu")
UPDATES, SAMPLES, SEEDS = 10_000, 200, 16


def as_checked(method: Inference) -> Inference:
    """The method without early stopping, which would prefer what fits over what it ought to converge to."""
    names = {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]
    return replace(method, early_stopping=False) if "early_stopping" in names else method  # type: ignore[type-var]


def budget(method: Inference, updates: int = UPDATES) -> Budget:
    """So many steps that the method makes about `updates` updates."""
    steps = max(1, updates // method.steps_multiplier)
    return Budget("check", steps, SAMPLES, 1, "")


def sample(method: Inference, task: Known) -> np.ndarray:
    """Predictive means at the probes of `SEEDS` cells that differ in their seed, standardised [R, S, probes].

    One cell after the other where the method cannot be vmapped.
    """
    method = as_checked(method)
    cells = [Cell(task, method, "known", 0, seed, budget(method)) for seed in range(SEEDS)]
    groups = [cells] if method.vmappable else [[cell] for cell in cells]
    return np.concatenate([means(fit(method, stack(group, CPU), is_compiled(cells[0], CPU))[0]) for group in groups])


def means(fitted: Trained) -> np.ndarray:
    """Means of the mixture components at the probes, standardised [R, S, probes]; NaN where a cell diverged."""
    pack = fitted.pack
    probes = pack.data.x[pack.splits[0].test]
    found = []
    for r, predictive in enumerate(Evaluator(fitted).predictions([probes] * len(pack.cells))):
        assert isinstance(predictive, GaussianPredictive)
        shift, scale = float(pack.problem.rows.y_shift[r]), float(pack.problem.rows.y_scale[r])
        values = (predictive.mean.double().numpy() - shift) / scale
        found.append(values if bool(fitted.live[r]) else np.nan * values)
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
