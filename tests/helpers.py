"""Small synthetic tasks, and cells and packs made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.data.arrays import Data, Split
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import Pack, stack
from bnnbench.engine.train import Fitted, History
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.pack import run_pack
from bnnbench.experiment.progress import RunProgress
from bnnbench.methods import METHODS, Method
from bnnbench.model import (
    DensityProblem,
    EnergyProblem,
    GaussianPrior,
    Heteroscedastic,
    Likelihood,
    Prior,
    Problem,
    Rows,
    Table,
)
from bnnbench.nets import MLP
from bnnbench.records import Outcome
from bnnbench.tasks import Task, TestSet
from bnnbench.tasks.budget import Budget
from bnnbench.tasks.density import DensityTask
from bnnbench.tasks.targets import Target

CPU = torch.device("cpu")
torch.set_num_threads(1)  # of tensors this small a second thread makes the tests five times slower
FIT = (40, 57, 33)  # rows to fit of the three folds: of unequal size
BROKEN = len(FIT)  # number of the fold whose rows hold NaN alone
BUDGET = Budget("smoke", 100, 5, 4, "", pruning=True)


@lru_cache
def _data(kind: str) -> Data:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, [1.0, 10.0, 0.1], (160, 3))
    x[80:] = np.nan
    signal = np.tanh(x[:, 0] - 3) + 0.03 * x[:, 1]
    if kind == "classification":
        return Data(
            x, np.nan_to_num(np.digitize(signal + rng.normal(0, 0.2, 160), [-0.2, 0.4])), "0", classes=(0, 1, 2)
        )
    return Data(x, 50 + 7 * (signal + rng.normal(0, 0.2, 160)), "0")


@dataclass(frozen=True)
class Synthetic(Task):
    """Three folds of unequal size in rows 0 to 79, and a broken one among rows 80 to 159, where x and y are NaN."""

    def present(self, root=None) -> bool:
        return True

    def data(self, root=None) -> Data:
        return _data(self.kind)

    def splits(self, rule, root=None) -> list[Split]:
        def split(seed: int, size: int, first: int) -> Split:
            order = first + np.random.default_rng(seed).permutation(80)
            return Split(order[:size], order[size : size + 10 + seed], order[-10:])

        return [*(split(k, size, 0) for k, size in enumerate(FIT)), split(BROKEN, 45, 80)]


class ThreeNormals(Target):
    """Independent standard normals."""

    def sample(self, key: Tensor, n: int) -> Tensor:
        return random.normal(key, (n, 3))

    def log_density(self, x: Tensor) -> Tensor:
        normal = torch.distributions.Normal(0.0, 1.0, validate_args=False)  # a broken fold's draws are NaN
        return normal.log_prob(x).sum(-1)


class SyntheticDensity(Synthetic, DensityTask):
    """The same rows to standardise and score by, and fresh draws of normals to fit; a broken fold's are NaN."""

    def problem(self, rule, table, rows, classes, steps) -> Problem:
        own = vars(Task.problem(self, rule, table, rows, classes, steps))
        if self.kind == "density":
            return DensityProblem(**own, draw=ThreeNormals().sample)
        return EnergyProblem(**own, log_density=ThreeNormals().log_density)

    def test_sets(self, data, split, families=(), root=None) -> dict[str, TestSet]:
        return Task.test_sets(self, data, split)


TASKS = {
    "heteroscedastic": Synthetic("synthetic-he", "regression", ("synthetic",), ("folds",), (8,)),
    "homoscedastic": Synthetic("synthetic-ho", "regression", ("synthetic",), ("folds",), (8,), "homoscedastic"),
    "classification": Synthetic("synthetic-cl", "classification", ("synthetic",), ("folds",), (8,)),
    "density": SyntheticDensity("synthetic-de", "density", ("synthetic",), ("folds",), batch_size=32),
    "variational": SyntheticDensity("synthetic-va", "variational", ("synthetic",), ("folds",), batch_size=32),
}
# What is trained in packs. The laws of estimators, each in a process of its own, are in tests/adapters.
PACKED = [method for method in METHODS if not method.isolated]
# Settings under which a method's laws are cheap: what they multiply is the same work again.
SMALL = {"hmc": {"steps_multiplier": 1, "num_chains": 2}, "gp": {"iterations": 10}}
SMALL |= dict.fromkeys(("mclmc", "ensemble-mclmc", "ensemble-mcmc"), SMALL["hmc"])
SMALL |= {"multi-swag": {"members": 2}, "ensemble-laplace": {"members": 2}, "sngp": {"features": 8}}
SMALL |= {method.name: {"layers": 2, "width": 8} for method in METHODS if "flow" in method.tags}
# Flows that fit draws and energies alike are tried on draws alone, and those whose code others share not at all.
ALIKE = ("flow-nice", "flow-spline-ar", "flow-radial")
# Beginnings of names of methods that are made of others, whose longer laws need no run by default.
MADE_OF_OTHERS = ("mnf-", "multi-swag", "ensemble-laplace", "rank-1")
PAIRS = [
    (method.name, task)
    for method in PACKED
    for task in TASKS
    if TASKS[task].kind in method.supports
    and not (task == "variational" and "density" in method.supports)
    and method.name not in ALIKE
]


