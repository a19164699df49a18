"""Predictions of a pack: chunks of samples, each drawn once, over chunks of rows.

How a prediction is cut never changes a number: a sample's noise belongs to the sample. Small networks are predicted
with all samples at once, large ones with a few at a time, so that memory does not grow with samples or rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bnnbench.engine.pack import Replicas
from bnnbench.engine.size import activations, is_large, parameters
from bnnbench.engine.step import over_replicas
from bnnbench.model import CategoricalPredictive, Params, Predictive
from bnnbench.model.posteriors import Posterior
from bnnbench.model.predictive import each
from bnnbench.random import Span

CHUNK_NUMBERS = 2**24  # activations alive at once per layer
CHUNK_WEIGHTS = 2**24  # numbers in the weight samples drawn at once
CACHED_WEIGHTS, CACHED_NUMBERS = 2**22, 3 * 2**20  # both for large networks, which should not leave a CPU's caches

Component = Callable[[Tensor], Predictive]  # inputs [R, N, ...] in original units -> some components [R, S, N ...]


def posterior_of(pack: Replicas, state: Any, draws: Any) -> Posterior:
    """The posteriors of all replicas, every tensor with a leading replica dimension."""
    return over_replicas(
        pack, lambda method, problem, state, draws: method.posterior(state, draws, problem), state, draws
    )


def one_of(posterior: Posterior, replica: int) -> Posterior:
    """The posterior of one replica."""
    return tree_map(lambda leaf: leaf[replica], posterior)


def components(
    pack: Replicas, posterior: Posterior, key: Tensor, samples: int, masks: Params | None = None
) -> Iterator[Component]:
    """The predictive of all replicas, a few of its components at a time, as functions of the inputs; differentiable.

    Args:
        key: of the noise, [R, 2]. samples: what the budget grants.
        masks: factors [R, ...] of the weights, for pruning.
    """
    for span in _spans(pack, posterior, samples):
        sample = over_replicas(
            pack,
            lambda method, problem, key, posterior, span=span: posterior.sample(key, problem, span),
            key, posterior,
        )  # fmt: skip
        for name, mask in (masks or {}).items():
            sample[name] = sample[name] * mask[:, None]
        yield lambda x, sample=sample: over_replicas(
            pack,
            lambda method, problem, sample, posterior, x: filled(posterior.predict(sample, problem, x)),
            sample, posterior, x,
        )  # fmt: skip


def _spans(pack: Replicas, posterior: Posterior, samples: int) -> list[Span]:
    """Which samples to draw, one part after the other."""
    total = one_of(posterior, 0).size(samples)
    cached = is_large(pack.problem.network) and not posterior.shares_pass
    numbers = min(CHUNK_WEIGHTS, CACHED_WEIGHTS) if cached else CHUNK_WEIGHTS
    together = max(1, numbers // (parameters(pack.problem.network) * len(pack.cells)))
    return [Span(start, min(start + together, total), total) for start in range(0, total, together)]


def rows_at_once(pack: Replicas, posterior: Posterior, samples: int) -> int:
    """Rows whose activations fit into a chunk, for so many samples of each replica."""
    shape = pack.problem.table.x.shape[1:]
    widest = max([*activations(pack.task, pack.rule, tuple(shape), pack.problem.likelihood.outputs), 1])
    together = len(_spans(pack, posterior, samples)[0])
    cached = is_large(pack.problem.network) and pack.problem.table.x.device.type == "cpu"
    numbers = min(CHUNK_NUMBERS, CACHED_NUMBERS) if cached else CHUNK_NUMBERS
    return max(1, numbers // (len(pack.cells) * together * widest))


def row_chunks(x: Tensor, rows: int) -> tuple[Tensor, ...]:
    """x [R, N, ...] in equal parts of at most so many of the N rows."""
    return x.chunk(max(1, -(-x.shape[1] // rows)), 1)


def filled(predictive: Predictive) -> Predictive:
    """A predictive whose every part is a tensor, as vmap asks: log-probabilities without logits are their own."""
    if isinstance(predictive, CategoricalPredictive) and predictive.log_normaliser is None:
        return predictive._replace(log_normaliser=torch.zeros_like(predictive.log_probs[..., 0]))
    return predictive


def whole(pieces: list[Predictive], dim: int) -> Predictive:
    """Chunks of a predictive put together: of samples along dimension 1, of rows along dimension 2."""
    return each(lambda *parts: torch.cat(parts, dim), *pieces)


def predict(pack: Replicas, posterior: Posterior, key: Tensor, x: Tensor, samples: int) -> Predictive:
    """All components [R, S, N ...] at inputs x [R, N, ...] in original units, without gradients."""
    return joined(components(pack, posterior, key, samples), x, rows_at_once(pack, posterior, samples))


def joined(some: Iterable[Component], x: Tensor, rows: int) -> Predictive:
    """All components at inputs x [R, N, ...] in original units, so many rows at a time, without gradients."""
    with torch.no_grad():
        return whole([whole([chunk(part) for part in row_chunks(x, rows)], 2) for chunk in some], 1)
