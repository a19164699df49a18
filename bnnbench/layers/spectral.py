"""Spectral norms of linear and convolutional layers by power iteration, and weights scaled down to a bound on them.

The norm is that of the layer's linear map of a whole input, of an image in a convolution, and not that of its kernel as
a matrix (Gouk et al. 2018, arXiv 1804.04368): with A the map,

    u = A v / |A v|,    v' = A^T u,    sigma = |v'| <= |A|,    v <- v' / sigma,

which goes to the largest singular value |A| as it is repeated.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vjp

TINY = 1e-12  # keeps the direction of a map that is 0 finite


def linear_part(layer: nn.Module, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The map of a linear or convolutional layer under this weight, without its bias."""
    if isinstance(layer, nn.Conv2d):
        return lambda x: layer._conv_forward(x, weight, None)
    return lambda x: F.linear(x, weight)


def power_iteration(layer: nn.Module, weight: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """(sigma, v) after one more iteration from v, an input [1, ...] of norm 1; sigma is 0-dim."""
    output, pull = vjp(linear_part(layer, weight), v)  # pyright: ignore[reportAssignmentType]
    (back,) = pull(output / norm(output))
    sigma = norm(back)
    return sigma, back / sigma


def bounded(weight: Tensor, sigma: Tensor, bound: float | Tensor) -> Tensor:
    """c W / sigma where sigma exceeds the bound c, else W."""
    return weight * (bound / sigma).clamp(max=1.0)


def norm(x: Tensor) -> Tensor:
    """Euclidean norm over all numbers, 0-dim and above 0."""
    return torch.sqrt(x.square().sum() + TINY**2)