def small(name: str) -> Method:
    """A method in its small settings."""
    return METHODS.get(name)(**SMALL.get(name, {}))


def task_of(method: Method) -> str:
    """The first task that a method supports."""
    return next(name for name, task in TASKS.items() if task.kind in method.supports)


def make_cells(
    method: Method | str, task: str | None = None, folds: Iterable[int] = (0, 1, 2), budget: Budget = BUDGET
) -> list[Cell]:
    method = small(method) if isinstance(method, str) else method
    return [Cell(TASKS[task or task_of(method)], method, "folds", fold, 0, budget) for fold in folds]


def make_pack(cells: list[Cell], dtype: torch.dtype = torch.float64) -> Pack:
    return stack(cells, CPU, dtype)


def replica(fitted: Fitted, history: History, r: int) -> dict:
    """All that training leaves of one replica."""
    found = {"state": fitted.state} | ({} if fitted.draws is None else {"draws": fitted.draws})
    found = tree_map(lambda leaf: leaf[r], found)
    curves = {name: values if name == "step" else values[r] for name, values in history.curves.items()}
    kept = None if history.step_kept is None else history.step_kept[r]
    return {"found": found, "live": fitted.live[r], "curves": curves, "kept": kept}


def make_problem(
    x: Tensor,
    y: Tensor,
    likelihood: Likelihood | None = None,
    prior: Prior | None = None,
    hidden: tuple[int, ...] = (5,),
    weight: Tensor | None = None,
    batch_size: int = 8,
    steps: int = 100,
) -> Problem:
    """A problem on all rows of a table, without standardisation."""
    likelihood = likelihood or Heteroscedastic()
    zeros, one = torch.zeros(x.shape[1]).to(x), torch.ones((), dtype=x.dtype)
    rows = Rows(
        index=torch.arange(len(x)), weight=one.expand(len(x)), count=torch.tensor(len(x)), total=len(x) * one,
        x_shift=zeros, x_scale=zeros + 1, y_shift=0 * one, y_scale=one,
    )  # fmt: skip
    network = MLP(x.shape[1], hidden, likelihood.outputs).to(x)
    problem = Problem(network, likelihood, prior or GaussianPrior(), Table(x, y), rows, batch_size, steps, 0 * one)
    return problem if weight is None else problem.subset(weight)


def normal(loc: float | Tensor, scale: float | Tensor) -> torch.distributions.Normal:
    """torch's Normal in float64; of Python numbers it would make one in float32."""
    loc, scale = (torch.as_tensor(value, dtype=torch.float64) for value in (loc, scale))
    return torch.distributions.Normal(loc, scale)


def outcomes_of(cells: list[Cell], settings: Settings, progress: RunProgress) -> list[Outcome]:
    """What the runner makes of a pack, in the order of the cells."""
    tried = run_pack(cells, settings.precision, settings, progress.line())
    return [outcome for _, outcomes, *_ in tried for outcome in outcomes]


def walk(method, problem, steps, each=None, key=0):
    """The state after so many updates; `each` sees t and every state and info."""
    problem = replace(problem, steps=steps)
    state = method.init(random.key(key), problem)
    for t in range(steps):
        now = replace(problem, t=torch.tensor(float(t), dtype=torch.float64))
        state, info = method.update(random.fold_in(random.key(key + 1), t), state, now)
        if each:
            each(t, state, info)
    return state


def rows_seen(monkeypatch, problem: Problem, methods: Iterable[Method]) -> list[int]:
    """Rows of every forward pass of one update of each method, counted once for networks that share it under vmap."""
    seen: list[int] = []
    forward = type(problem.network).forward
    monkeypatch.setattr(type(problem.network), "forward", lambda net, x: seen.append(x.shape[0]) or forward(net, x))
    for method in methods:
        method.update(random.key(1), method.init(random.key(0), problem), problem)
    return seen
