"""Who wins a column: the best of those that compete, and whoever the data cannot tell from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes two seconds to import

from bnnbench.reporting.separable import ALPHA, inseparable

SEEDS = 5  # fewer say too little of their spread to be compared by it


@dataclass(frozen=True)
class Competitor:
    """A method's scores on one data set, lower being better.

    Attributes:
        mean: over splits; the best has the lowest.
        per_split: one score a split, seeds averaged.
        seeds: on a single split, the score of each seed; else empty.
        error: on a single split, the standard error over its test points; and over its seeds, while these are few.
        blocks: on a single split, the means over its blocks of test points, the same for all methods; None: not stored.
    """

    mean: float
    per_split: np.ndarray
    seeds: Mapping[int, float]
    error: float
    blocks: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of blocks."""
        return 0 if self.blocks is None else len(self.blocks)


@dataclass(frozen=True)
class Winners:
    """Rows that win, and on a single split how the others were compared with the best: over blocks, or unpaired."""

    tied: frozenset[str] = frozenset()
    paired: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()


def winners(rows: Mapping[str, Competitor], ratio: float) -> Winners:
    """The best and those not separable from it, of rows with finite means; `ratio` is n_test / n_train of splits."""
    if not rows:
        return Winners()
    best = min(rows, key=lambda row: rows[row].mean)
    if len(rows[best].per_split) > 1:
        return Winners(_tied(rows, best, lambda c: c.per_split, ratio))
    return _on_one_split(rows, best)


def _on_one_split(rows: Mapping[str, Competitor], best: str) -> Winners:
    """A method loses only if both its test points and, where there are enough, its seeds tell it from the best."""
    size = rows[best].size
    alike = {row: c for row, c in rows.items() if size and c.size == size}
    apart = {row: c for row, c in rows.items() if row not in alike}
    tied = _tied(alike, best, lambda c: c.blocks, 0.0) if alike else frozenset([best])
    tied |= {row for row, c in apart.items() if _unpaired(c, rows[best], len(rows))}
    names = sorted(rows[best].seeds)
    if len(names) >= SEEDS:
        repeated = {row: c for row, c in rows.items() if sorted(c.seeds) == names}
        tied |= _tied(repeated, best, lambda c: np.array([c.seeds[seed] for seed in names]), 0.0)
    others = [row for row in rows if row != best]
    return Winners(tied, tuple(r for r in others if r in alike), tuple(r for r in others if r in apart))


def _tied(
    rows: Mapping[str, Competitor], best: str, scores: Callable[[Competitor], np.ndarray | None], ratio: float
) -> frozenset[str]:
    names = list(rows)
    kept = inseparable(np.array([scores(rows[name]) for name in names], dtype=float), names.index(best), ratio)
    return frozenset(name for name, keep in zip(names, kept, strict=True) if keep)


def _unpaired(row: Competitor, best: Competitor, m: int) -> bool:
    """Whether a difference of two means is within chance, as if their points were others; False if errors are unknown.

    Methods do well on the same points, so the error is too large and the test cautious. Bonferroni over all pairs of
    the m methods, because the best was chosen from the same data.
    """
    error = np.hypot(row.error, best.error)
    if not np.isfinite(error):
        return False
    if error == 0:
        return row.mean == best.mean
    return bool(2 * special.ndtr(-(row.mean - best.mean) / error) > ALPHA / max(1, m * (m - 1) / 2))
