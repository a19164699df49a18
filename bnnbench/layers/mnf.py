"""Multiplicative normalizing flow layers (Louizos & Welling 2017, arXiv 1703.01961): Gaussian weights whose means are
multiplied by random z, one of an input in linear layers, one of an output channel in convolutional ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.layers.keys import next_key
from bnnbench.layers.multiplier import Multiplier
from bnnbench.layers.noisy import Noisy, NoisyConv2d, NoisyLinear, replaced

Params = dict[str, Tensor]


class Multiplied(Noisy):
    """A noisy layer with multipliers, which it draws for every example.

    Given z, q is Gaussian with the layer's parameters times z as means. In a convolutional layer that includes the
    bias; in a linear one it does not.

    Attributes:
        multiplier: q(z) and r(z | W).
    """

    multiplier: Multiplier

    def spread(self, key: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The Gaussian noise of the outputs, whose variance z does not change."""
        variance = self.affine(input.square(), weight.square(), None if bias is None else bias.square())
        return (variance.clamp(min=0) + 1e-12).sqrt() * random.normal(key, variance.shape).to(variance)

    def rows(self, values: Params) -> tuple[Tensor, Tensor | None]:
        """Values of weight and bias with one row a multiplier [dim, rows], and those that none multiplies."""
        raise NotImplementedError

    def multiplied(self, z: Tensor, mean: Params) -> Params:
        """The means of weight and bias given multipliers z [dim]."""
        raise NotImplementedError


class MNFLinear(Multiplied, NoisyLinear):
    """x -> M (x o z) + mu_b + noise, z of every example [inputs]."""

    def noisy(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        key = next_key()
        z, _ = self.multiplier(random.fold_in(key, 1), input[..., 0].numel())
        out = self.affine(input * z.reshape(input.shape), self.weight, self.bias)
        return out + self.spread(random.fold_in(key, 2), input, weight, bias)

    def rows(self, values: Params) -> tuple[Tensor, Tensor | None]:
        return values["weight"].mT, values.get("bias")

    def multiplied(self, z: Tensor, mean: Params) -> Params:
        return mean | {"weight": mean["weight"] * z}


class MNFConv2d(Multiplied, NoisyConv2d):
    """x -> (M * x + mu_b) o z + noise, z of every example [output channels]."""

    def noisy(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        key = next_key()
        z, _ = self.multiplier(random.fold_in(key, 1), input.shape[0])
        out = self.affine(input, self.weight, self.bias) * z[..., None, None]
        return out + self.spread(random.fold_in(key, 2), input, weight, bias)

    def rows(self, values: Params) -> tuple[Tensor, Tensor | None]:
        flat = [value.flatten(1) if value.dim() == 4 else value[:, None] for value in values.values()]
        return torch.cat(flat, 1), None

    def multiplied(self, z: Tensor, mean: Params) -> Params:
        return {name: value * z.reshape(-1, *[1] * (value.dim() - 1)) for name, value in mean.items()}


def with_multipliers(network: nn.Module, flow: str = "masked", layers: int = 2, variance: float = 0.1) -> nn.Module:
    """A copy of a plain network with multiplied layers; parameters keep their names.

    Args:
        flow, layers, variance: of the multipliers, see `Multiplier`.
    """
    converted = replaced(network, {nn.Linear: MNFLinear, nn.Conv2d: MNFConv2d})
    for i, layer in enumerate(multiplied_layers(converted)):
        convolutional = isinstance(layer, nn.Conv2d)
        dim = layer.weight.shape[0 if convolutional else 1]
        multiplier = Multiplier(dim, flow, layers, variance, bent=not convolutional, seed=1000 * i)
        layer.multiplier = multiplier.to(layer.weight)
    return converted


def multiplied_layers(network: nn.Module) -> list[Multiplied]:
    """The layers with multipliers, in the order of the network."""
    return [layer for layer in network.modules() if isinstance(layer, Multiplied)]


def is_multipliers(name: str) -> bool:
    """Whether a parameter's name is one of a multiplier's and not of the plain network."""
    return "multiplier." in name


class Bound(nn.Module):
    """What is computed from a multiplied network beside its outputs, as a module, for `torch.func.functional_call`:
    `kl` and `weights`, by the name given first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, name: str, *arguments: Any) -> Any:
        return getattr(self, name)(*arguments)

    def kl(self, key: Tensor, mean: Params, sigma: Params, scale: Params) -> Tensor:
        """A one-draw estimate of the bound on KL(q || p), 0-dim.

        Args:
            mean, sigma, scale: of q and of the prior N(0, scale^2), in the shapes and by the names of the plain
                network's parameters.
        """
        terms = []
        for i, layer, *(m, s, p) in self._layers(mean, sigma, scale):
            rows, rest = zip(*(layer.rows(values) for values in (m, s, p)), strict=True)
            terms.append(layer.multiplier.kl(random.fold_in(key, i), *rows))
            if rest[0] is not None:
                m, s, p = rest
                terms.append((p.log() - s.log() + (s**2 + m**2) / (2 * p**2) - 0.5).sum())
        return torch.stack(terms).sum()

    def weights(self, key: Tensor, mean: Params, sigma: Params) -> Params:
        """One draw of the plain network's parameters: z of each layer, then the Gaussian around z o M."""
        found: Params = {}
        for i, layer, m, s in self._layers(mean, sigma):
            own = random.fold_in(key, i)
            z, _ = layer.multiplier(random.fold_in(own, 1), 1)
            for j, (name, value) in enumerate(layer.multiplied(z[0], m).items()):
                eps = random.normal(random.fold_in(own, 2 + j), value.shape).to(value)
                found[layer.named(name)] = value + s[name] * eps
        return found

    def _layers(self, *values: Params) -> Iterator[tuple]:
        """Place, layer and its own part of each of the values, by the names in the layer."""
        for i, layer in enumerate(multiplied_layers(self.network)):
            names = [name for name in ("weight", "bias") if layer.named(name) in values[0]]
            yield i, layer, *({name: value[layer.named(name)] for name in names} for value in values)
