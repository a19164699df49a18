"""What the noisy layers have in common: where they find their scales, their linear map, and how they get into a
network.

A noisy layer is an `nn.Linear` or `nn.Conv2d` whose own parameters are the means of q(w) = N(mu, sigma^2); the scales
are the setting `sigma` of the `keyed` block, a dictionary by parameter name. Where there are no scales the parameters
are a weight sample, and the layer is plain.

Of a network in half precision, scales, variances and divergences are in single: squares of inputs above 255 overflow
in float16, and those of scales below 2e-4 underflow.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.keys import next_key, scope, setting
from bnnbench.nets import Params, fan_in


def single(x: Tensor) -> Tensor:
    """x in single precision if it comes in half."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> AbstractContextManager:
    """A block whose matrix products keep their operands' precision, on the device of x."""
    device = x.device.type
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def gaussian_kl(mean: Tensor, sigma: Tensor, scale: Tensor) -> Tensor:
    """KL of N(mean, sigma^2) from N(0, scale^2) = log(scale / sigma) + (sigma^2 + mean^2) / (2 scale^2) - 1/2."""
    mean, sigma, scale = single(mean), single(sigma), single(scale)
    return scale.log() - sigma.log() + (sigma**2 + mean**2) / (2 * scale**2) - 0.5


def epsilon(key: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normals of the shapes of a weight [out, in, ...] and its bias [out]."""
    eps = random.normal(key, (weight.shape[0], fan_in(weight) + 1)).to(weight)
    return eps[:, :-1].reshape(weight.shape), eps[:, -1]


def _check_recomputed(path: str) -> None:
    """Pass a call that is no part of a backward pass, where the draws of the forward pass are gone."""
    if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0:
        raise UserError(
            f"The layer {path!r} is called in a backward pass, as by gradient checkpointing, where its draw is lost; "
            "leave out the checkpointing of layers that are Bayesian."
        )


OWN = ("weight", "bias")


class Noisy(nn.Module):
    """Knows its own place in the network, to find its scales.

    Whoever reads `weight` or `bias` where there are scales, as in `F.linear(x, self.encoder.weight)`, sees a draw of
    both, one in a `keyed` block; the means are `means()`, and what the parameters' names stand for everywhere else.

    Attributes:
        path: name of the layer in its network.
        places: trailing dimensions of input and output over which the weights are shared.
    """

    path: str
    places: ClassVar[int]

    @property
    def weight(self) -> Tensor:
        return self._read()["weight"]

    @property
    def bias(self) -> Tensor | None:
        return self._read().get("bias")

    def _read(self) -> Params:
        sigma = setting("sigma")
        if sigma is None:
            return self.means()
        read = scope().read
        if self.path not in read:
            read[self.path] = self.draw(next_key(), self.means(), self.own(sigma))
        return read[self.path]

    def forward(self, input: Tensor) -> Tensor:
        mean, sigma = self.means(), setting("sigma")
        if sigma is None:
            _check_recomputed(self.path)
            return self.affine(input, mean["weight"], mean.get("bias"))
        return self.noisy(input, mean, self.own(sigma))

    def named(self, parameter: str) -> str:
        """The name in the network of one of the layer's own parameters."""
        return f"{self.path}.{parameter}" if self.path else parameter

    def noisy(self, input: Tensor, mean: Params, sigma: Params) -> Tensor:
        """A draw of the outputs, given means and scales of weight and bias by these names."""
        raise NotImplementedError

    def draw(self, key: Tensor, mean: Params, sigma: Params) -> Params:
        """A draw of weight and bias."""
        noise = epsilon(key, sigma["weight"])
        return {name: (mean[name] + sigma[name] * e).to(mean[name]) for name, e in zip(mean, noise, strict=False)}

    def spread(self, key: Tensor, input: Tensor, sigma: Params) -> Tensor:
        """The noise N(0, sigma^2 x^2 + sigma_b^2) of the outputs, drawn for every example and output.

        The variance is raised by 1e-12 before its root, whose gradient at an input of zeros were infinite else.
        """
        squares = {name: value.square() for name, value in sigma.items()}
        with without_autocast(input):
            variance = self.affine(single(input).square(), squares["weight"], squares.get("bias"))
        # No variance, no noise: a layer with sigma = 0 is its plain twin. (A convolution's algorithm may round below.)
        scale = torch.where(variance > 0, (variance.clamp(min=0) + 1e-12).sqrt(), 0.0)
        return scale * random.normal(key, variance.shape).to(variance)

    def means(self) -> Params:
        """The layer's own weight and bias, in this order, whichever was registered first."""
        own = ((name, self._parameters.get(name)) for name in OWN)
        return {name: value for name, value in own if value is not None}

    def own(self, values: Params) -> Params:
        """Of values by the network's parameter names those of the layer's weight and bias, under these names."""
        names = {name: self.named(name) for name in OWN}
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


def replaced(
    network: nn.Module, kinds: Mapping[type[nn.Module], type[Noisy]], only: Collection[str] | None = None
) -> nn.Module:
    """A copy of a plain network whose layers of these types are noisy ones, which share their parameters' names.

    Args:
        only: paths of those to replace; by default all, and there may be no others that hold parameters.

    Raises:
        UserError: parameters stand in a layer of another type, and there is no `only`.
    """
    converted = copy.deepcopy(network)
    for path, layer in converted.named_modules():
        if type(layer) in kinds and (only is None or path in only):
            noisy: Any = layer
            noisy.__class__, noisy.path = kinds[type(layer)], path
        elif only is None and any(True for _ in layer.parameters(recurse=False)):
            raise UserError(
                f"The layer {path!r} ({type(layer).__name__}) has no version that draws its weights; "
                "take a method that draws none, or a network that holds no others than nn.Linear and nn.Conv2d."
            )
    return converted
