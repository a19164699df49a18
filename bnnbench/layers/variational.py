r"""Linear and convolutional layers under a factorised Gaussian q(w) = N(mu, sigma^2), in three estimators of the same
distribution: sampled weights, local reparametrisation, flipout.

Below, w x stands for the layer's linear map, the convolution w * x in a convolutional one; o is the elementwise
product, and eps are standard normals.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from bnnbench import random
from bnnbench.layers.keys import next_key
from bnnbench.layers.noisy import Noisy, NoisyConv2d, NoisyLinear, epsilon, replaced
from bnnbench.nets import Params


class _Sampled(Noisy):
    """x -> (mu + sigma eps) x + mu_b + sigma_b eps_b, one draw a call for all examples (Blundell et al. 2015, arXiv
    1505.05424).
    """

    def noisy(self, input: Tensor, mean: Params, sigma: Params) -> Tensor:
        sampled = self.draw(next_key(), mean, sigma)
        return self.affine(input, sampled["weight"], sampled.get("bias"))


class _Local(Noisy):
    """x -> N(mu x + mu_b, sigma^2 x^2 + sigma_b^2), drawn for every example and output (Kingma et al. 2015, arXiv
    1506.02557).

    In a convolutional layer this is the distribution of every single output; that one image's outputs at different
    places are correlated, for they share weights, is dropped, as usual (Molchanov et al. 2017, arXiv 1701.05369;
    Shridhar et al. 2019, arXiv 1901.02731).
    """

    def noisy(self, input: Tensor, mean: Params, sigma: Params) -> Tensor:
        noise = self.spread(next_key(), input, sigma)
        centre = self.affine(input, mean["weight"], mean.get("bias"))
        return centre + noise.to(centre)


class _Flipout(Noisy):
    """x -> mu x + mu_b + ((sigma eps) (x o s) + sigma_b eps_b) o r (Wen et al. 2018, arXiv 1803.04386).

    eps is one draw for all examples; the signs s, one for each input channel, and r, one for each output channel, are
    drawn for every example.
    """

    def noisy(self, input: Tensor, mean: Params, sigma: Params) -> Tensor:
        key, channel = next_key(), -1 - self.places
        noise = zip(sigma.items(), epsilon(key, sigma["weight"]), strict=False)
        change = {name: (scale * eps).to(mean[name]) for (name, scale), eps in noise}
        sizes = [mean["weight"].shape[0], input.shape[channel]]
        signs = random.bernoulli(key, 0.5, (*input.shape[:channel], sum(sizes))).to(input) * 2 - 1
        r, s = signs.reshape(*signs.shape, *[1] * self.places).split(sizes, channel)
        changed = self.affine(input * s, change["weight"], change.get("bias"))
        return self.affine(input, mean["weight"], mean.get("bias")) + changed * r.to(changed)


class SampledLinear(_Sampled, NoisyLinear):
    """A linear layer with sampled weights."""


class SampledConv2d(_Sampled, NoisyConv2d):
    """A convolutional layer with sampled weights."""


class LocalLinear(_Local, NoisyLinear):
    """A linear layer with local reparametrisation."""


class LocalConv2d(_Local, NoisyConv2d):
    """A convolutional layer with local reparametrisation."""


class FlipoutLinear(_Flipout, NoisyLinear):
    """A linear layer with flipout."""


class FlipoutConv2d(_Flipout, NoisyConv2d):
    """A convolutional layer with flipout."""


Paths = Collection[str] | None  # see `replaced`


def with_sampled_weights(network: nn.Module, only: Paths = None) -> nn.Module:
    """A copy whose linear and convolutional layers draw their weights at every call; parameters keep their names."""
    return replaced(network, {nn.Linear: SampledLinear, nn.Conv2d: SampledConv2d}, only)


def with_local_noise(network: nn.Module, only: Paths = None) -> nn.Module:
    """A copy whose linear and convolutional layers draw their activations (local reparametrisation)."""
    return replaced(network, {nn.Linear: LocalLinear, nn.Conv2d: LocalConv2d}, only)


def with_flipout(network: nn.Module, only: Paths = None) -> nn.Module:
    """A copy whose layers draw one perturbation of their weights with signs of every example's own."""
    return replaced(network, {nn.Linear: FlipoutLinear, nn.Conv2d: FlipoutConv2d}, only)
