"""What is watched while a pack trains: curves, the state best on the validation rows, collected draws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from bnnbench import random
from bnnbench.engine.pack import Pack, padded
from bnnbench.engine.predict import posterior_of, predict
from bnnbench.engine.recording import recorded
from bnnbench.engine.step import VALIDATE, State, over_replicas
from bnnbench.methods.optimise import selection_end
from bnnbench.model.predictive import each

Row = dict[str, np.ndarray]  # of a curve: what one validation check found, of all replicas [R]


class Collected:
    """Posterior draws, written outside the compiled step: a write into a big buffer inside it costs more than the
    step."""

    def __init__(self, schedule: Iterable[int]) -> None:
        self.schedule, self.kept = set(schedule), []

    def offer(self, t: int, pack: Pack, state: State) -> None:
        """Keep the state after update t, if the schedule names it."""
        if t in self.schedule:
            kept = over_replicas(pack, lambda method, problem, state: method.collect(state), state)
            self.kept.append(tree_map(torch.clone, kept))

    def stacked(self) -> Any:
        """All draws [R, draws, ...], None without any."""
        return tree_map(lambda *draws: torch.stack(draws, 1), *self.kept) if self.kept else None


class Monitor:
    """Training curves, and the state that was best on the validation rows.

    Several networks of a cell are judged one by one: in their mixture those that are right hide one that has exploded.

    Attributes:
        best: the best state so far; of several networks, each one's own.
        best_score, best_step: its mean log-likelihood and its step, [R], or [R, networks].
        selection_end: updates after which nothing is selected any more.
        diverged_at: step at which a replica's loss was not finite, -1 where it is, [R].
    """

    def __init__(self, pack: Pack, state: State) -> None:
        device, replicas, networks = pack.keys.device, len(pack.cells), pack.method.num_networks
        self.pack, self.best = pack, state
        judged = (replicas, networks) if pack.method.early_stopping and networks > 1 else (replicas,)
        if any(leaf.shape[: len(judged)] != judged for leaf in tree_leaves(state)):
            raise ValueError(
                f"{pack.method.name} has early stopping and {networks} networks: every tensor of its state must lead "
                f"with a dimension of {networks}, or early_stopping be False."
            )
        self.best_score = torch.full(judged, -torch.inf, dtype=torch.float64, device=device)
        self.best_step = np.zeros(judged, dtype=int)
        self.selection_end = selection_end(pack.method.early_stopping_fraction, pack.steps)
        self.diverged_at = np.full(replicas, -1)
        self.infos: list[dict[str, Tensor]] = []
        self.steps: list[int] = []
        self.training: list[Row] = []
        self.recording: list[Row] = []
        held = [offset + split.validation for offset, split in zip(pack.offsets, pack.splits, strict=True)]
        index, self.mask = padded(held, device)
        self.x, self.y = pack.problem.table.x[index], pack.problem.table.y[index]
        self.key = random.fold_in(pack.keys, VALIDATE)

    def add(self, info: dict[str, Tensor]) -> None:
        """What an update reported."""
        self.infos.append(info)

    def check(self, step: int, state: State, live: Tensor) -> None:
        """Score the state on the validation rows, and keep it if it is the best so far and may be selected."""
        posterior = posterior_of(self.pack, state, None)
        predictive = predict(self.pack, posterior, self.key, self.x, self.pack.budget.validation_samples)
        score = self._score(predictive)
        if step <= self.selection_end:
            self._keep(step, state, live, score if self.best_score.dim() == 1 else self._scores(predictive))
        losses = torch.stack([info["loss"] for info in self.infos])
        finite = torch.isfinite(losses).cpu().numpy()
        for replica in np.flatnonzero((self.diverged_at < 0) & ~finite.all(0)):
            self.diverged_at[replica] = step - len(losses) + int(np.argmin(finite[:, replica]))
        means = {name: torch.stack([info[name] for info in self.infos]).mean(0) for name in self.infos[0]}
        self.steps.append(step)
        self.training.append({k: v.cpu().numpy() for k, v in [*means.items(), ("validation", score)]})
        self.infos = []
        if self.pack.task.record_layers:
            self.recording.append(recorded(self.pack, posterior, self.key, self.x))

    def _score(self, predictive: Any) -> Tensor:
        """Mean log-likelihood of the validation rows under each replica's mixture, [R]."""
        log_prob = vmap(type(predictive).log_prob)(predictive, self.y)
        return torch.where(self.mask, log_prob, 0.0).sum(1) / self.mask.sum(1)

    def _scores(self, predictive: Any) -> Tensor:
        """The same of each network on its own, [R, networks]."""
        networks = self.best_score.shape[1]
        parts = [each(lambda part, m=m: part.unflatten(1, (networks, -1))[:, m], predictive) for m in range(networks)]
        return torch.stack([self._score(part) for part in parts], 1)

    def _keep(self, step: int, state: State, live: Tensor, score: Tensor) -> None:
        """Keep what is better than the best so far, by scores of the shape of `best_score`."""
        better = live.reshape(-1, *(1,) * (score.dim() - 1)) & (score > self.best_score)
        self.best_score = torch.where(better, score, self.best_score)
        self.best = where(better, state, self.best)
        self.best_step[better.cpu().numpy()] = step

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it but the best state, for a checkpoint taken after a validation check."""
        found = {"best_score": self.best_score.cpu().numpy(), "best_step": self.best_step}
        found |= {"diverged_at": self.diverged_at} | {f"curve/{k}": v for k, v in self.curves().items()}
        return found | {f"recording/{k}": v for k, v in self.recordings().items()}

    def restore(self, best: Any, arrays: dict[str, np.ndarray]) -> None:
        """Go on from `arrays`."""
        self.best, self.best_score = best, torch.as_tensor(arrays["best_score"]).to(self.best_score)
        self.best_step, self.diverged_at = arrays["best_step"].copy(), arrays["diverged_at"].copy()
        self.steps = arrays["curve/step"].tolist()
        self.training, self.recording = _rows("curve/", arrays), _rows("recording/", arrays)

    def curves(self) -> dict[str, np.ndarray]:
        """`step` [C], and what updates reported and the validation rows scored [R, C]."""
        return self._columns(self.training)

    def recordings(self) -> dict[str, np.ndarray]:
        """`step` [C], and statistics of weights and activations [R, C]; empty where nothing is recorded."""
        return self._columns(self.recording)

    def _columns(self, rows: list[Row]) -> dict[str, np.ndarray]:
        if not any(rows):
            return {}
        return {"step": np.array(self.steps), **{name: np.stack([row[name] for row in rows], 1) for name in rows[0]}}


def _rows(prefix: str, arrays: dict[str, np.ndarray]) -> list[Row]:
    """The rows of a curve out of its columns, whose names begin with a prefix."""
    columns = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    count = len(columns.pop("step", ()))
    return [{k: v[:, i] for k, v in columns.items()} for i in range(count)]


def where(condition: Tensor, new: Any, old: Any) -> Any:
    """Leafwise `condition ? new : old`, the condition running along the leading dimensions of every leaf."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.reshape(condition.shape + (1,) * (a.dim() - condition.dim())), a, b)

    return tree_map(choose, new, old)
