"""Signal-to-noise pruning of a trained posterior (Blundell et al. 2015, arXiv 1505.05424, section 5.1)."""

from __future__ import annotations

from torch import nn

from bnnbench import names
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import Replicas
from bnnbench.engine.size import is_large
from bnnbench.engine.step import over_replicas
from bnnbench.methods import Method
from bnnbench.model import Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.parameters import flatten, unflatten
from bnnbench.model.posteriors import Posterior

FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 0.995)
SAMPLES = 10  # predictive samples of large networks
SCORED = ("log_likelihood", "rmse", "error")


def pruned_sets(cell: Cell, network: nn.Module) -> dict[str, float]:
    """Evaluation name -> fraction of the weights that is taken out for it, where the budget grants it.

    Large networks are pruned on a part of the test set, on which they are then scored whole, too.
    """
    if not (cell.method.prunable and cell.budget.pruning):
        return {}
    return {names.pruned(fraction): fraction for fraction in ((0.0,) if is_large(network) else ()) + FRACTIONS}


def ranks(pack: Replicas, posterior: Posterior) -> Params:
    """The place of every weight of every replica in the order of signal-to-noise ratios |mean| / sd, the smallest
    first; biases included, `log_noise` being no weight."""

    def one(method: Method, problem: Problem, posterior: Posterior) -> Params:
        moments = posterior.moments()
        if moments is None:
            raise TypeError(f"{method.name} is prunable, but its posterior {type(posterior).__name__} has no moments")
        return order(*moments)

    return over_replicas(pack, one, posterior)


def order(mean: Params, sd: Params) -> Params:
    """Places 0 ... P - 1 of the weights by |mean| / sd."""
    ratios = {name: mean[name].abs() / sd[name] for name in mean if name != LOG_NOISE}
    return unflatten(flatten(ratios).argsort(stable=True).argsort(), ratios)


def masks(ranks: Params, fraction: float) -> Params:
    """Which weights stay: all but the first floor(fraction * P) of ranks [R, ...], stacked over replicas."""
    replicas = len(next(iter(ranks.values())))
    first = int(fraction * (sum(rank.numel() for rank in ranks.values()) // replicas))
    return {name: rank >= first for name, rank in ranks.items()}
