"""Stochastic layers, and the conversions of a plain network into one that holds them."""

from bnnbench.layers.bayesian import BayesianNetwork, convert
from bnnbench.layers.dropout import dropped, with_dropout
from bnnbench.layers.keys import keyed, next_key
from bnnbench.layers.variational import with_flipout, with_local_noise, with_sampled_weights

__all__ = [
    "BayesianNetwork",
    "convert",
    "dropped",
    "keyed",
    "next_key",
    "with_dropout",
    "with_flipout",
    "with_local_noise",
    "with_sampled_weights",
]
