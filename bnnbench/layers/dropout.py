"""Keyed dropout, and the conversion that puts it before every linear and convolutional layer but the first."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.layers.keys import next_key, scope


def dropout(x: Tensor) -> Tensor:
    """x -> x * m / (1 - rate), m ~ Bernoulli(1 - rate) (Srivastava et al. 2014), always active.

    `rate` and `shared` (one mask for all examples, hence one sample of the weights; else one mask per example) are
    settings of the `keyed` block, so that a rate may be a tensor and differ between replicas. x has shape
    [rows, units] or [B, channels, H, W]; every unit is dropped on its own.
    """
    settings = scope().settings
    keep = 1 - torch.as_tensor(settings["rate"], dtype=x.dtype, device=x.device)
    mask = random.bernoulli(next_key(), keep, x.shape[1:] if settings.get("shared", False) else x.shape)
    return x * mask / keep


class DropoutLinear(nn.Linear):
    """A linear layer with dropout on its inputs; a subclass, so that its parameters keep their names."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(dropout(input))


class DropoutConv2d(nn.Conv2d):
    """A convolutional layer with dropout on its inputs."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(dropout(input))


class KeyedDropout(nn.Dropout):
    """A network's own `nn.Dropout`, at its rate and in training mode only, drawn from the `keyed` block's key."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        mask = random.bernoulli(next_key(), 1 - self.p, input.shape).to(input)
        return input * mask / max(1 - self.p, 2**-24)  # at p = 1 all are dropped


_WITH_DROPOUT = {nn.Linear: DropoutLinear, nn.Conv2d: DropoutConv2d}


def with_dropout(network: nn.Module) -> nn.Module:
    """A copy of a plain network with dropout before every linear and convolutional layer but the first (Gal &
    Ghahramani 2016, arXiv 1506.02142; of convolutional networks 2015, arXiv 1506.02158). Both share parameter names,
    hence weights and initialisation.
    """
    converted = copy.deepcopy(network)
    for layer in [module for module in converted.modules() if type(module) in _WITH_DROPOUT][1:]:
        layer.__class__ = _WITH_DROPOUT[type(layer)]
    return converted


def dropped(network: nn.Module) -> frozenset[str]:
    """Names of the weights of a converted network whose inputs are dropped."""
    layers = tuple(_WITH_DROPOUT.values())
    return frozenset(f"{path}.weight" for path, layer in network.named_modules() if isinstance(layer, layers))
