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
from bnnbench.engine.predict import predict
from bnnbench.engine.recording import recorded
from bnnbench.engine.step import VALIDATE, State, over_replicas
from bnnbench.model.predictive import each

Look = dict[str, np.ndarray]  # what one look saw, of all replicas [R]


class Draws:
    """Collected posterior draws, written outside the compiled step: a write into a big buffer inside it costs more
    than the step."""

    def __init__(self, schedule: Iterable[int]) -> None:
        self.schedule, self.kept = set(schedule), []

    def offer(self, t: int, pack: Pack, state: State) -> None:
        if t in self.schedule:
            kept = over_replicas(pack, lambda method, problem, state: method.collect(state), state)
            self.kept.append(tree_map(torch.clone, kept))

    def stacked(self) -> Any:
        return tree_map(lambda *draws: torch.stack(draws, 1), *self.kept) if self.kept else None


class Monitor:
    """Training curves, and the state that was best on the validation rows.

    Several networks of a cell are judged one by one: in their mixture those that are right hide one that has exploded.

    Attributes:
        best: the state best so far; of several networks, each one's own.
        best_score, best_step: its mean log-likelihood and its step, [R], or [R, networks].
        optimising: updates of the phase in which a best state is looked for.
    """

    def __init__(self, pack: Pack, state: State) -> None:
        device, replicas, networks = pack.keys.device, len(pack.cells), pack.method.networks
        self.pack, self.best = pack, state
        judged = (replicas, networks) if pack.method.early_stopping and networks > 1 else (replicas,)
        if any(leaf.shape[: len(judged)] != judged for leaf in tree_leaves(state)):
            raise ValueError(
                f"{pack.method.name} has early stopping and {networks} networks: every tensor of its state must lead "
                f"with a dimension of {networks}, or early_stopping be False."
            )
        self.best_score = torch.full(judged, -torch.inf, dtype=torch.float64, device=device)
        self.best_step = np.zeros(judged, dtype=int)
        self.optimising = pack.method.optimising(pack.cells[0].steps)
        self.diverged_at = np.full(replicas, -1)
        self.infos: list[dict[str, Tensor]] = []
        self.steps: list[int] = []
        self.points: list[Look] = []
        self.recording: list[Look] = []
        index, self.mask = padded([split.validation for split in pack.splits], device)
        self.x, self.y = pack.problem.table.x[index], pack.problem.table.y[index]
        self.key = random.fold_in(pack.keys, VALIDATE)

    def add(self, info: dict[str, Tensor]) -> None:
        self.infos.append(info)

    def look(self, step: int, state: State, live: Tensor) -> None:
        """Score the state on the validation rows and keep it if it is the best so far, while it is optimised."""
        validation_samples = self.pack.cells[0].budget.validation_samples
        predictive = predict(self.pack, state, None, self.key, self.x, validation_samples)
        score = self._score(predictive)
        if step <= self.optimising:
            self._keep(step, state, live, score if self.best_score.dim() == 1 else self._scores(predictive))
        losses = torch.stack([info["loss"] for info in self.infos])
        finite = torch.isfinite(losses).cpu().numpy()
        for replica in np.flatnonzero((self.diverged_at < 0) & ~finite.all(0)):
            self.diverged_at[replica] = step - len(losses) + int(np.argmin(finite[:, replica]))
        means = {name: torch.stack([info[name] for info in self.infos]).mean(0) for name in self.infos[0]}
        self.steps.append(step)
        self.points.append({k: v.cpu().numpy() for k, v in [*means.items(), ("validation", score)]})
        self.infos = []
        if is_recorded(self.pack):
            self.recording.append(recorded(self.pack, state, self.key, self.x))

    def _score(self, predictive: Any) -> Tensor:
        """Mean log-likelihood of the validation rows under each replica's mixture, [R]."""
        log_prob = vmap(type(predictive).log_prob)(predictive, self.y)
        return torch.where(self.mask, log_prob, 0.0).sum(1) / self.mask.sum(1)

    def _scores(self, predictive: Any) -> Tensor:
        """The same of each network on its own, [R, networks]."""
        networks = self.best_score.shape[1]
        parts = [each(lambda terms, m=m: terms.unflatten(1, (networks, -1))[:, m], predictive) for m in range(networks)]
        return torch.stack([self._score(part) for part in parts], 1)

    def _keep(self, step: int, state: State, live: Tensor, score: Tensor) -> None:
        """Keep what is better than the best so far, by scores of the shape of `best_score`."""
        better = live.reshape(-1, *(1,) * (score.dim() - 1)) & (score > self.best_score)
        self.best_score = torch.where(better, score, self.best_score)
        self.best = where(better, state, self.best)
        self.best_step[better.cpu().numpy()] = step

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it but the best state, for a checkpoint taken after a look."""
        found = {"best_score": self.best_score.cpu().numpy(), "best_step": self.best_step}
        found |= {"diverged_at": self.diverged_at} | {f"curve/{k}": v for k, v in self.curves().items()}
        return found | {f"recording/{k}": v for k, v in self.recordings().items()}

    def restore(self, best: Any, arrays: dict[str, np.ndarray]) -> None:
        """Go on from `arrays`."""
        self.best, self.best_score = best, torch.as_tensor(arrays["best_score"]).to(self.best_score)
        self.best_step, self.diverged_at = arrays["best_step"].copy(), arrays["diverged_at"].copy()
        self.steps = arrays["curve/step"].tolist()
        self.points, self.recording = _looks("curve/", arrays), _looks("recording/", arrays)

    def curves(self) -> dict[str, np.ndarray]:
        """`step` [C], and what updates reported and the validation rows scored [R, C]."""
        return self._columns(self.points)

    def recordings(self) -> dict[str, np.ndarray]:
        """`step` [C], and statistics of weights and activations [R, C]; empty where nothing is recorded."""
        return self._columns(self.recording)

    def _columns(self, looks: list[Look]) -> dict[str, np.ndarray]:
        if not any(looks):
            return {}
        columns = {name: np.stack([look[name] for look in looks], 1) for name in looks[0]}
        return {"step": np.array(self.steps), **columns}


def _looks(prefix: str, arrays: dict[str, np.ndarray]) -> list[Look]:
    """The looks behind columns of this prefix."""
    columns = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    count = len(columns.pop("step", ()))
    return [{k: v[:, i] for k, v in columns.items()} for i in range(count)]


def is_recorded(pack: Pack) -> bool:
    """Whether layers are recorded: on images, whose few cells have large networks."""
    return pack.problem.table.x.dim() > 2


def where(condition: Tensor, new: Any, old: Any) -> Any:
    """Leafwise `condition ? new : old`, the condition running along the leading dimensions of every leaf."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.reshape(condition.shape + (1,) * (a.dim() - condition.dim())), a, b)

    return tree_map(choose, new, old)
