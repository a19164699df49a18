r"""Variational Bayesian last layer: a Gaussian over the last layer's weights, on features that are trained with it.

With features phi = [last layer's inputs, 1], outputs out_k = w_k . phi and q(w_k) = N(m_k, S_k) for every output k, the
outputs of an example are independent normals of mean m_k . phi and variance phi . S_k phi, so that the bound

    L = -(1/n) sum_i E_q[log p(y_i | out(x_i))] + (1/n) KL(q || p) - (1/n) log p(theta)

needs no weight samples (Harrison et al. 2024, theorems 1 and 2). It is minimised over m, S and all other parameters
theta, which are point estimates: the layers below, and a learned noise. p is the task's prior. The expectation is

* of a Gaussian with one noise s: log N(y; m . phi, s^2) - phi . S phi / (2 s^2), theorem 1;
* of a Gaussian whose noise is the network's second output: that, averaged over the second output by quadrature;
* of classes, at least m_y . phi - log sum_k exp(m_k . phi + phi . S_k phi / 2), theorem 2.

The paper has one noise, under an inverse-Wishart prior, and adds noise to the logits of classes. Both are here as the
task has them, so that what is approximated is its posterior, as by the other methods. Prediction draws the last layer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bnnbench.errors import UserError
from bnnbench.layers.taps import TappedLinear, tapped
from bnnbench.methods.base import METHODS, Info, Method, one_of, positive
from bnnbench.methods.gaussians import Diagonal, Rows, parameter_name, to_matrices
from bnnbench.methods.laplace import Curved
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space
from bnnbench.model import Batch, GaussianPrior, Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.posteriors import Linearised, Posterior

LOG_SD, BELOW = "log_sd.", "below."  # and the layer's name: diagonal and rest of L, S = L L^T in units of the prior
COVARIANCES = ("dense", "diagonal")
DENSE_LIMIT = 2_000_000  # numbers in the factors of a dense S


@METHODS.register
@dataclass(frozen=True)
class VBLL(Method):
    """Variational Bayesian last layer.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        sigma: standard deviation of q at the start, in units of the prior's scale.
        covariance: S_k, "dense" or "diagonal".
        prior_scale: factor of the prior's scale.
    """

    name = "vbll"
    citation = "Harrison et al. 2024, arXiv 2404.11599"
    tags = ("variational",)
    family = "exact"
    lr: float = 1e-2
    sigma: float = 0.05
    covariance: str = "dense"
    prior_scale: float = 1.0
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {"lr": RATE, "sigma": LogUniform(0.005, 0.5), "prior_scale": PRIOR_SCALE}

    def check(self) -> None:
        positive(self, "lr", "sigma", "prior_scale")
        one_of(self, "covariance", COVARIANCES)

    def prepare(self, problem: Problem) -> Problem:
        if not isinstance(problem.prior, GaussianPrior):
            raise UserError(f"vbll needs a Gaussian prior, and this task has a {type(problem.prior).__name__}.")
        network, outputs = with_tapped_head(problem.network), problem.likelihood.outputs
        weight = dict(network.named_parameters())[parameter_name(head_of(network), "weight")]
        if len(weight) != outputs:
            raise UserError(f"vbll needs a network whose last layer is an nn.Linear with {outputs} outputs.")
        if self.covariance == "dense" and (count := outputs * (weight.shape[1] + 1) ** 2) > DENSE_LIMIT:
            raise UserError(
                f"A dense covariance of the last layer would have {count:,} numbers, more than {DENSE_LIMIT:,}; "
                "use vbll.covariance=diagonal."
            )
        return problem.with_network(network)

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> AdamState:
        params, head = problem.init_params(key), head_of(problem.network)
        log_sd = torch.zeros_like(to_matrices(params, [head])[head]) + torch.as_tensor(self.sigma).log()
        if self.covariance == "dense":
            params[BELOW + head] = torch.zeros_like(log_sd[..., None] * log_sd[..., None, :])
        return adam_init(params | {LOG_SD + head: log_sd})

    def update(self, key: Tensor, state: AdamState, problem: Problem) -> tuple[AdamState, Info]:
        batch = problem.minibatch(key)
        return adam_step(lambda params: self.bound(params, batch, problem), state, problem, self.lr)

    def bound(self, params: Params, batch: Batch, problem: Problem) -> Tensor:
        """L, estimated on a minibatch."""
        head = head_of(problem.network)
        weights, factor = weights_of(params), factor_of(params, head)
        scale = unit(problem, weights, head)
        # In units of the prior's scale, m / scale and phi * scale, p is the standard normal.
        mean = to_matrices(weights, [head])[head] / scale
        out, features = outputs_and_features(problem, weights, batch.x, head)
        expected = problem.likelihood.expected_log_prob(weights, out, variance(features * scale[:1], factor), batch.y)
        points = {k: v for k, v in weights.items() if k != LOG_NOISE and k not in parameters_of(head, weights)}
        log_prior = problem.likelihood.log_prior(weights) + (problem.prior.log_prob(points) if points else 0.0)
        kl = self.divergence(mean, factor, params[LOG_SD + head])
        return -(batch.weight * expected).mean() + (kl - log_prior) / problem.n

    def divergence(self, mean: Tensor, factor: Tensor, log_sd: Tensor) -> Tensor:
        """KL(q || p), of means and L in units of the prior's scale, and of the logarithms of L's diagonal."""
        return 0.5 * (factor.square().sum() + (mean**2 - 1 - 2 * log_sd).sum())

    def posterior(self, state: AdamState, draws: Any, problem: Problem) -> Posterior:
        del draws
        head = head_of(problem.network)
        weights, factor = weights_of(state.params), factor_of(state.params, head)
        covariance = Rows({head: factor}) if factor.dim() == 3 else Diagonal({head: factor})
        sd = {k: problem.scale_of(k, v) * (0.0 if k == LOG_NOISE else 1.0) for k, v in weights.items()}
        return Linearised(weights, Curved(weights, sd, covariance, (head,)), parameters_of(head, weights))


def weights_of(params: Params) -> Params:
    """The parameters of the network and of the likelihood."""
    return {name: value for name, value in params.items() if not name.startswith((LOG_SD, BELOW))}


def factor_of(params: Params, head: str) -> Tensor:
    """L_k with S_k = L_k L_k^T, lower triangular [out, in + 1, in + 1]; of a diagonal S_k its root [out, in + 1]."""
    sd, below = params[LOG_SD + head].exp(), params.get(BELOW + head)
    if below is None:
        return sd
    return below.tril(-1) + sd[..., None] * torch.eye(sd.shape[-1]).to(sd)


def variance(features: Tensor, factor: Tensor) -> Tensor:
    """phi . S_k phi [B, out] of features [B, in + 1]."""
    if factor.dim() == 2:
        return features**2 @ (factor**2).mT
    return (features @ factor).square().sum(-1).mT


def with_tapped_head(network: nn.Module) -> nn.Module:
    """A copy whose last linear layer shows its inputs.

    Raises:
        UserError: there is none.
    """
    network = copy.deepcopy(network)
    layers = [(name, layer) for name, layer in network.named_modules() if type(layer) is nn.Linear]
    if not layers:
        raise UserError("vbll needs a network whose last layer is an nn.Linear.")
    name, layer = layers[-1]
    layer.__class__ = TappedLinear
    layer.tap = name  # type: ignore[assignment]
    return network


def head_of(network: nn.Module) -> str:
    """Name of the tapped layer."""
    return next(name for name, layer in network.named_modules() if isinstance(layer, TappedLinear))


def parameters_of(head: str, params: Params) -> tuple[str, ...]:
    """Names of the last layer's weight, and of its bias if it has one."""
    return tuple(name for end in ("weight", "bias") if (name := parameter_name(head, end)) in params)


def unit(problem: Problem, params: Params, head: str) -> Tensor:
    """The prior's scale of every weight of the last layer, [out, in + 1]."""
    scales = {
        name: torch.zeros_like(params[name]) + problem.scale_of(name, params[name])
        for name in parameters_of(head, params)
    }
    return to_matrices(scales, [head])[head]


def outputs_and_features(problem: Problem, params: Params, x: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """The network's outputs [B, out] and phi [B, in + 1] at standardised inputs x; without a bias phi has no 1."""
    weight = params[parameter_name(head, "weight")]
    with tapped({head: x.new_zeros(x.shape[0], weight.shape[0])}) as inputs:
        out = problem.apply(params, x)
    bias = parameter_name(head, "bias") in params
    return out, torch.cat([inputs[head], torch.ones_like(out[:, :1])], 1) if bias else inputs[head]
