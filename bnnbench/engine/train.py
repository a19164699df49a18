"""Training of a pack, from its initial states to its posteriors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from bnnbench import random
from bnnbench.engine.checkpoint import Checkpoint, stored
from bnnbench.engine.compile import program
from bnnbench.engine.pack import Pack
from bnnbench.engine.precision import FLOAT32, computing_in
from bnnbench.engine.predict import Component, components, posterior_of, rows_at_once
from bnnbench.engine.step import FINISH, INIT, PREDICT, TRAIN, State, initial_state, make_step, over_replicas
from bnnbench.engine.trees import Arrays, from_named, to_named
from bnnbench.engine.validation import Collected, Monitor
from bnnbench.model import Params, Rows
from bnnbench.model.posteriors import Posterior

Progress = Callable[[int], None]


class OutOfTime(Exception):
    """The deadline passed before the budget was spent."""


@dataclass(frozen=True)
class Fitted:
    """A trained pack; every tensor has a leading replica dimension.

    Attributes:
        state: as training left it. draws: the collected draws [R, draws, ...], or None.
        live: which replicas stayed finite, [R].
    """

    pack: Pack
    state: State
    draws: Any
    live: Tensor

    @cached_property
    def posterior(self) -> Posterior:
        """What the method has found, of all replicas."""
        return posterior_of(self.pack, self.state, self.draws)

    def components(self, samples: int, factors: Params | None = None) -> Iterable[Component]:
        """The predictive as functions of the inputs, a few components at a time, weights times `factors` (pruning)."""
        return components(self.pack, self.posterior, random.fold_in(self.pack.keys, PREDICT), samples, factors)

    def rows_at_once(self, samples: int) -> int:
        """Rows that so many components predict at once."""
        return rows_at_once(self.pack, self.posterior, samples)

    def arrays(self, replica: int) -> Arrays:
        """The state and the draws of one replica by key path, `state...` and `draws...`."""
        trees = {"state": self.state, "draws": self.draws}
        own = {name: tree_map(lambda leaf: leaf[replica], tree) for name, tree in trees.items() if tree is not None}
        return {path: array for name, tree in own.items() for path, array in to_named(name, tree).items()}

    @classmethod
    def from_arrays(cls, pack: Pack, arrays: Mapping[str, np.ndarray]) -> Fitted:
        """Of one replica, back from its arrays: the structure is what `init` and `finish` make of its problem.

        Raises:
            KeyError: one of them is missing.
        """
        method, device = pack.method, pack.keys.device
        rows = Rows(*(values[0] for values in pack.problem.rows))
        target = method.target(pack.problem_of(pack.problem.table, rows, pack.problem.t))
        start = method.finish(pack.keys[0], method.init(random.fold_in(pack.keys[0], INIT), target), target)
        names = [name for name in ("state", "draws") if any(path.startswith(name) for path in arrays)]
        like = {"state": start, "draws": method.collect(start) if "draws" in names else None}
        found = {name: from_named(name, like[name], arrays) for name in names}
        batched = {name: tree_map(lambda leaf: leaf[None].to(device), tree) for name, tree in found.items()}
        return cls(pack, batched["state"], batched.get("draws"), torch.ones(1, dtype=torch.bool, device=device))


@dataclass(frozen=True)
class History:
    """How a training went.

    Attributes:
        steps: updates made. diverged_at: step at which a replica was frozen, -1 where it was not, [R].
        step_kept: step whose state early stopping kept, [R], or of each network, [R, networks]; None without.
        curves: `step` [C], and [R, C] arrays `loss`, `validation` and whatever else `update` reported.
        recording: `step` [C], and [R, C] statistics of weights and activations, where they are recorded.
        gradients: over minibatches, of all networks of a replica.
        earlier_s: seconds spent before the checkpoint that training went on from.
    """

    steps: int
    diverged_at: np.ndarray
    step_kept: np.ndarray | None = None
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    recording: dict[str, np.ndarray] = field(default_factory=dict)
    gradients: int = 0
    earlier_s: float = 0.0


@dataclass
class _Run:
    """A training on its way: what a checkpoint holds."""

    step: int
    state: State
    live: Tensor
    monitor: Monitor
    collected: Collected
    earlier_s: float = 0.0

    @classmethod
    def begin(cls, pack: Pack) -> _Run:
        state = initial_state(pack)
        live = torch.ones(len(pack.cells), dtype=torch.bool, device=pack.keys.device)
        return cls(0, state, live, Monitor(pack, state), Collected(pack.method.schedule(pack.steps)))

    def resume(self, arrays: Arrays, pack: Pack) -> None:
        """Go on from a checkpoint's arrays."""
        plain, schedule, state = stored("", arrays), self.collected.schedule, self.state
        self.monitor.restore(from_named("best", state, arrays), stored("monitor/", arrays))
        like = over_replicas(pack, lambda method, problem, s: method.collect(s), state) if schedule else None
        done = sum(step < int(plain["step"]) for step in schedule)
        self.collected.kept = [from_named(f"draw{i}", like, arrays) for i in range(done)]
        self.live = torch.as_tensor(plain["live"]).to(self.live)
        self.step, self.earlier_s = int(plain["step"]), float(plain["spent"])
        self.state = from_named("state", state, arrays)

    def write(self, checkpoint: Checkpoint, spent_s: float) -> None:
        """Write it all."""
        trees = {"state": self.state, "best": self.monitor.best}
        trees |= {f"draw{i}": draw for i, draw in enumerate(self.collected.kept)}
        arrays = {"step": np.array(self.step), "live": self.live.cpu().numpy()}
        arrays["spent"] = np.array(self.earlier_s + spent_s)
        checkpoint.write(trees, arrays | {f"monitor/{k}": v for k, v in self.monitor.arrays().items()})


