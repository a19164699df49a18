"""Scores over blocks of test points, by which a report compares methods that have but one split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from bnnbench import random
from bnnbench.metrics import METRICS, score
from bnnbench.model.predictive import Predictive, each
from bnnbench.model.truth import Truth, mapped
from bnnbench.records import Score, Series
from bnnbench.tasks import Task

BLOCKS = 50  # enough to tell methods apart, and a kilobyte a metric


class Place(Protocol):
    """Where predictions belong to: a task, a split rule, and the root of the task's data."""

    @property
    def task(self) -> Task: ...
    @property
    def rule(self) -> str: ...
    @property
    def root(self) -> Path | None: ...


def block_scores(
    place: Place,
    predictive: Predictive,
    y: Tensor | None,
    truth: Truth | None,
    scores: Sequence[Score],
) -> Series:
    """Means over the same random blocks of test points for all methods and seeds, by metric.

    Only metrics that are a mean over points have them, which shows in that the blocks' mean, weighted by size, is the
    score: of a root or of bins it is not. Nothing for tasks of several splits, whose splits are compared instead.
    """
    if len(place.task.splits(place.rule, place.root)) > 1:
        return {}
    n = predictive[0].shape[1]
    order = random.permutation(random.key_of("blocks", place.task.name, place.rule), n)
    rows = [order[first::BLOCKS] for first in range(min(BLOCKS, n))]
    wanted = {s.metric: s.value for s in scores if METRICS.get(s.metric).better and math.isfinite(s.value)}
    if not wanted:
        return {}
    found: dict[str, list[float]] = {name: [] for name in wanted}
    for own in rows:
        part = each(lambda values, own=own: values[:, own], predictive)
        known = None if truth is None else mapped(lambda values, own=own: values[own], truth)
        key = random.key_of("blocks", place.task.name)
        for s in score(part, None if y is None else y[own], key, place.task.kind, known, only=list(wanted)):
            found[s.metric].append(s.value)
    sizes = torch.tensor([len(own) for own in rows], dtype=torch.float64)
    return {name: values for name, values in found.items() if _is_mean(values, sizes, wanted[name])}


def _is_mean(values: list[float], sizes: Tensor, score: float) -> bool:
    if len(values) != len(sizes):
        return False
    mean = float((torch.tensor(values, dtype=torch.float64) * sizes).sum() / sizes.sum())
    return math.isclose(mean, score, rel_tol=1e-9, abs_tol=1e-12)
