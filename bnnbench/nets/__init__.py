"""Plain networks (ordinary `nn.Module`s) and their keyed initialisation."""

from bnnbench.nets.alexnet import AlexNet
from bnnbench.nets.conv3fc3 import Conv3FC3
from bnnbench.nets.initialise import Params, fan_in, initialise
from bnnbench.nets.lenet import LeNet
from bnnbench.nets.mlp import MLP
from bnnbench.nets.small_conv import SmallConv

__all__ = ["MLP", "AlexNet", "Conv3FC3", "LeNet", "Params", "SmallConv", "fan_in", "initialise"]
