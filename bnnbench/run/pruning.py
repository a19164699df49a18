"""Signal-to-noise pruning of a trained posterior (Blundell et al. 2015, arXiv 1505.05424, section 5.1)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bnnbench.methods import Method
from bnnbench.methods.parameters import flatten, unflatten
from bnnbench.model import Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE

FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 0.995)
SCORED = ("log_likelihood", "rmse", "error")


def evaluation_name(fraction: float) -> str:
    """`pruned-0.90`, `pruned-0.995`."""
    return f"pruned-{fraction:.3f}".removesuffix("0")


def prunable(method: Method) -> bool:
    """Whether a method's predictive is that of its weight samples, so that weights can be taken out of it."""
    own = type(method)
    return own.moments is not Method.moments and own.predict is Method.predict


def pruned(method: Method, key: Tensor, state: Any, draws: Any, problem: Problem, samples: int, share: float) -> Params:
    """Weight samples [S, ...] with the share of smallest signal-to-noise ratio |mean| / sd, biases included, at 0."""
    weights = method.weights(key, state, draws, problem, samples)
    moments = method.moments(state, draws)
    assert weights is not None
    assert moments is not None
    mask = keep(*moments, share)
    return {name: value * mask[name] if name in mask else value for name, value in weights.items()}


def keep(mean: Params, sd: Params, share: float) -> Params:
    """1 for the weights that stay, 0 for the floor(share * P) of smallest |mean| / sd; `log_noise` is no weight."""
    ratios = {name: mean[name].abs() / sd[name] for name in mean if name != LOG_NOISE}
    ratio = flatten(ratios)
    rank = ratio.argsort(stable=True).argsort()
    return unflatten((rank >= int(share * rank.shape[0])).to(ratio), ratios)
