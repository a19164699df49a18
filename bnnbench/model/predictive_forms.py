"""Predictive distributions of a regression that are no mixture of Gaussians: histograms, quantiles, draws.

Methods that are trained here need none of them; predictions that were made elsewhere often come in one, and an
estimator may return one. What each can say, and so which metrics apply to it, stands in `bnnbench.metrics.abilities`.
In all fields the test points are along the second axis, as in the mixtures, so that code which selects rows needs to
know no kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SAME = 1e-6  # levels that are this near to each other are the same: 0.05 in float32 is another number


class BinnedPredictive(NamedTuple):
    """Mixture of S histograms per test point: within bin b the density (1/S) sum_s probs_snb / width_nb, 0 outside.

    Attributes:
        probs: probabilities of the bins, which sum to 1, shape [S, N, B].
        edges: edges of the bins of each point in ascending order, in the unit of y, shape [1, N, B + 1].
    """

    probs: Tensor
    edges: Tensor

    @classmethod
    def of(cls, edges: Tensor, probs: Tensor) -> BinnedPredictive:
        """From edges [B + 1] that all points share, or [N, B + 1], and probabilities [S, N, B]."""
        return cls(probs, edges.expand(1, probs.shape[1], -1))

    def mass(self) -> Tensor:
        """The mixture's probability of each bin, [N, B]."""
        return self.probs.mean(0)

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-density at y of shape [N]; [N], -inf outside the bins. An inner edge belongs to the bin above it."""
        edges, bins = self.edges[0], self.probs.shape[-1]
        place = torch.searchsorted(edges.contiguous(), y[:, None], right=True) - 1
        place = torch.where(y[:, None] == edges[:, -1:], bins - 1, place)
        inside = (place >= 0) & (place < bins)
        place = place.clamp(0, bins - 1)
        density = self.mass().gather(-1, place) / edges.diff().gather(-1, place)
        return torch.where(inside, density, 0.0).log()[:, 0]

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predictive mean, epistemic variance (of the histograms' means), aleatoric variance (mean of theirs); each
        [N]."""
        edges = self.edges[0]
        middle, width = (edges[:, 1:] + edges[:, :-1]) / 2, edges.diff()
        means = (self.probs * middle).sum(-1)
        variances = (self.probs * ((middle - means[..., None]) ** 2 + width**2 / 12)).sum(-1)
        return means.mean(0), means.var(0, correction=0), variances.mean(0)

    def summary(self) -> dict[str, Tensor]:
        """What a user asks of N points: `mean`, `epistemic_std`, `aleatoric_std`, `total_std`; each [N]."""
        mean, epistemic, aleatoric = self.moments()
        return {
            "mean": mean,
            "epistemic_std": epistemic.sqrt(),
            "aleatoric_std": aleatoric.sqrt(),
            "total_std": (epistemic + aleatoric).sqrt(),
        }


class QuantilePredictive(NamedTuple):
    """Quantiles at Q levels, and nothing between them: a density or a CRPS would be a guess.

    Attributes:
        quantiles: F(q) = level, ascending at each point, in the unit of y, shape [Q, N].
        levels: the levels, ascending in (0, 1), the same at all points, shape [Q, N].
        centre: the predictive mean, where it is known beside the quantiles, shape [1, N].
    """

    quantiles: Tensor
    levels: Tensor
    centre: Tensor | None = None

    @classmethod
    def of(cls, quantiles: Tensor, levels: Tensor, mean: Tensor | None = None) -> QuantilePredictive:
        """From quantiles [Q, N], levels [Q] and, where it is known, the mean [N]."""
        return cls(quantiles, levels[:, None].expand_as(quantiles), None if mean is None else mean[None])

    def at(self, levels: Sequence[float]) -> Tensor | None:
        """The quantiles at these L levels, [L, N]; None where one of them was not given."""
        wanted = torch.as_tensor(levels, dtype=torch.float64, device=self.levels.device)
        apart = (self.levels[:, 0].double() - wanted[:, None]).abs()
        nearest = apart.min(1)
        return self.quantiles[nearest.indices] if bool((nearest.values < SAME).all()) else None

    def summary(self) -> dict[str, Tensor]:
        """What a user asks of N points: quantiles as `quantile_0.05`, [N] each, and the `mean` where it is known."""
        found = {f"quantile_{float(level):.6g}": q for level, q in zip(self.levels[:, 0], self.quantiles, strict=True)}
        return found if self.centre is None else found | {"mean": self.centre[0]}


class SamplePredictive(NamedTuple):
    """S independent draws of y per test point; the distribution that they are drawn from is not known.

    Attributes:
        samples: draws of the target, its noise included, in the unit of y, shape [S, N], S at least 2.
    """

    samples: Tensor

    def at(self, levels: Sequence[float]) -> Tensor | None:
        """Estimates of the quantiles at these L levels, [L, N]: between the order statistics of places p (S + 1).

        With these (Weibull's, type 6 of Hyndman & Fan 1996, doi:10.2307/2684934) an interval holds the right share of
        targets that come from the same distribution as the draws, however few the draws are. None where a level lies
        beyond the outermost draws: 0.05 needs 19 of them.
        """
        count = len(self.samples)
        place = torch.as_tensor(levels, dtype=torch.float64, device=self.samples.device) * (count + 1)
        if bool((place < 1 - SAME).any() or (place > count + SAME).any()):
            return None
        place = (place - 1).clamp(0, count - 1)
        below = place.floor().long().clamp(max=count - 2)
        ordered = self.samples.sort(0).values
        return torch.lerp(ordered[below], ordered[below + 1], (place - below)[:, None].to(ordered.dtype))

    def summary(self) -> dict[str, Tensor]:
        """What a user asks of N points: `mean` and `total_std`; each [N]."""
        return {"mean": self.samples.mean(0), "total_std": self.samples.std(0)}
