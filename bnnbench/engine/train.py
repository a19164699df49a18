"""Training of a pack, from its initial states to its posteriors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from bnnbench import random
from bnnbench.engine.checkpoint import Checkpoint, stored
from bnnbench.engine.compile import compiled_step
from bnnbench.engine.pack import Pack
from bnnbench.engine.step import FINISH, TRAIN, State, initial_state, make_step, over_replicas
from bnnbench.engine.trees import Arrays, from_named
from bnnbench.engine.validation import Draws, Monitor

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
        step_kept: step whose state early stopping kept, [R], or of each network, [R, networks]; None without.
        curves: `step` [C], and [R, C] arrays `loss`, `validation` and whatever else `update` reported.
        recording: `step` [C], and [R, C] statistics of weights and activations, where they are recorded.
        earlier_s: seconds spent before the checkpoint that training went on from.
        tested: predictives on the test set, once they are computed.
        drawn: the predictive by its number of samples, as functions of the inputs, once it is drawn.
        signs: of the attacker's gradient at unchanged images, by shape and samples, once they are computed.
    """

    pack: Pack
    state: State
    draws: Any
    live: Tensor
    steps: int
    diverged_at: np.ndarray
    step_kept: np.ndarray | None
    curves: dict[str, np.ndarray]
    recording: dict[str, np.ndarray] = field(default_factory=dict)
    earlier_s: float = 0.0
    tested: Any = None
    drawn: dict[int, Any] = field(default_factory=dict, init=False)
    signs: dict[Any, Tensor] = field(default_factory=dict, init=False)


def train(
    pack: Pack,
    compiled: bool,
    deadline: float | None = None,
    progress: Progress = lambda steps: None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train a pack.

    Args:
        compiled: whether the step goes through torch.compile.
        deadline: `time.monotonic()` after which OutOfTime is raised.
        progress: told the number of finished steps at every look at the validation rows.
        checkpoint: what to go on from and to write every few minutes, at a look; None to do without.
    """
    began = time.monotonic()
    state, replicas, steps = initial_state(pack), len(pack.cells), pack.cells[0].steps
    budget, device = pack.cells[0].budget, pack.keys.device
    live = torch.ones(replicas, dtype=torch.bool, device=device)
    monitor = Monitor(pack, state)
    draws = Draws(pack.method.schedule(steps))
    step = compiled_step(pack, make_step(pack), state) if compiled else make_step(pack)
    every = max(1, steps // budget.validation_checks)
    train_key = random.fold_in(pack.keys, TRAIN)
    looks = sorted({*range(every, steps, every), monitor.optimising, steps} - {0})
    first, earlier = 0, 0.0
    if checkpoint is not None and (found := checkpoint.read()) is not None:
        try:
            first, earlier, state, live = resume(found, pack, state, live, monitor, draws)
        except KeyError as error:
            checkpoint.refuse(f"it lacks {error}")
            monitor, draws = Monitor(pack, state), Draws(pack.method.schedule(steps))
        progress(first)
    with random.compiled_kernels(compiled), torch.no_grad():
        for start, stop in pairwise([first, *(look for look in looks if look > first)]):
            ts = torch.arange(start, stop, device=device)
            keys = random.fold_in(train_key, ts[:, None]).unbind(0)
            times = ts.to(pack.problem.t.dtype).unbind(0)
            for t, key, time_ in zip(range(start, stop), keys, times, strict=True):
                state, live, info = step(pack.floats, pack.problem.table, pack.problem.rows, state, live, key, time_)
                monitor.add(info)
                draws.offer(t, pack, state)
            monitor.look(stop, state, live)
            if pack.method.early_stopping and stop == monitor.optimising:
                state = monitor.best
            progress(stop)
            if checkpoint is not None and (checkpoint.due() or (stop == steps and checkpoint.path.exists())):
                trees = {"state": state, "best": monitor.best} | {f"draw{i}": d for i, d in enumerate(draws.kept)}
                spent = np.array(earlier + time.monotonic() - began)
                arrays = {"step": np.array(stop), "live": live.cpu().numpy(), "spent": spent}
                checkpoint.write(trees, arrays | {f"monitor/{k}": v for k, v in monitor.arrays().items()})
            if deadline is not None and time.monotonic() > deadline:
                raise OutOfTime(f"stopped after {stop} of {steps} updates")
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
        monitor.recordings(),
        earlier,
    )


def resume(
    arrays: Arrays, pack: Pack, state: State, live: Tensor, monitor: Monitor, draws: Draws
) -> tuple[int, float, State, Tensor]:
    """Step, seconds spent before, state and live replicas of a checkpoint; the monitor and the draws are filled."""
    plain = stored("", arrays)
    monitor.restore(from_named("best", state, arrays), stored("monitor/", arrays))
    like = over_replicas(pack, lambda method, problem, state: method.collect(state), state) if draws.schedule else None
    done = sum(step < int(plain["step"]) for step in draws.schedule)
    draws.kept = [from_named(f"draw{i}", like, arrays) for i in range(done)]
    live = torch.as_tensor(plain["live"]).to(live)
    return int(plain["step"]), float(plain["spent"]), from_named("state", state, arrays), live
