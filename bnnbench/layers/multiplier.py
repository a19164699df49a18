r"""The random multipliers z of a layer's weights, q(z), and the auxiliary r(z | W) that makes a bound of their marginal
(Louizos & Welling 2017, arXiv 1703.01961).

Given z, the weights are factorised Gaussians, W_ir ~ N(z_i M_ir, s_ir^2), with one multiplier for each row i. Their
marginal over z has no density in closed form, but the bound

    KL(q(W) || p(W)) <= E_q(z) [KL(q(W | z) || p(W)) + log q(z) - E_q(W|z) log r(z | W)]

has. q(z): z_0 ~ N(m, diag(v)), then a flow. r(z | W): another flow leads z to N(b_1 a, diag exp(-b_2 a)), with
a = mean_r h(sum_i c_i W_ir).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.flows import Autoregressive, Bijection, Chain, Coupling, Gate, Planar, RationalQuadratic
from bnnbench.flows.flow import normal_log_prob
from bnnbench.layers.noisy import gaussian_kl, single, without_autocast
from bnnbench.nets import initialise
from bnnbench.registry import nearest

Maker = Callable[[int, int], Bijection]  # from dimension and number of layers


def _masked(dim: int, layers: int) -> Bijection:
    """Gated couplings of one tanh layer, whose halves take turns; a single dimension has none and is bent instead."""
    if dim == 1:
        return _planar(dim, layers)
    return Chain(Coupling(dim, Gate(), (50,), swap=bool(i % 2), activation="tanh") for i in range(layers))


def _planar(dim: int, layers: int) -> Bijection:
    return Chain(Planar(dim) for _ in range(layers))


def _iaf(dim: int, layers: int) -> Bijection:
    return Chain(Autoregressive(dim, hidden=(50,), reverse=bool(i % 2)) for i in range(layers))


def _spline(dim: int, layers: int) -> Bijection:
    if dim == 1:
        return Chain(Autoregressive(dim, RationalQuadratic(4), (50,)) for _ in range(layers))
    return Chain(Coupling(dim, RationalQuadratic(4), (50,), swap=bool(i % 2)) for i in range(layers))


FLOWS: dict[str, Maker] = {"masked": _masked, "planar": _planar, "iaf": _iaf, "spline": _spline}


class Multiplier(nn.Module):
    """q(z) and r(z | W) of one layer.

    Args:
        dim: number of multipliers.
        flow: kind of both flows, a key of FLOWS. layers: of each of them; 0 for none.
        variance: of z_0 at the start; 0 makes z a parameter, which has no density and needs no r.
        bent: whether h is tanh, as in linear layers, or the identity, as in convolutional ones.
        seed: of the start.

    Raises:
        UserError: there is no such flow, or layers or variance are negative.

    Attributes:
        shapes: of its parameters, also where `functional_call` is to bring them.
    """

    def __init__(
        self, dim: int, flow: str = "masked", layers: int = 2, variance: float = 0.1, bent: bool = True, seed: int = 0
    ) -> None:
        if flow not in FLOWS:
            raise UserError(f"There is no flow of multipliers {flow!r}{nearest(flow, FLOWS)}")
        if layers < 0 or not 0 <= variance < math.inf:
            raise UserError(f"Multipliers take 0 layers or more and a finite variance of 0 or more, not {layers} and "
                            f"{variance:g}.")  # fmt: skip
        super().__init__()
        self.dim, self.is_random, self.bent = dim, variance > 0, bent
        self.mean = nn.Parameter(torch.ones(dim))
        if self.is_random:
            self.log_scale = nn.Parameter(torch.full((dim,), 0.5 * math.log(variance)))
            self.auxiliary = nn.Module()  # rows c, b_1 and b_2
            self.auxiliary.weight = nn.Parameter(torch.zeros(3, dim))
        self.flow = FLOWS[flow](dim, layers) if layers else None
        self.back = FLOWS[flow](dim, layers) if layers and self.is_random else None
        self.load_state_dict(initialise(self, random.key(seed)), strict=False)
        self.shapes = {name: value.shape for name, value in self.named_parameters()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Multiplier:
        """To dtype or device, but never to half precision, which is too little for densities of many dimensions."""
        return super()._apply(lambda value: single(fn(value)), recurse)

    def forward(self, key: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """n draws z [n, dim], and log q of each [n], 0 where z is a parameter."""
        with without_autocast(self.mean):
            return self._draw(key, n)

    def _draw(self, key: Tensor, n: int) -> tuple[Tensor, Tensor]:
        z, log_q = self.mean.expand(n, self.dim), self.mean.new_zeros(n)
        if self.is_random:
            eps = random.normal(key, (n, self.dim)).to(self.mean)
            z, log_q = z + self.log_scale.exp() * eps, normal_log_prob(eps) - self.log_scale.sum()
        if self.flow is not None:
            z, logdet = self.flow(z)
            log_q = log_q - logdet if self.is_random else log_q
        return z, log_q

    def kl(self, key: Tensor, z: Tensor, log_q: Tensor, mean: Tensor, sigma: Tensor, scale: Tensor) -> Tensor:
        """The bound on KL(q(W) || p(W)) at one draw of z [dim], with its log q [], and one of W, 0-dim.

        Args:
            mean, sigma: M and s [dim, rows]. scale: of the prior N(0, scale^2), broadcasting against them.
        """
        moved = z[:, None] * mean
        kl = gaussian_kl(moved, sigma, scale).sum()
        with without_autocast(mean):
            return kl + log_q - self._log_r(key, z, moved, sigma) if self.is_random else kl

    def _log_r(self, key: Tensor, z: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
        """log r(z | W) of a draw W ~ N(mean, sigma^2), of which the sums over i alone are needed."""
        c, b1, b2 = self.auxiliary.weight.unbind(0)  # type: ignore[union-attr]
        spread = (c.square() @ sigma.square() + 1e-12).sqrt()
        sums = c @ mean + spread * random.normal(key, spread.shape).to(mean)
        a = (sums.tanh() if self.bent else sums).mean()
        end, logdet = self.back(z) if self.back is not None else (z, 0.0)
        log_precision = b2 * a
        return normal_log_prob((end - b1 * a) * (0.5 * log_precision).exp()) + 0.5 * log_precision.sum() + logdet
