"""A trained posterior: to named arrays, and back to something that predicts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from bnnbench.data.columns import in_order, table
from bnnbench.data.encoding import Encoder
from bnnbench.engine.cell import Cell
from bnnbench.engine.fit import Trained, rebuild
from bnnbench.engine.pack import Pack, Replicas, floats_of
from bnnbench.engine.precision import FLOAT32, computing_in
from bnnbench.engine.predict import joined
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.model import Predictive, Problem, Rows, Table
from bnnbench.model.predictive import each
from bnnbench.registry import Registry
from bnnbench.tasks import TASKS
from bnnbench.tasks.own import TableTask

T = TypeVar("T")
STANDARDISATION = ("x_shift", "x_scale", "y_shift", "y_scale")


def to_arrays(trained: Trained, replica: int) -> dict[str, np.ndarray]:
    """One replica's posterior as arrays (see `arrays` of `Fitted` and `Estimated`), with what prediction needs of its
    split (`rows/...`), a 1 in the networks' dtype, and as JSON labels of classes and names of columns; of a table that
    its split encodes, the encoding and the task itself. Empty where an estimator saves nothing."""
    own = trained.arrays(replica)
    return {**_context(trained.pack, replica), **own} if own else {}


def _context(pack: Pack, replica: int) -> dict[str, np.ndarray]:
    data = pack.encoded[replica]
    names: dict[str, Any] = {"classes": data.classes, "features": data.features}
    if data.encoder is not None:
        names |= {"features": data.encoder.names, "encoder": data.encoder.to_json(), "task": pack.task.portable()}
    arrays = {"classes": np.array(len(data.classes)), "key": pack.keys[replica].cpu().numpy()}
    arrays["names"] = np.frombuffer(json.dumps(names).encode(), np.uint8)
    arrays["shape"] = np.array(pack.problem.table.x.shape[1:])
    arrays["one"] = torch.ones_like(pack.problem.t).cpu().numpy()
    for name in STANDARDISATION:
        arrays[f"rows/{name}"] = getattr(pack.problem.rows, name)[replica].cpu().numpy()
    return arrays


class StoredPosterior:
    """A trained posterior that predicts arrays in original units.

    Attributes:
        cell: the cell's description, as in the database.
        method: the configured method.
        trained: what it found, ready to predict.
        classes: the labels, in the order of the probabilities; none for regression.
        features: names of the inputs' columns, where they have names; of a table with text and gaps the original ones.
        encoder: what makes numbers of such a table's rows, None where they are numbers.
    """

    def __init__(
        self,
        cell: Mapping[str, Any],
        trained: Trained,
        classes: Sequence[Any] = (),
        features: Sequence[str] = (),
        encoder: Encoder | None = None,
    ) -> None:
        self.cell, self.trained, self.method = dict(cell), trained, trained.pack.method
        self.classes, self.features, self.encoder = tuple(classes), tuple(features), encoder

    def mixture(self, x: Any, samples: int | None = None) -> Predictive:
        """The predictive mixture at inputs [N, ...], without gradients; by default the very samples that were scored.

        Args:
            x: an array, a tensor, lists, or a DataFrame, whose columns are taken by their names. Of a table with text
                and gaps, rows with its original columns, gaps included; what is done with values that training has not
                seen stands in `bnnbench.data.encoding`.
            samples: components of the mixture, where the method can choose.

        Raises:
            UserError: inputs of another shape, without a column, or with values that are no finite numbers.
        """
        problem = self.trained.pack.problem
        array = self.encoder.inputs(x) if self.encoder else table(in_order(x, self.features))[0]
        inputs, shape = torch.as_tensor(array, dtype=problem.rows.x_shift.dtype), problem.table.x.shape[1:]
        if inputs.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise UserError(f"This posterior takes inputs of shape [N, {wanted}], not {list(inputs.shape)}.")
        samples = samples or self.trained.pack.budget.samples
        with computing_in(FLOAT32):
            mixture = joined(self.trained.components(samples), inputs[None], self.trained.rows_at_once(samples))
        return each(lambda part: part[0], mixture)

    def predict(self, x: Any, samples: int | None = None) -> dict[str, np.ndarray]:
        """Summaries at inputs [N, ...] in original units (pixels in [0, 1]), each [N]; `x` as `mixture` takes it.

        Regression: `mean`, `epistemic_std`, `aleatoric_std`, `total_std`. Classification: `probabilities` [N, K] of
        `classes`, `entropy_total`, `entropy_aleatoric`, in nats. Density: `log_density`, or its importance-weighted
        estimate.
        """
        return {name: value.numpy() for name, value in self.mixture(x, samples).summary().items()}


def from_arrays(cell: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> StoredPosterior:
    """Rebuild a posterior; its structure is what `init` and `finish` make of a problem of the same shape.

    Raises:
        UserError: the method is not installed or has another version, or the arrays do not fit it.
    """
    cls = _registered(METHODS, cell["method"])
    if cls.version != cell["method_version"]:
        raise UserError(
            f"This posterior was trained by {cls.name} version {cell['method_version']} and version {cls.version} is "
            "installed; run the cell again with --force."
        )
    # An earlier posterior has no names; its labels were their own indices.
    names: Any = {"classes": range(int(arrays["classes"]))}
    if "names" in arrays:
        names = json.loads(bytes(arrays["names"]))
    brought, encoder = names.pop("task", {}), names.pop("encoder", None)
    task = TableTask.from_portable(brought) if brought else _registered(TASKS, cell["task"])
    rule, _, index = cell["split"].rpartition("-")
    method, key = cls(**json.loads(cell["configuration"])), torch.as_tensor(arrays["key"])
    own = Cell(task, method, rule, int(index), cell["seed"], task.budget(cell["budget"]))
    problem = method.prepare(_problem(own, arrays))
    like = problem.t
    batched = dataclasses.replace(problem, rows=Rows(*map(_batched, problem.rows)))
    replica = Replicas((own,), method, floats_of([method], like.dtype, like.device), batched, key[None])
    names["encoder"] = None if encoder is None else Encoder.from_json(encoder)
    return StoredPosterior(cell, rebuilt(cast(Pack, replica), arrays), **names)  # of a pack without data


def rebuilt(pack: Pack, arrays: Mapping[str, np.ndarray]) -> Trained:
    """What was trained of one cell, back from its arrays.

    Raises:
        UserError: they lack one.
    """
    try:
        return rebuild(pack.method, pack, arrays)
    except KeyError as error:
        raise UserError(f"The stored posterior lacks {error}; run the cell again with --force.") from None


def _registered(registry: Registry[T], name: str) -> T:
    """The entry of a stored name; an object that was handed to `run` is known to the process of that run alone."""
    if name not in registry.names():
        raise UserError(
            f"This posterior is of the {registry.noun} {name!r}, which is not registered in this process; register it, "
            f"as by an entry point of the group {registry.group!r}."
        )
    return registry.get(name)


def _batched(value: Tensor) -> Tensor:
    return value[None]


def _problem(cell: Cell, arrays: Mapping[str, np.ndarray]) -> Problem:
    """The cell's problem with one row of zeros in place of its data: predicting needs the standardisation alone."""
    measured = {name: torch.as_tensor(arrays[f"rows/{name}"]) for name in STANDARDISATION}
    classes, x, y = int(arrays["classes"]), measured["x_shift"], measured["y_shift"]
    shape = tuple(arrays["shape"].tolist()) if "shape" in arrays else (len(x),)
    data = Table(torch.zeros(1, *shape).to(x), torch.zeros(1, dtype=torch.int64 if classes else y.dtype))
    one = torch.as_tensor(arrays["one"] if "one" in arrays else np.ones((), np.float32))
    rows = Rows(torch.zeros(1, dtype=torch.int64), one[None], torch.tensor(1), one, **measured)
    return cell.task.problem(cell.rule, data, rows, classes, cell.budget.steps)
