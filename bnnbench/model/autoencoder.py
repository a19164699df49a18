"""Variational autoencoders whose posterior is a flow (Rezende & Mohamed 2015, arXiv 1505.05770)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bnnbench import random
from bnnbench.flows import Flow
from bnnbench.flows.flow import normal_log_prob
from bnnbench.model.density_problem import DensityProblem
from bnnbench.model.likelihoods import Params
from bnnbench.model.problem import Batch, Problem
from bnnbench.nets import MLP

CONTEXT = 64  # numbers by which the inference network steers the flow


class Autoencoder(nn.Module):
    """p(x | z) = Bernoulli(decoder(z)), z ~ N(0, 1), and q(z | x): a factorised normal of the encoder, then a flow.

    Args:
        flow: of z, given a context of CONTEXT numbers.
        pixels: of an image. hidden: widths of the encoder, and in reverse of the decoder.
    """

    def __init__(self, flow: Flow, pixels: int, hidden: Sequence[int] = (400, 400)) -> None:
        super().__init__()
        self.flow, self.latent = flow, flow.dim
        self.encoder = MLP(pixels, tuple(hidden), 2 * self.latent + CONTEXT)
        self.decoder = MLP(self.latent, tuple(reversed(hidden)), pixels)

    def forward(self, x: Tensor, noise: Tensor | None = None, weight: float | Tensor = 1.0) -> Tensor:
        """log p(x | z) + weight (log p(z) - log q(z | x)) [N] of binary images x [N, pixels].

        z is a function of noise [N, latent] or [latent]. With weight 1 its mean bounds log p(x).
        """
        z, log_q = self.posterior(x, noise)
        log_p = -F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(-1)
        return log_p + weight * (normal_log_prob(z) - log_q)

    def posterior(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A draw z [N, latent] from q(z | x), and log q(z | x) [N]; without noise what it makes of zeros."""
        noise = x.new_zeros(self.latent) if noise is None else noise
        mean, log_scale, context = self.encoder(x).split([self.latent, self.latent, CONTEXT], -1)
        start = mean + log_scale.exp() * noise
        context = context * CONTEXT**-0.5  # else one step of Adam, of 64 weights at once, throws the layers about
        z, logdet = self.flow.bijection.inverse(start, context)
        return z, normal_log_prob(noise) - log_scale.sum(-1) - logdet


@dataclass(frozen=True)
class AutoencoderProblem(DensityProblem):
    """Images to be fitted by the evidence lower bound, E_q [log p(x, z) - log q(z | x)].

    Pixels are probabilities, and every minibatch draws its binary images again (Burda et al. 2016, arXiv 1509.00519):
    one draw for all epochs would be memorised. Pixels of 0 or 1 stay what they are. KL annealing over the first
    quarter of the steps (Sønderby et al. 2016, arXiv 1602.02282) prevents posterior collapse.

    Attributes:
        latent: dimension of z.
    """

    sampled: ClassVar[bool] = True
    latent: int = 40

    def minibatch(self, key: Tensor) -> Batch:
        batch = Problem.minibatch(self, key)
        return batch._replace(x=binarised(random.fold_in(key, 2), batch.x))

    def loss(self, key: Tensor, params: Params) -> Tensor:
        x = self.minibatch(key).x
        noise = random.normal(random.fold_in(key, 1), (self.batch_size, self.latent)).to(x)
        weight = (0.01 + 4 * self.t / self.steps).clamp(max=1.0)
        return -functional_call(self.network, params, (x, noise, weight)).mean()

    def latent_noise(self, key: Tensor, span: int | random.Span) -> Tensor:
        """A sample's noise serves all images."""
        if isinstance(span, int):
            return random.normal(key, (span, self.latent))
        return random.normal(key, (span.total, self.latent))[span.start : span.stop]

    def log_weights(self, params: Params, x: Tensor, noise: Tensor) -> Tensor:
        return vmap(lambda one: functional_call(self.network, params, (x, one)))(noise.to(x))


def binarised(key: Tensor, grey: Tensor) -> Tensor:
    """Images of 0 and 1, a pixel 1 with the probability that is its grey value."""
    return random.bernoulli(key, grey, grey.shape).to(grey)
