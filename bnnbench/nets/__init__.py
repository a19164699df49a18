"""Plain networks (ordinary `nn.Module`s) and their keyed initialisation."""

from bnnbench.nets.initialise import fan_in, initialise
from bnnbench.nets.mlp import MLP

__all__ = ["MLP", "fan_in", "initialise"]
