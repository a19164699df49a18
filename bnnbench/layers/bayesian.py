"""Any plain network made Bayesian in one line, to be trained in the user's own loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.calls import number_of, places, stacked, told_apart
from bnnbench.layers.convertible import Choice, chosen
from bnnbench.layers.dropout import KeyedDropout
from bnnbench.layers.fixed import fix_norms
from bnnbench.layers.generators import seeded
from bnnbench.layers.keys import keyed
from bnnbench.layers.mnf import with_multipliers
from bnnbench.layers.noisy import Noisy, single
from bnnbench.layers.variational import with_flipout, with_local_noise, with_sampled_weights
from bnnbench.nets import Params, fan_in
from bnnbench.registry import nearest

Conversion = Callable[[nn.Module, Collection[str], float, int], nn.Module]


def _multiplied(flow: str) -> Conversion:
    """Multiplied layers at their own start; without scales z is 1 and has no distribution either."""
    return lambda network, only, sigma, seed: (
        with_multipliers(network, flow, seed=seed, only=only)
        if sigma
        else with_multipliers(network, layers=0, variance=0.0, only=only)
    )


# Kind -> conversion of these layers of a plain network into noisy ones, from sigma at the start and a seed.
KINDS: dict[str, Conversion] = {
    "sampled": lambda network, only, sigma, seed: with_sampled_weights(network, only),
    "local": lambda network, only, sigma, seed: with_local_noise(network, only),
    "flipout": lambda network, only, sigma, seed: with_flipout(network, only),
    "mnf": _multiplied("masked"),
    "mnf-planar": _multiplied("planar"),
    "mnf-iaf": _multiplied("iaf"),
    "mnf-spline": _multiplied("spline"),
}


class BayesianNetwork(nn.Module):
    """A network under the factorised Gaussian q(w) = N(mu, sigma^2), sigma = softplus(rho), and the prior N(0, s^2).

    The means are the parameters of `network`, under their old names; the rho of `weight` is `weight_rho` beside it. Of
    kind "mnf", q is that Gaussian given random multipliers of mu, whose parameters are those of `multiplier` beside it.
    A layer draws at every call, so one that is called twice in a forward pass draws twice. One whose weight or bias the
    network reads by name (`F.linear(x, self.encoder.weight)`) shows a draw, one a pass; `parameters()` are
    the means. The KL is that of all Bayesian layers, called or not. All is the same in training and in eval mode,
    but for dropout.

    Attributes:
        network: the converted network, of noisy layers.
        prior_scale: s of all parameters; None for sqrt(2 / fan_in) of weights and 1 of biases.
        key: the seed's key; a buffer, hence saved with the state, as is
        calls: the number of calls without a key so far.
    """

    key: Tensor
    calls: Tensor

    def __init__(self, network: nn.Module, prior_scale: float | None, sigma: float, seed: int) -> None:
        super().__init__()
        self.network, self.prior_scale, self._places = network, prior_scale, places(network)
        for layer in _noisy(network):
            for name, mean in layer.means().items():
                start = sigma * self._scale(mean)
                # softplus^-1(start); for a start of 0 it is -inf, which no gradient moves
                rho = start + math.log(-math.expm1(-start)) if start else -math.inf
                layer.register_parameter(f"{name}_rho", nn.Parameter(torch.full_like(mean, rho), sigma > 0))
        device = next(network.parameters()).device
        self.register_buffer("key", random.key(seed, device))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64, device=device))

    def forward(self, *inputs: Any, key: Tensor | None = None, **named: Any) -> tuple[Any, Tensor]:
        """The network's output for one draw from q, and KL(q || p) (of kind "mnf" one draw of its bound).

        Args:
            inputs, named: what the plain network takes, but whole numbers by name alone.
            key: (`bnnbench.random.key(seed)`), on which alone the draw then depends; give one under `torch.func`.
                Without it, the network's own counter advances, and the next call draws again, as does every process of
                `torch.distributed`; keys that are given are to differ there, too.

        Raises:
            UserError: the key is none, an input may be meant as one, or the network draws where no key reaches it.
        """
        inputs, given = told_apart(inputs, key, self._places)
        scales, prior, told = self.scales(), self.prior(), {}
        with self._drawing(self._next_key() if given is None else given, sigma=scales, prior=prior, kl=told):
            return self.network(*inputs, **named), self._kl(scales, prior, told)

    def kl(self, key: Tensor | None = None) -> Tensor:
        """KL(q || p), 0-dim: the sum of log(s / sigma) + (sigma^2 + mu^2) / (2 s^2) - 1/2 over all parameters.

        Of kind "mnf" a one-draw estimate of its bound. Without a key it is drawn from that of the last call, and the
        counter stays where it is.
        """
        _, given = told_apart((), key, 0)
        with keyed(self._present_key() if given is None else given):
            return self._kl(self.scales(), self.prior(), {})

    def scales(self) -> Params:
        """sigma by parameter name of the plain network."""
        return {name: F.softplus(single(rho)) for name, _, rho in self.distributions()}

    def prior(self) -> Params:
        """s by parameter name of the plain network, in its parameters' shapes."""
        scales = ((name, single(rho), self._scale(mean)) for name, mean, rho in self.distributions())
        return {name: rho.new_full((), scale).expand_as(rho) for name, rho, scale in scales}

    @torch.no_grad()
    def sample(self, *inputs: Any, samples: int | None = None, key: Tensor | None = None, **named: Any) -> Any:
        """Outputs [samples, ...] of as many draws from q, for prediction; of logits, average the softmax over them.

        Of kind "sampled", each is one function of all x; the other kinds draw for each example on its own.

        Args:
            inputs, named, key: as of a call, `bayes.sample(x, mask, samples=20)`.
            samples: by its name or as the one whole number by position, `bayes.sample(x, 20)`.

        Returns:
            What the network does, a tensor or a structure of them (tuples, dictionaries, dataclasses), each stacked.

        Raises:
            UserError: there is no draw, the outputs cannot be stacked, or what a call raises.
        """
        inputs, count = number_of(inputs, samples)
        inputs, given = told_apart(inputs, key, self._places)
        scales, outputs = self.scales(), []
        for one in random.split(self._next_key() if given is None else given, count):
            with self._drawing(one, sigma=scales):
                outputs.append(self.network(*inputs, **named))
        return stacked(outputs)

    @contextmanager
    def _drawing(self, key: Tensor, **settings: Any) -> Iterator[None]:
        """A block in which all draws of the network are the key's."""
        with seeded(key, {value.device for value in self.parameters()}), keyed(key, **settings):
            yield

    def _next_key(self) -> Tensor:
        self.calls += 1
        return self._present_key()

    def _present_key(self) -> Tensor:
        """The key of the last call, each process's own: averaged gradients of equal noise would average no noise."""
        key = random.fold_in(self.key, self.calls)
        many = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        return random.fold_in(key, dist.get_rank()) if many else key

    def _replicate_for_data_parallel(self) -> Any:
        raise UserError(
            "nn.DataParallel gives all its replicas one noise and loses their count of calls; take "
            "nn.parallel.DistributedDataParallel."
        )

    def _kl(self, scales: Params, prior: Params, told: Params) -> Tensor:
        """The sum over the layers, some of which have told theirs in the forward pass."""
        divergences = [
            told[layer.path] if layer.path in told else layer.kl(layer.means(), layer.own(scales), layer.own(prior))
            for layer in _noisy(self.network)
        ]
        return torch.stack(divergences).sum()

    def distributions(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name in the plain network, mu and rho of every parameter."""
        for layer in _noisy(self.network):
            for name, mean in layer.means().items():
                yield layer.named(name), mean, getattr(layer, f"{name}_rho")

    def _scale(self, mean: Tensor) -> float:
        """s, the prior's scale of one parameter."""
        if self.prior_scale is not None:
            return self.prior_scale
        return math.sqrt(2 / fan_in(mean)) if mean.dim() >= 2 else 1.0


def _noisy(network: nn.Module) -> list[Noisy]:
    return [layer for layer in network.modules() if isinstance(layer, Noisy)]


def convert(
    net: nn.Module,
    kind: str = "local",
    *,
    layers: Choice = None,
    prior_scale: float | None = None,
    sigma: float = 0.05,
    seed: int = 0,
) -> BayesianNetwork:
    """A Bayesian copy of a plain network, whose forward pass gives (output, kl).

    All parameters of its `nn.Linear` and `nn.Conv2d` layers, or of those chosen, get a factorised Gaussian
    distribution, whose means start at the network's present weights. Frozen layers (`requires_grad_(False)`) stay as
    they are, without a KL; those not chosen too, but go on to train. Batch normalisation in eval mode becomes a fixed
    affine map for good. Train it like any module, with the loss `nll.mean() + kl / n`, n being the number of training
    rows: the negative evidence lower bound / n. In half precision the KL is in single.

    Dropout, and whatever else draws from torch's generators, draws from the network's keys; the generators are neither
    read nor advanced. Compiled, or under `torch.func.vmap` over keys, that is so of `nn.Dropout` alone, the rest being
    refused. Draws of NumPy are out of reach.

    Args:
        net: the plain network, of any inputs and outputs; it is not changed.
        kind: how a forward pass draws. "local" draws the activations of each example (Kingma et al. 2015, arXiv
            1506.02557), "flipout" one weight perturbation with random signs for each example (Wen et al. 2018, arXiv
            1803.04386), "sampled" weights, the same for all examples (Blundell et al. 2015, arXiv 1505.05424), "mnf"
            the activations and, not Gaussian, multipliers of the weights of each example (Louizos &
            Welling 2017, arXiv 1703.01961), which start around 0.9; its kl is an estimate of an upper bound. The flow
            of its multipliers is a masked RealNVP, that of "mnf-planar", "mnf-iaf" and "mnf-spline" the one named.
        layers: which layers become Bayesian: names as in `net.named_modules()`, of a layer or of what holds several,
            or a function (name, layer) -> bool that is asked of every linear and convolutional layer. By default all,
            and then no others may hold parameters that train.
        prior_scale: standard deviation of the prior N(0, s^2) of all parameters; by default that of all tasks here,
            sqrt(2 / fan_in) of weights and 1 of biases.
        sigma: standard deviation of q at the start, in units of the prior's. 0 gives the plain twin: the output is
            that of `net`, the scales stay 0, and kl is infinite, its gradient being that of -log p(mu).
        seed: of the draws, and of the multipliers' start.

    Raises:
        UserError: the kind, the choice or a number is not possible, or a layer has no Bayesian version.
    """
    if kind not in list(KINDS):
        raise UserError(f"There is no kind of noisy layer {kind!r}{nearest(str(kind), KINDS)}")
    if not isinstance(sigma, Real) or not 0 <= sigma < math.inf:
        raise UserError(f"sigma, the scale of q at the start, is {sigma}; give a finite number that is not negative.")
    if prior_scale is not None and (not isinstance(prior_scale, Real) or not 0 < prior_scale < math.inf):
        raise UserError(f"prior_scale is {prior_scale}; give a finite number above 0.")
    seed = random.checked_seed(seed)
    network = KINDS[kind](net, chosen(net, layers), float(sigma), seed)
    for layer in network.modules():
        if type(layer) is nn.Dropout:
            layer.__class__ = KeyedDropout
    fix_norms(network)
    converted = BayesianNetwork(network, prior_scale, float(sigma), seed)
    converted.training = net.training
    return converted
