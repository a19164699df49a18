"""What the noisy layers have in common: where they find their scales, their linear map, and how they get into a
network.

A noisy layer is an `nn.Linear` or `nn.Conv2d` whose own parameters are the means of q(w) = N(mu, sigma^2); the scales
are the setting `sigma` of the `keyed` block, a dictionary by parameter name. Where there are no scales the parameters
are a weight sample, and the layer is plain.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench.layers.keys import setting


class Noisy(nn.Module):
    """Knows its own place in the network, to find its scales.

    Attributes:
        path: name of the layer in its network.
        places: trailing dimensions of input and output over which the weights are shared.
    """

    path: str
    places: ClassVar[int]
    weight: Tensor
    bias: Tensor | None

    def forward(self, input: Tensor) -> Tensor:
        sigma = setting("sigma")
        if sigma is None:
            return self.affine(input, self.weight, self.bias)
        return self.noisy(input, sigma[self.named("weight")], sigma.get(self.named("bias")))

    def named(self, parameter: str) -> str:
        """The name in the network of one of the layer's own parameters."""
        return f"{self.path}.{parameter}" if self.path else parameter

    def noisy(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A draw of the outputs, given the scales of weight and bias."""
        raise NotImplementedError

    def affine(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer's map of its input under any weights, linear in input and in (weight, bias)."""
        raise NotImplementedError


class NoisyLinear(Noisy, nn.Linear):
    """[rows, inputs] -> [rows, outputs]; other leading dimensions than `rows` are rows as well."""

    places = 0

    def affine(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(input, weight, bias)


class NoisyConv2d(Noisy, nn.Conv2d):
    """[B, inputs, H, W] -> [B, outputs, H', W'], with any stride, padding, padding mode, dilation and groups."""

    places = 2

    def affine(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._conv_forward(input, weight, bias)


def replaced(network: nn.Module, kinds: Mapping[type[nn.Module], type[Noisy]]) -> nn.Module:
    """A copy of a plain network whose layers of these types are noisy ones, which share their parameters' names.

    Raises:
        TypeError: parameters stand in a layer of another type.
    """
    converted = copy.deepcopy(network)
    for path, layer in converted.named_modules():
        if type(layer) in kinds:
            noisy: Any = layer
            noisy.__class__, noisy.path = kinds[type(layer)], path
        elif any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"layer {path!r} ({type(layer).__name__}) has no version that draws its weights")
    return converted
