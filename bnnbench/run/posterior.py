"""A trained posterior: to named arrays, and back to something that predicts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.metrics.classification import entropy
from bnnbench.model import CategoricalPredictive, DensityPredictive, Predictive, Problem, Rows, Table
from bnnbench.model.predictive import each
from bnnbench.run.cell import Cell
from bnnbench.run.engine import INIT, PREDICT
from bnnbench.run.pack import Replicas, floats_of
from bnnbench.run.predict import predict
from bnnbench.run.train import Trained
from bnnbench.run.trees import from_named, to_named
from bnnbench.tasks import TASKS

STANDARDISATION = ("x_shift", "x_scale", "y_shift", "y_scale")


def to_arrays(trained: Trained, replica: int) -> dict[str, np.ndarray]:
    """One replica's posterior as `state...` and `draws...` arrays by key path, with what prediction needs of its
    split (`rows/...`)."""
    arrays = {"classes": np.array(trained.pack.data.classes), "key": trained.pack.keys[replica].cpu().numpy()}
    arrays["shape"] = np.array(trained.pack.problem.table.x.shape[1:])
    for name in STANDARDISATION:
        arrays[f"rows/{name}"] = getattr(trained.pack.problem.rows, name)[replica].cpu().numpy()
    for name, tree in [("state", trained.state), ("draws", trained.draws)]:
        if tree is not None:
            arrays |= to_named(name, tree_map(lambda leaf: leaf[replica], tree))
    return arrays


class Posterior:
    """A trained posterior that predicts arrays in original units.

    Attributes:
        cell: the cell's description, as in the database.
        method: the configured method.
        state, draws: tensors as the method left them.
    """

    def __init__(self, cell: Mapping[str, Any], replica: Replicas, key: Tensor, state: Any, draws: Any) -> None:
        self.cell, self.method, self._replica, self._key = dict(cell), replica.method, replica, key
        self.state, self.draws = state, draws

    def terms(self, x: np.ndarray | Tensor, samples: int | None = None) -> Predictive:
        """The predictive mixture at inputs [N, ...], without gradients; by default the very samples that were scored.

        Raises:
            UserError: inputs of another shape.
        """
        problem = self._replica.problem
        inputs, shape = torch.as_tensor(x, dtype=problem.rows.x_shift.dtype), problem.table.x.shape[1:]
        if inputs.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise UserError(f"This posterior takes inputs of shape [N, {wanted}], not {list(inputs.shape)}.")
        samples = samples or self._replica.cells[0].budget.samples
        state, draws = (None if tree is None else tree_map(_batched, tree) for tree in (self.state, self.draws))
        terms = predict(self._replica, state, draws, self._key[None], inputs[None], samples)
        return each(lambda part: part[0], terms)

    def predict(self, x: np.ndarray | Tensor, samples: int | None = None) -> dict[str, np.ndarray]:
        """Summaries at inputs [N, ...] in original units (pixels in [0, 1]), each [N].

        Regression: `mean`, `epistemic_std`, `aleatoric_std`, `total_std`. Classification: `probabilities` [N, K],
        `entropy_total`, `entropy_aleatoric`, in nats. Density: `log_density`, or its importance-weighted estimate.
        """
        terms = self.terms(x, samples)
        if isinstance(terms, CategoricalPredictive):
            mixture = terms.mixture_log_probs()
            values = {
                "probabilities": mixture.exp(),
                "entropy_total": entropy(mixture),
                "entropy_aleatoric": entropy(terms.log_probs).mean(0),
            }
        elif isinstance(terms, DensityPredictive):
            values = {"log_density": terms.log_prob(torch.empty(0))}
        else:
            mean, epistemic, aleatoric = terms.moments()
            values = {
                "mean": mean,
                "epistemic_std": epistemic.sqrt(),
                "aleatoric_std": aleatoric.sqrt(),
                "total_std": (epistemic + aleatoric).sqrt(),
            }
        return {name: value.numpy() for name, value in values.items()}


def from_arrays(cell: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Posterior:
    """Rebuild a posterior; its structure is what `init` and `finish` make of a problem of the same shape.

    Raises:
        UserError: the method is not installed or has another version, or the arrays do not fit it.
    """
    cls = METHODS.get(cell["method"])
    if cls.version != cell["method_version"]:
        raise UserError(
            f"This posterior was trained by {cls.name} version {cell['method_version']} and version {cls.version} is "
            "installed; run the cell again with --force."
        )
    task, (rule, _, index) = TASKS.get(cell["task"]), cell["split"].rpartition("-")
    method, key = cls(**json.loads(cell["configuration"])), torch.as_tensor(arrays["key"])
    own = Cell(task, method, rule, int(index), cell["seed"], task.budget(cell["budget"]))
    problem = method.prepare(_problem(own, arrays))
    start = method.finish(key, method.init(random.fold_in(key, INIT), problem), problem)
    draws = None
    if any(name.startswith("draws") for name in arrays):
        draws = _fill("draws", method.collect(start), arrays)
    like = problem.rows.x_shift
    batched = dataclasses.replace(problem, rows=Rows(*map(_batched, problem.rows)))
    replica = Replicas((own,), method, floats_of([method], like.dtype, like.device), batched)
    return Posterior(cell, replica, random.fold_in(key, PREDICT), _fill("state", start, arrays), draws)


def _batched(value: Tensor) -> Tensor:
    return value[None]


def _problem(cell: Cell, arrays: Mapping[str, np.ndarray]) -> Problem:
    """The cell's problem with one row of zeros in place of its data: predicting needs the standardisation alone."""
    measured = {name: torch.as_tensor(arrays[f"rows/{name}"]) for name in STANDARDISATION}
    classes, like = int(arrays["classes"]), measured["x_shift"]
    shape = tuple(arrays["shape"].tolist()) if "shape" in arrays else (len(like),)
    table = Table(torch.zeros(1, *shape).to(like), torch.zeros(1, dtype=torch.int64 if classes else like.dtype))
    one = torch.ones(1).to(like)
    rows = Rows(torch.zeros(1, dtype=torch.int64), one, torch.tensor(1), one[0], **measured)
    return cell.task.problem(cell.rule, table, rows, classes, cell.budget.steps)


def _fill(prefix: str, structure: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The arrays stored under a prefix, in the places of a tree of this structure."""
    try:
        return from_named(prefix, structure, arrays)
    except KeyError as error:
        raise UserError(f"The stored posterior lacks {error}; run the cell again with --force.") from None
