r"""Priors over the weights of a network, factorised over weights.

Every prior is a distribution of the standardised weight u = w / s, where s = sqrt(2 / fan_in) for weight matrices and 1
for biases (`fan_in_scaled`, the default of all tasks). A network under it has outputs of order one whatever its width,
which is the scaling under which wide networks have a limit (Neal 1996; Matthews et al. 2018, arXiv 1804.11271). With
`fan_in_scaled=False`, s = 1 everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnbench.model.predictive import normal_log_density
from bnnbench.nets import Params


def weight_scale(value: Tensor) -> Tensor:
    """s = sqrt(2 / fan_in) of a weight matrix, 1 of a bias.

    The fan-in is counted as a tensor and not read off the shape: a compiled step then serves any width.
    """
    matrix = value.dim() >= 2
    ones = torch.ones(value.shape[1:] if matrix else (), dtype=value.dtype, device=value.device)
    return torch.sqrt(2 / ones.sum()) if matrix else ones


@dataclass(frozen=True)
class Prior(ABC):
    """p(w) = prod_i p(w_i / s_i) / s_i.

    Attributes:
        scale: scale of the distribution of u, a float or a 0-dim tensor (it may differ between the replicas of a pack).
        fan_in_scaled: whether s follows the fan-in of a weight matrix.
    """

    scale: float | Tensor = 1.0
    fan_in_scaled: bool = True

    @abstractmethod
    def log_density(self, value: Tensor, scale: Tensor) -> Tensor:
        """Elementwise log-density of a weight under the prior with this scale."""

    def scale_of(self, value: Tensor) -> Tensor:
        """`scale * s` for one parameter tensor, 0-dim."""
        unit = torch.ones((), dtype=value.dtype, device=value.device)
        return self.scale * (weight_scale(value) if self.fan_in_scaled else unit)

    def log_prob(self, params: Params) -> Tensor:
        """log p(w) summed over all weights, 0-dim; the parameters of a likelihood are none of its business."""
        densities = [self.log_density(value, self.scale_of(value)).sum() for value in params.values()]
        return torch.stack(densities).sum()


@dataclass(frozen=True)
class GaussianPrior(Prior):
    """u ~ N(0, scale^2)."""

    def log_density(self, value: Tensor, scale: Tensor) -> Tensor:
        return normal_log_density(value, torch.zeros_like(value), scale)


@dataclass(frozen=True)
class LaplacePrior(Prior):
    """u ~ Laplace(0, scale), density exp(-|u| / scale) / (2 scale)."""

    def log_density(self, value: Tensor, scale: Tensor) -> Tensor:
        return -value.abs() / scale - torch.log(2 * scale)


@dataclass(frozen=True)
class ScaleMixturePrior(Prior):
    """u ~ weight N(0, scale^2) + (1 - weight) N(0, (ratio scale)^2), mixed per weight, not per tensor.

    Blundell et al. 2015 (arXiv 1505.05424), equation 7.
    """

    weight: float | Tensor = 0.5
    ratio: float | Tensor = 0.1

    def log_density(self, value: Tensor, scale: Tensor) -> Tensor:
        zero = torch.zeros_like(value)
        weight = torch.as_tensor(self.weight, dtype=value.dtype, device=value.device)
        wide = weight.log() + normal_log_density(value, zero, scale)
        narrow = torch.log1p(-weight) + normal_log_density(value, zero, self.ratio * scale)
        return torch.logaddexp(wide, narrow)
