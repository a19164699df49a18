"""The engine: the one place where methods are vmapped, compiled and stepped.

Everything a replica does is `method.init`, `update`, `finish` and `predict` for one network; the replica dimension
exists in this file alone. A replica whose loss is not finite is frozen at its last finite state and never touches the
others: all writes go through `where(live, new, old)`.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from bnnbench import random
from bnnbench.model import Predictive
from bnnbench.run.compile import compiled_step
from bnnbench.run.pack import Pack

INIT, TRAIN, VALIDATE, FINISH, PREDICT = range(5)  # purposes of a cell's key
VALIDATION_SAMPLES = 10

State = Any
Progress = Callable[[int], None]


class OutOfTime(Exception):
    """The deadline passed before the budget was spent."""


@dataclass
class Trained:
    """What training leaves of a pack; every tensor has a leading replica dimension.

    Attributes:
        state, draws: the posterior, `draws` being the collected draws [R, draws, ...] or None.
        live: which replicas stayed finite, [R].
        steps: updates made. diverged_at: step at which a replica was frozen, -1 where it was not, [R].
        step_kept: step whose state early stopping kept, [R], or None.
        curves: `step` [C], and [R, C] arrays `loss` and `validation`.
    """

    pack: Pack
    state: State
    draws: Any
    live: Tensor
    steps: int
    diverged_at: np.ndarray
    step_kept: np.ndarray | None
    curves: dict[str, np.ndarray]


def where(condition: Tensor, new: Any, old: Any) -> Any:
    """Leafwise `condition ? new : old`, the condition [R] running along the leading dimension of every leaf."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.reshape(condition.shape + (1,) * (a.dim() - condition.dim())), a, b)

    return tree_map(choose, new, old)


def make_step(pack: Pack) -> Callable:
    """The vmapped training step (floats, table, rows, state, live, key, t) -> (state, live, info)."""
    template = pack.problem.with_network(skeleton(pack.problem.network))

    def one(floats: Any, table: Any, rows: Any, state: State, live: Tensor, key: Tensor, t: Tensor) -> Any:
        problem = dataclasses.replace(template, table=table, rows=rows, t=t)
        new, info = pack.method_of(floats).update(key, state, problem)
        live = live & torch.isfinite(info["loss"])
        return tree_map(lambda a, b: torch.where(live, a, b), new, state), live, info

    batched = vmap(one, in_dims=(0, None, 0, 0, 0, 0, None), randomness="error")

    def step(*arguments: Any) -> Any:  # a code object of ours, which the compiler can tell from other structures'
        return batched(*arguments)

    return step


def skeleton(network: nn.Module) -> nn.Module:
    """A copy with empty parameters: `functional_call` brings the real ones, whose shapes alone then count for the
    compiler. Packs of other input widths share its program."""
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.data = parameter.data.new_empty(0)
        parameter.requires_grad_(False)
    return network


def over_replicas(pack: Pack, f: Callable, *args: Any) -> Any:
    """vmap f(method, problem, *args) over the replicas of a pack, at the end of its budget."""
    problem = pack.problem
    t = torch.full_like(problem.t, problem.steps)

    def one(floats: Any, rows: Any, *rest: Any) -> Any:
        return f(pack.method_of(floats), pack.problem_of(problem.table, rows, t), *rest)

    in_dims = (0, 0, *(None if arg is None else 0 for arg in args))
    return vmap(one, in_dims=in_dims, randomness="error")(pack.floats, problem.rows, *args)


def initial_state(pack: Pack) -> State:
    """`init` of all replicas."""
    keys = random.fold_in(pack.keys, INIT)
    state = over_replicas(pack, lambda method, problem, key: method.init(key, problem), keys)
    return tree_map(torch.clone, state)  # views of one draw would be another program to the compiler


def predict(pack: Pack, state: State, draws: Any, key: Tensor, x: Tensor, samples: int) -> Predictive:
    """Predictive terms [R, S, N ...] at inputs x [R, N, ...] in original units; keys [R, 2]."""

    def one(method: Any, problem: Any, key: Tensor, state: State, draws: Any, x: Tensor) -> Predictive:
        return method.predict(key, state, draws, problem, x, samples)

    return over_replicas(pack, one, key, state, draws, x)


