"""Signal-to-noise pruning of a trained posterior (Blundell et al. 2015, arXiv 1505.05424, section 5.1)."""

from __future__ import annotations

from typing import Any

from torch import nn

from bnnbench.engine.size import is_large
from bnnbench.methods import Method
from bnnbench.methods.parameters import flatten, unflatten
from bnnbench.model import Params
from bnnbench.model.likelihoods import LOG_NOISE

FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 0.995)
SAMPLES = 10  # predictive samples of large networks
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


def ranks(method: Method, state: Any, draws: Any) -> Params:
    """The place of every weight in the order of signal-to-noise ratios |mean| / sd, the smallest first; biases
    included, `log_noise` being no weight."""
    moments = method.moments(state, draws)
    assert moments is not None
    return order(*moments)


def order(mean: Params, sd: Params) -> Params:
    """Places 0 ... P - 1 of the weights by |mean| / sd."""
    ratios = {name: mean[name].abs() / sd[name] for name in mean if name != LOG_NOISE}
    return unflatten(flatten(ratios).argsort(stable=True).argsort(), ratios)


def masks(ranks: Params, share: float) -> Params:
    """Which weights stay: all but the first floor(share * P) of ranks [R, ...], stacked over replicas."""
    replicas = len(next(iter(ranks.values())))
    first = int(share * (sum(rank.numel() for rank in ranks.values()) // replicas))
    return {name: rank >= first for name, rank in ranks.items()}
