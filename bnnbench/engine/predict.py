"""Predictions of a pack: chunks of weight samples, each drawn once, over chunks of rows.

How a prediction is cut never changes a number: a sample's noise belongs to the sample. Small networks are predicted
with all samples at once, large ones with a few at a time, so that memory does not grow with samples or rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from bnnbench.engine.pack import Replicas
from bnnbench.engine.size import activations, is_large, parameters
from bnnbench.engine.step import over_replicas
from bnnbench.methods import Method
from bnnbench.model import CategoricalPredictive, Params, Predictive
from bnnbench.model.predictive import each
from bnnbench.random import Span

CHUNK_NUMBERS = 2**24  # activations alive at once per layer
CHUNK_WEIGHTS = 2**24  # numbers in the weight samples drawn at once
CACHED_WEIGHTS, CACHED_NUMBERS = 2**22, 3 * 2**20  # both for large networks, which should not leave a CPU's caches

Terms = Callable[[Tensor], Predictive]  # inputs [R, N, ...] in original units -> terms [R, S, N ...]


def own_weights(method: Method) -> bool:
    """Whether a method's predictive is made of weight samples that can be drawn once and used on many rows."""
    return type(method).predict is Method.predict


def terms(
    pack: Replicas, state: Any, draws: Any, key: Tensor, samples: int, masks: Params | None = None
) -> Iterator[Terms]:
    """The predictive of all replicas, a few of its terms at a time, as functions of the inputs; differentiable.

    Args:
        key: of the noise, [R, 2]. samples: mixture terms, where the method can choose.
        masks: factors [R, ...] of the weights, for pruning; of methods that have weight samples.
    """
    spans = _spans(pack, state, draws, samples)
    state = over_replicas(pack, lambda method, problem, state, draws: method.prepared(state, draws), state, draws)
    for span in spans:
        if not own_weights(pack.method):
            yield lambda x, span=span: over_replicas(
                pack,
                lambda method, problem, key, state, draws, x, span=span: filled(
                    method.predict(key, state, draws, problem, x, span)
                ),
                key, state, draws, x,
            )  # fmt: skip
            continue
        weights = over_replicas(
            pack,
            lambda method, problem, key, state, draws, span=span: method.weights(key, state, draws, problem, span),
            key, state, draws,
        )  # fmt: skip
        if weights is None:
            raise NotImplementedError(f"{type(pack.method).__name__} must define predict() or weights()")
        for name, mask in (masks or {}).items():
            weights[name] = weights[name] * mask[:, None]
        yield lambda x, weights=weights: over_replicas(
            pack,
            lambda method, problem, weights, state, x: method.predict_given(weights, state, problem, x),
            weights, state, x,
        )  # fmt: skip


def _spans(pack: Replicas, state: Any, draws: Any, samples: int) -> list[int | Span]:
    """What to ask `weights` or `predict` for, one after the other."""
    collected = 0 if draws is None else tree_leaves(draws)[0].shape[1]
    total = pack.method.terms(state, collected, samples)
    plain = type(pack.method).predict_given is Method.predict_given  # linearised ones share a pass at the mean
    numbers = min(CHUNK_WEIGHTS, CACHED_WEIGHTS) if plain and is_large(pack.problem.network) else CHUNK_WEIGHTS
    together = max(1, numbers // (parameters(pack.problem.network) * len(pack.cells)))
    if total is None or total <= together:
        return [samples]
    return [Span(start, min(start + together, total), total) for start in range(0, total, together)]


def rows_at_once(pack: Replicas, state: Any, draws: Any, samples: int) -> int:
    """Rows whose activations fit into a chunk, for so many samples of each replica."""
    task, shape = pack.cells[0].task, pack.problem.table.x.shape[1:]
    widest = max([*activations(task, pack.cells[0].rule, tuple(shape), pack.problem.likelihood.outputs), 1])
    first = _spans(pack, state, draws, samples)[0]
    together = len(first) if isinstance(first, Span) else samples
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


def predict(
    pack: Replicas, state: Any, draws: Any, key: Tensor, x: Tensor, samples: int, masks: Params | None = None
) -> Predictive:
    """All terms [R, S, N ...] at inputs x [R, N, ...] in original units, without gradients."""
    return joined(terms(pack, state, draws, key, samples, masks), x, rows_at_once(pack, state, draws, samples))


def joined(some: Iterable[Terms], x: Tensor, rows: int) -> Predictive:
    """All terms at inputs x [R, N, ...] in original units, so many rows at a time, without gradients."""
    with torch.no_grad():
        return whole([whole([chunk(part) for part in row_chunks(x, rows)], 2) for chunk in some], 1)