def train(
    pack: Pack, compiled: bool, deadline: float | None = None, progress: Progress = lambda steps: None
) -> Trained:
    """Train a pack.

    Args:
        compiled: whether the step goes through torch.compile.
        deadline: `time.monotonic()` after which OutOfTime is raised.
        progress: told the number of finished steps at every look at the validation rows.
    """
    state, replicas, steps = initial_state(pack), len(pack.cells), pack.cells[0].steps
    budget, device = pack.cells[0].budget, pack.keys.device
    live = torch.ones(replicas, dtype=torch.bool, device=device)
    monitor = _Monitor(pack, state)
    draws = _Draws(pack.method.schedule(steps))
    step = compiled_step(pack, make_step(pack), state) if compiled else make_step(pack)
    every = max(1, steps // budget.checks)
    train_key = random.fold_in(pack.keys, TRAIN)
    with random.compiled_kernels(compiled), torch.no_grad():
        for start in range(0, steps, every):
            stop = min(start + every, steps)
            ts = torch.arange(start, stop, device=device)
            keys = vmap(lambda t: random.fold_in(train_key, t))(ts).unbind(0)
            times = ts.to(pack.problem.t.dtype).unbind(0)
            for t, key, time_ in zip(range(start, stop), keys, times, strict=True):
                state, live, info = step(pack.floats, pack.problem.table, pack.problem.rows, state, live, key, time_)
                monitor.add(info["loss"])
                draws.offer(t, pack, state)
            monitor.look(stop, state, live)
            progress(stop)
            if deadline is not None and time.monotonic() > deadline:
                raise OutOfTime(f"stopped after {stop} of {steps} updates")
    state = monitor.best if pack.method.early_stopping and steps else state
    finished = over_replicas(
        pack,
        lambda method, problem, key, state: method.finish(key, state, problem),
        random.fold_in(pack.keys, FINISH),
        state,
    )
    live &= torch.stack([torch.isfinite(leaf).reshape(replicas, -1).all(1) for leaf in tree_leaves(finished)]).all(0)
    return Trained(
        pack,
        finished,
        draws.stacked(),
        live,
        steps,
        monitor.diverged_at,
        monitor.best_step if pack.method.early_stopping and steps else None,
        monitor.curves(),
    )


class _Draws:
    """Collected posterior draws, written outside the compiled step: a write into a big buffer inside it costs more
    than the step."""

    def __init__(self, schedule: Any) -> None:
        self.schedule, self.kept = set(schedule), []

    def offer(self, t: int, pack: Pack, state: State) -> None:
        if t in self.schedule:
            kept = over_replicas(pack, lambda method, problem, state: method.collect(state), state)
            self.kept.append(tree_map(torch.clone, kept))

    def stacked(self) -> Any:
        return tree_map(lambda *draws: torch.stack(draws, 1), *self.kept) if self.kept else None


class _Monitor:
    """Training curves, and the state that was best on the validation rows."""

    def __init__(self, pack: Pack, state: State) -> None:
        device, replicas = pack.keys.device, len(pack.cells)
        self.pack, self.best = pack, state
        self.best_score = torch.full((replicas,), -torch.inf, device=device)
        self.best_step = np.zeros(replicas, dtype=int)
        self.diverged_at = np.full(replicas, -1)
        self.losses: list[Tensor] = []
        self.points: list[tuple[int, np.ndarray, np.ndarray]] = []
        index, self.mask = padded([split.validate for split in pack.splits], device)
        self.x, self.y = pack.problem.table.x[index], pack.problem.table.y[index]
        self.key = random.fold_in(pack.keys, VALIDATE)

    def add(self, loss: Tensor) -> None:
        self.losses.append(loss)

    def look(self, step: int, state: State, live: Tensor) -> None:
        """Score the state on the validation rows and keep it if it is the best so far."""
        predictive: Any = predict(self.pack, state, None, self.key, self.x, VALIDATION_SAMPLES)
        log_prob = vmap(type(predictive).log_prob)(predictive, self.y)
        score = torch.where(self.mask, log_prob, 0.0).sum(1) / self.mask.sum(1)
        better = live & (score > self.best_score)
        self.best_score = torch.where(better, score, self.best_score)
        self.best = where(better, state, self.best)
        self.best_step[better.cpu().numpy()] = step
        losses = torch.stack(self.losses)
        finite = torch.isfinite(losses).cpu().numpy()
        for replica in np.flatnonzero((self.diverged_at < 0) & ~finite.all(0)):
            self.diverged_at[replica] = step - len(losses) + int(np.argmin(finite[:, replica]))
        self.points.append((step, losses.mean(0).cpu().numpy(), score.cpu().numpy()))
        self.losses = []

    def curves(self) -> dict[str, np.ndarray]:
        if not self.points:
            return {}
        step, loss, validation = zip(*self.points, strict=True)
        return {"step": np.array(step), "loss": np.stack(loss, 1), "validation": np.stack(validation, 1)}


def padded(rows: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row indices [R, longest], padded by repetition of the first, and the mask of those that are no padding."""
    longest = max(len(row) for row in rows)
    index = np.stack([np.concatenate([row, np.full(longest - len(row), row[0])]) for row in rows])
    mask = np.stack([np.arange(longest) < len(row) for row in rows])
    return torch.as_tensor(index, device=device), torch.as_tensor(mask, device=device)
