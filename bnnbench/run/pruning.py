"""Signal-to-noise pruning of a trained posterior (Blundell et al. 2015, arXiv 1505.05424, section 5.1)."""

from __future__ import annotations

from typing import Any

from torch import nn

from bnnbench.methods import Method
from bnnbench.methods.parameters import flatten, unflatten
from bnnbench.model import Params
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.run.size import is_large

FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 0.995)
SCORED = ("log_likelihood", "rmse", "error")


def evaluation_name(fraction: float) -> str:
    """`pruned-0.90`, `pruned-0.995`."""
    return f"pruned-{fraction:.3f}".removesuffix("0")


def prunable(method: Method) -> bool:
    """Whether a method's predictive is that of its weight samples, so that weights can be taken out of it."""
    own = type(method)
    plain = own.predict is Method.predict and own.predict_given is Method.predict_given
    return plain and own.moments is not Method.moments


def pruned_sets(method: Method, network: nn.Module) -> dict[str, float]:
    """Evaluation name -> share of the weights that is taken out for it.

    Large networks are pruned on a part of the test set, on which they are then scored whole, too.
    """
    if not prunable(method):
        return {}
    return {evaluation_name(share): share for share in ((0.0,) if is_large(network) else ()) + FRACTIONS}


def masks(method: Method, state: Any, draws: Any, share: float) -> Params:
    """Factors of the weights: 0 for the share of smallest signal-to-noise ratio |mean| / sd, biases included."""
    moments = method.moments(state, draws)
    assert moments is not None
    return keep(*moments, share)


def keep(mean: Params, sd: Params, share: float) -> Params:
    """1 for the weights that stay, 0 for the floor(share * P) of smallest |mean| / sd; `log_noise` is no weight."""
    ratios = {name: mean[name].abs() / sd[name] for name in mean if name != LOG_NOISE}
    ratio = flatten(ratios)
    rank = ratio.argsort(stable=True).argsort()
    return unflatten((rank >= int(share * rank.shape[0])).to(ratio), ratios)
