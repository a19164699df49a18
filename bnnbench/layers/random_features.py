r"""Random Fourier features in place of a network's last layer: a Gaussian process in its hidden units, in weight space.

    phi(h) = sqrt(2 / D) cos(V h + b),    V_ij ~ N(0, 1 / l^2),    b_i ~ U(0, 2 pi),    output = beta phi(h),

so that phi(h)^T phi(h') estimates the kernel exp(-|h - h'|^2 / (2 l^2)) without bias (Rahimi & Recht 2007, "Random
features for large-scale kernel machines"), and beta ~ N(0, a^2 I) is a Gaussian process of that kernel times a^2.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.nets import Params


class RandomFeatures(nn.Module):
    """h [B, in] -> phi(h) [B, D]; V and b are buffers, which a method draws and passes as it does parameters."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, inputs: int, features: int, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", like.new_zeros(features, inputs))
        self.register_buffer("phases", like.new_zeros(features))

    def forward(self, h: Tensor) -> Tensor:
        scale = math.sqrt(2 / self.phases.shape[0])
        return scale * torch.cos(F.linear(h, self.frequencies, self.phases))


class RandomFeatureLinear(nn.Module):
    """h [B, in] -> beta phi(h) [B, out], beta the parameter `weight` [out, D]."""

    def __init__(self, layer: nn.Linear, features: int) -> None:
        super().__init__()
        self.features = RandomFeatures(layer.in_features, features, layer.weight.detach())
        self.weight = nn.Parameter(layer.weight.detach().new_zeros(layer.out_features, features))

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(self.features(h), self.weight)

    def drawn(self, key: Tensor, length_scale: float | Tensor) -> Params:
        """A draw of V and b, by their names in the layer."""
        frequencies, phases = random.split(key).unbind(-2)
        V, b = self.features.frequencies, self.features.phases
        return {
            "features.frequencies": random.normal(frequencies, V.shape).to(V) / length_scale,
            "features.phases": 2 * math.pi * random.uniform(phases, b.shape).to(b),
        }

    def numbers_per_example(self) -> int:
        """Numbers for each example: its features."""
        return len(self.features.phases)

    def extra_repr(self) -> str:
        return f"outputs={self.weight.shape[0]}, features={len(self.features.phases)}"


def with_random_features(network: nn.Module, features: int) -> nn.Module:
    """A copy whose last layer is one on random features of its inputs.

    Raises:
        UserError: the last layer with parameters is no `nn.Linear`.
    """
    converted = copy.deepcopy(network)
    holders = [(path, m) for path, m in converted.named_modules() if any(True for _ in m.parameters(recurse=False))]
    path, layer = holders[-1]
    if type(layer) is not nn.Linear:
        raise UserError(
            f"The last layer {path!r} ({type(layer).__name__}) is no nn.Linear, which alone random features replace; "
            "take a network that ends in one."
        )
    if not path:
        return RandomFeatureLinear(layer, features)
    parent, _, name = path.rpartition(".")
    setattr(converted.get_submodule(parent), name, RandomFeatureLinear(layer, features))
    return converted
