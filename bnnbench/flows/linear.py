"""Affine bijections: constant scales, data-dependent ones (ActNorm), invertible matrices (Glow's 1x1), reversal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.flows.bijection import Bijection
from bnnbench.nets import Params


class Constant(Bijection):
    """y = x exp(s) + t with free vectors s and t, 0 at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.log_scale, self.shift = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return x * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return (y - self.shift) * (-self.log_scale).exp(), (-self.log_scale.sum()).expand(y.shape[:-1])


class ActNorm(Constant):
    """A constant affine map that starts, by `fit_start(x)`, where the images of x have mean 0 and standard deviation 1
    (Kingma & Dhariwal 2018, arXiv 1807.03039).
    """

    def fitted(self, x: Tensor, context: Tensor | None = None) -> Params:
        del context
        mean = x.mean(0)
        scale = (x - mean).square().mean(0).sqrt()
        rounding = 10 * torch.finfo(x.dtype).eps * x.abs().amax(0)
        scale = torch.where(scale > rounding, scale, 1.0)  # a column without variance is only shifted
        return {"log_scale": -scale.log(), "shift": -mean / scale}


class InvertibleLinear(Bijection):
    """y = P L (U + diag(sign exp(s))) x, with L unit lower and U strictly upper triangular: Glow's 1x1 convolution
    (Kingma & Dhariwal 2018, arXiv 1807.03039), which starts at a random rotation.

    The permutation P and the signs are fixed; log det = sum s.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__(dim)
        rotation, _ = torch.linalg.qr(random.normal(random.key(seed), (dim, dim), torch.float64))
        permutation, lower, upper = torch.linalg.lu(rotation)
        real = torch.get_default_dtype()
        self.register_buffer("permutation", permutation.to(real))
        self.register_buffer("sign", upper.diagonal().sign().to(real))
        self.lower, self.upper = nn.Parameter(lower.tril(-1).to(real)), nn.Parameter(upper.triu(1).to(real))
        self.log_scale = nn.Parameter(upper.diagonal().abs().log().to(real))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        lower, upper = self._factors()
        # few rows cost less one factor after the other, many by the product of all: the cheapest order is found
        y = torch.linalg.multi_dot([x.reshape(-1, self.dim), upper.mT, lower.mT, self.permutation.mT])
        return y.reshape(x.shape), self.log_scale.sum().expand(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        lower, upper = self._factors()
        # rows are vectors: x^T = y^T P L^-T U^-T
        half = torch.linalg.solve_triangular(lower.mT, y[..., None, :] @ self.permutation, upper=True, left=False,
                                             unitriangular=True)  # fmt: skip
        x = torch.linalg.solve_triangular(upper.mT, half, upper=False, left=False)
        return x[..., 0, :], (-self.log_scale.sum()).expand(y.shape[:-1])

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(self.dim, dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())


class Reverse(Bijection):
    """The dimensions in reverse order."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return x.flip(-1), x.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(y, context)