def train(
    pack: Pack,
    compiled: bool,
    deadline: float | None = None,
    progress: Progress = lambda steps: None,
    checkpoint: Checkpoint | None = None,
    precision: str = FLOAT32,
) -> tuple[Fitted, History]:
    """Train a pack.

    Args:
        compiled: whether the step is compiled.
        deadline: `time.monotonic()` after which OutOfTime is raised.
        progress: told the number of finished steps at every validation check.
        checkpoint: what to go on from and to write every few minutes, at a check; None to do without.
        precision: of the products of updates.
    """
    began, run, steps = time.monotonic(), _begun(pack, checkpoint), pack.steps
    if run.step:
        progress(run.step)
    with random.compiled_kernels(compiled), torch.no_grad():
        step = program(pack, make_step(pack), _arguments(pack, run), compiled)
        for start, stop in pairwise([run.step, *(check for check in _checks(pack, run) if check > run.step)]):
            with computing_in(precision):
                _advance(run, pack, step, start, stop)
            run.monitor.check(stop, run.state, run.live)
            if pack.method.early_stopping and stop == run.monitor.selection_end:
                run.state = run.monitor.best
            progress(stop)
            if checkpoint is not None and (checkpoint.due() or (stop == steps and checkpoint.path.exists())):
                run.write(checkpoint, time.monotonic() - began)
            if deadline is not None and time.monotonic() > deadline:
                raise OutOfTime(f"stopped after {stop} of {steps} updates")
    return _finished(run, pack), _history(run, pack)


def _begun(pack: Pack, checkpoint: Checkpoint | None) -> _Run:
    """A training at its beginning, or where a checkpoint left it."""
    run = _Run.begin(pack)
    if checkpoint is None or (found := checkpoint.read()) is None:
        return run
    try:
        run.resume(found, pack)
    except KeyError as error:
        checkpoint.refuse(f"it lacks {error}")
        return _Run.begin(pack)
    return run


def _checks(pack: Pack, run: _Run) -> list[int]:
    """The steps after which the validation rows are scored."""
    every = max(1, pack.steps // pack.budget.validation_checks)
    return sorted({*range(every, pack.steps, every), run.monitor.selection_end, pack.steps} - {0})


def _advance(run: _Run, pack: Pack, step: Callable, start: int, stop: int) -> None:
    """The updates from one validation check to the next."""
    ts = torch.arange(start, stop, device=pack.keys.device)
    keys = random.fold_in(random.fold_in(pack.keys, TRAIN), ts[:, None]).contiguous().unbind(0)
    times = ts.to(pack.problem.t.dtype).unbind(0)
    for t, key, now in zip(range(start, stop), keys, times, strict=True):
        run.state, run.live, info = step(*_arguments(pack, run, key, now))
        run.monitor.add(info)
        run.collected.offer(t, pack, run.state)
    run.step = stop


def _arguments(pack: Pack, run: _Run, key: Tensor | None = None, t: Tensor | None = None) -> tuple:
    """The arguments of a step, by default with a key and a time that stand for any."""
    key, t = pack.keys if key is None else key, pack.problem.t if t is None else t
    return pack.floats, pack.problem.table, pack.problem.rows, run.state, run.live, key, t


def _finished(run: _Run, pack: Pack) -> Fitted:
    finished = over_replicas(
        pack,
        lambda method, problem, key, state: method.finish(key, state, problem),
        random.fold_in(pack.keys, FINISH),
        run.state,
    )
    finite = [torch.isfinite(leaf).reshape(len(pack.cells), -1).all(1) for leaf in tree_leaves(finished)]
    return Fitted(pack, finished, run.collected.stacked(), run.live & torch.stack(finite).all(0))


def _history(run: _Run, pack: Pack) -> History:
    monitor = run.monitor
    kept = monitor.best_step if pack.method.early_stopping and pack.steps else None
    gradients = pack.steps * pack.method.num_networks
    return History(
        pack.steps, monitor.diverged_at, kept, monitor.curves(), monitor.recordings(), gradients, run.earlier_s
    )
