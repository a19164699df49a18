"""Multiplicative normalizing flow layers (Louizos & Welling 2017, arXiv 1703.01961): Gaussian weights whose means are
multiplied by random z, one of an input in linear layers, one of an output channel in convolutional ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnnbench import random
from bnnbench.layers.keys import next_key, setting
from bnnbench.layers.multiplier import Multiplier
from bnnbench.layers.noisy import Noisy, NoisyConv2d, NoisyLinear, gaussian_kl, replaced
from bnnbench.nets import Params


class Multiplied(Noisy):
    """A noisy layer with multipliers, which it draws for every example.

    Given z, q is Gaussian with the layer's parameters times z as means. In a convolutional layer that includes the
    bias; in a linear one it does not.

    Where the `keyed` block has the settings `prior`, scales by parameter name, and `kl`, a dictionary, a layer's first
    call puts the estimate of its KL there, under its path. It takes z of the first example: the flow runs once a step.

    Attributes:
        multiplier: q(z) and r(z | W).
    """

    multiplier: Multiplier

    def noisy(self, input: Tensor, mean: Params, sigma: Params) -> Tensor:
        key_z, key_eps, key_w = random.split(next_key(), 3).unbind(-2)
        lead, told = input.shape[: -1 - self.places], setting("kl")
        count = math.prod(lead)
        z, log_q = self.multiplier(key_z, max(count, 1))  # the KL takes one of no examples, too
        if told is not None and self.path not in told:
            told[self.path] = self._kl(key_w, z[0], log_q[0], mean, sigma, self.own(setting("prior")))
        each = z[:count].reshape(*lead, self.multiplier.dim, *[1] * self.places).to(input)
        centre = self.moved(input, each, mean)
        return centre + self.spread(key_eps, input, sigma).to(centre)

    def draw(self, key: Tensor, mean: Params, sigma: Params) -> Params:
        key_z, key_w = random.split(key).unbind(-2)
        z, _ = self.multiplier(key_z, 1)
        return super().draw(key_w, self.multiplied(z[0].to(mean["weight"]), mean), sigma)

    def kl(self, mean: Params, sigma: Params, scale: Params) -> Tensor:
        """A one-draw estimate of the bound on KL(q || p), 0-dim."""
        key_z, key_w = random.split(next_key()).unbind(-2)
        z, log_q = self.multiplier(key_z, 1)
        return self._kl(key_w, z[0], log_q[0], mean, sigma, scale)

    def _kl(self, key: Tensor, z: Tensor, log_q: Tensor, *distributions: Params) -> Tensor:
        """The same at z [dim] with its log q [], of means, their scales, and those of the prior."""
        rows, rest = zip(*(self.rows(values) for values in distributions), strict=True)
        kl = self.multiplier.kl(key, z, log_q, *rows)
        return kl if rest[0] is None else kl + gaussian_kl(*rest).sum()

    def moved(self, input: Tensor, z: Tensor, mean: Params) -> Tensor:
        """The means of the outputs given z of every example, and those of weight and bias."""
        raise NotImplementedError

    def rows(self, values: Params) -> tuple[Tensor, Tensor | None]:
        """Values of weight and bias with one row a multiplier [dim, rows], and those that none multiplies."""
        raise NotImplementedError

    def multiplied(self, z: Tensor, mean: Params) -> Params:
        """The means of weight and bias given multipliers z [dim]."""
        raise NotImplementedError


class MNFLinear(Multiplied, NoisyLinear):
    """x -> M (x o z) + mu_b + noise, z of every example [inputs]."""

    def moved(self, input: Tensor, z: Tensor, mean: Params) -> Tensor:
        return self.affine(input * z, mean["weight"], mean.get("bias"))

    def rows(self, values: Params) -> tuple[Tensor, Tensor | None]:
        return values["weight"].mT, values.get("bias")

    def multiplied(self, z: Tensor, mean: Params) -> Params:
        return mean | {"weight": mean["weight"] * z}


class MNFConv2d(Multiplied, NoisyConv2d):
    """x -> (M * x + mu_b) o z + noise, z of every example [output channels]."""

    def moved(self, input: Tensor, z: Tensor, mean: Params) -> Tensor:
        return self.affine(input, mean["weight"], mean.get("bias")) * z

    def rows(self, values: Params) -> tuple[Tensor, Tensor | None]:
        return torch.cat([value.reshape(len(value), -1) for value in values.values()], 1), None

    def multiplied(self, z: Tensor, mean: Params) -> Params:
        return {name: value * z.reshape(-1, *[1] * (value.dim() - 1)) for name, value in mean.items()}


def with_multipliers(
    network: nn.Module,
    flow: str = "masked",
    layers: int = 2,
    variance: float = 0.1,
    seed: int = 0,
    only: Collection[str] | None = None,
) -> nn.Module:
    """A copy of a plain network with multiplied layers; parameters keep their names.

    Args:
        flow, layers, variance: of the multipliers, see `Multiplier`. seed: of their start. only: see `replaced`.

    Raises:
        UserError: one of them is not possible.
    """
    converted = replaced(network, {nn.Linear: MNFLinear, nn.Conv2d: MNFConv2d}, only)
    for i, layer in enumerate(multiplied_layers(converted)):
        convolutional = isinstance(layer, nn.Conv2d)
        dim = layer.weight.shape[0 if convolutional else 1]
        multiplier = Multiplier(dim, flow, layers, variance, bent=not convolutional, seed=(seed << 16) + i)
        layer.multiplier = multiplier.to(layer.weight)
    return converted


def without_multipliers(network: nn.Module) -> nn.Module:
    """A copy whose parameters are those of the plain network alone."""
    plain = copy.deepcopy(network)
    for layer in multiplied_layers(plain):
        del layer.multiplier
    return plain


def cut(network: nn.Module, vector: Tensor) -> Params:
    """The multipliers' parameters by the names of the network, out of one vector [P]."""
    shapes = {
        layer.named(f"multiplier.{name}"): shape
        for layer in multiplied_layers(network)
        for name, shape in layer.multiplier.shapes.items()
    }
    pieces = vector.split([shape.numel() for shape in shapes.values()])
    return {name: piece.reshape(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}


def multiplied_layers(network: nn.Module) -> list[Multiplied]:
    """The layers with multipliers, in the order of the network."""
    return [layer for layer in network.modules() if isinstance(layer, Multiplied)]


def draw_weights(network: nn.Module, multipliers: Params, key: Tensor, mean: Params, sigma: Params) -> Params:
    """One draw of the plain network's parameters: z of each layer, then the Gaussian around z o M.

    Args:
        multipliers: their parameters, by the names of the network.
        mean, sigma: of q given z = 1, by the names of the plain network.
    """
    found: Params = {}
    for i, layer in enumerate(multiplied_layers(network), 1):
        key_z, key_w = random.split(random.fold_in(key, i)).unbind(-2)
        prefix = layer.named("multiplier.")
        own = {name.removeprefix(prefix): v for name, v in multipliers.items() if name.startswith(prefix)}
        z, _ = functional_call(layer.multiplier, own, (key_z, 1))
        sampled = Noisy.draw(layer, key_w, layer.multiplied(z[0], layer.own(mean)), layer.own(sigma))
        found |= {layer.named(name): value for name, value in sampled.items()}
    return found
