r"""Linear layers under a factorised Gaussian q(w) = N(mu, sigma^2), noisy for every example: local reparametrisation
and flipout. The layer's own parameters are the means; the scales are the setting `sigma` of the `keyed` block, a
dictionary by parameter name. Where there are no scales the parameters are a weight sample, and the layer is plain.
"""

from __future__ import annotations

import copy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench import random
from bnnbench.layers.keys import next_key, setting


class _NoisyLinear(nn.Linear):
    """Knows its own place in the network, to find its scales."""

    path: str

    def forward(self, input: Tensor) -> Tensor:
        sigma = setting("sigma")
        if sigma is None:
            return super().forward(input)
        prefix = f"{self.path}." if self.path else ""
        return super().forward(input) + self.noise(input, sigma[f"{prefix}weight"], sigma.get(f"{prefix}bias"))

    def noise(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What is added to the outputs at the means, from scales of weight and bias; [rows, outputs]."""
        raise NotImplementedError


class LocalLinear(_NoisyLinear):
    """x -> N(x mu^T + b, x^2 (sigma^2)^T + sigma_b^2), drawn for every row and unit (Kingma et al. 2015).

    x has shape [rows, inputs]. The variance is raised by 1e-12 before its root, whose gradient at an input row of
    zeros were infinite else.
    """

    def noise(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        variance = F.linear(input.square(), weight.square(), None if bias is None else bias.square())
        return (variance + 1e-12).sqrt() * random.normal(next_key(), variance.shape).to(variance)


class FlipoutLinear(_NoisyLinear):
    """x -> x mu^T + b + ((x o s) (sigma eps)^T + sigma_b eps_b) o r, signs r, s drawn for every row (Wen et al. 2018).

    x has shape [rows, inputs]; eps is one draw for all rows.
    """

    def noise(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        key = next_key()
        eps = random.normal(key, (weight.shape[0], weight.shape[1] + 1)).to(weight)
        signs = random.bernoulli(key, 0.5, (input.shape[0], weight.shape[0] + weight.shape[1])).to(weight) * 2 - 1
        r, s = signs[:, : weight.shape[0]], signs[:, weight.shape[0] :]
        return F.linear(input * s, weight * eps[:, :-1], None if bias is None else bias * eps[:, -1]) * r


def _convert(network: nn.Module, kind: type[_NoisyLinear]) -> nn.Module:
    converted = copy.deepcopy(network)
    for path, layer in converted.named_modules():
        if type(layer) is nn.Linear:
            noisy: Any = layer
            noisy.__class__, noisy.path = kind, path
        elif any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"layer {path!r} ({type(layer).__name__}) has no version that draws for every example")
    return converted


def with_local_noise(network: nn.Module) -> nn.Module:
    """A copy whose linear layers draw their activations (local reparametrisation); parameters keep their names."""
    return _convert(network, LocalLinear)


def with_flipout(network: nn.Module) -> nn.Module:
    """A copy whose linear layers draw one perturbation of their weights with signs of every row's own."""
    return _convert(network, FlipoutLinear)
