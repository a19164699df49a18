"""Stochastic layers, and the conversion of plain networks into networks that hold them."""

from bnnbench.layers.dropout import with_dropout
from bnnbench.layers.keys import keyed, next_key

__all__ = ["keyed", "next_key", "with_dropout"]
