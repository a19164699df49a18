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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench import random
from bnnbench.layers.keys import setting
from bnnbench.nets import Params, fan_in


def gaussian_kl(mean: Tensor, sigma: Tensor, scale: Tensor) -> Tensor:
    """KL of N(mean, sigma^2) from N(0, scale^2) = log(scale / sigma) + (sigma^2 + mean^2) / (2 scale^2) - 1/2."""
    return scale.log() - sigma.log() + (sigma**2 + mean**2) / (2 * scale**2) - 0.5


def epsilon(key: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normals of the shapes of a weight [out, in, ...] and its bias [out]."""
    eps = random.normal(key, (weight.shape[0], fan_in(weight) + 1)).to(weight)
    return eps[:, :-1].reshape(weight.shape), eps[:, -1]


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

    def spread(self, key: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The noise N(0, sigma^2 x^2 + sigma_b^2) of the outputs, drawn for every example and output.

        The variance is raised by 1e-12 before its root, whose gradient at an input of zeros were infinite else.
        """
        variance = self.affine(input.square(), weight.square(), None if bias is None else bias.square())
        # No variance, no noise: a layer with sigma = 0 is its plain twin. (A convolution's algorithm may round below.)
        scale = torch.where(variance > 0, (variance.clamp(min=0) + 1e-12).sqrt(), 0.0)
        return scale * random.normal(key, variance.shape).to(variance)

    def means(self) -> Params:
        """The layer's own weight and bias."""
        return {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})

    def own(self, values: Params) -> Params:
        """Of values by the network's parameter names those of the layer's weight and bias, under these names."""
        names = {name: self.named(name) for name in ("weight", "bias")}
        return {name: values[place] for name, place in names.items() if place in values}

    def kl(self, mean: Params, sigma: Params, scale: Params) -> Tensor:
        """KL(q || p) of the layer's weight and bias from the prior N(0, scale^2), 0-dim, all by these names."""
        return torch.stack([gaussian_kl(mean[name], sigma[name], scale[name]).sum() for name in mean]).sum()

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
