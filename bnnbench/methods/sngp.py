r"""SNGP, a spectral-normalised neural Gaussian process: a single network that is to know how far an input is from data.

The hidden layers map x to h(x). After every step each of their weights is scaled down to a spectral norm of at most c,
by one power iteration, so that h stretches no distance by more than the product of the bounds (the networks here have
no residual connections, which would also keep distances from vanishing). The last layer is a Gaussian process of h by D
random Fourier features (`bnnbench.layers.random_features`), f_k(x) = beta_k^T phi(h(x)), beta_k ~ N(0, a^2 I). All but
the features are trained to the MAP by minimising U = -(1/n) log p(data, weights, beta). Then beta gets a Laplace
approximation, one Gaussian for each output k, by a pass over the training rows,

    beta_k ~ N(beta_map, Sigma_k),    Sigma_k^{-1} = I / a^2 + sum_i F_ik phi_i phi_i^T,

where F_ik is the Fisher information of output k in row i: p_ik (1 - p_ik) of a class, 1 / sd_i^2 of a Gaussian's mean.
A predictive sample is a draw of beta, one function. "mean-field" is the closed form for classes, a softmax of the
logits m_k / sqrt(1 + (pi / 8) v_k), m_k = beta_map,k^T phi and v_k = phi^T Sigma_k phi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers.random_features import RandomFeatureLinear, with_random_features
from bnnbench.layers.spectral import bounded, norm, power_iteration
from bnnbench.methods.base import METHODS, Info, Method, one_of, positive
from bnnbench.methods.gaussians import parameter_name
from bnnbench.methods.optimise import AdamState, adam_init, adam_step
from bnnbench.methods.space import PRIOR_SCALE, RATE, LogUniform, Space
from bnnbench.model import Batch, Categorical, Params, Predictive, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.posteriors import Point, Posterior, structure, tree
from bnnbench.model.predictive import normal_log_density
from bnnbench.random import Span

PREDICTIVES = ("sampled", "mean-field")
FIRST_ITERATIONS = 20  # of the power iteration, at the start; afterwards one a step


class Fit(NamedTuple):
    """The network in training.

    Attributes:
        fit: what is trained. features: V and b of the last layer. singular: an input for each hidden layer, which goes
            to the singular vector of its greatest singular value.
    """

    fit: AdamState
    features: Params
    singular: Params


class Trained(NamedTuple):
    """The trained network: all its parameters and features, and R_k with R_k R_k^T = Sigma_k, [outputs, D, D]."""

    params: Params
    root: Tensor


@tree
class LastLayerGaussian(Posterior):
    """beta_k ~ N(beta_map, R_k R_k^T) for each output of the last layer; all else is fixed. A sample is beta alone.

    Attributes:
        params: of the whole network, beta at its mode. root: R, [outputs, D, D]. beta: its name.
        mean_field: whether the predictive is the closed form for classes.
    """

    shares_pass = True
    params: Params
    root: Tensor
    beta: str = structure()
    mean_field: bool = structure(default=False)

    def size(self, samples: int) -> int:
        return 1 if self.mean_field else samples

    def sample(self, key: Tensor, problem: Problem, span: int | Span) -> Params:
        del problem
        mode, root = self.params[self.beta], self.root
        if self.mean_field:
            return {self.beta: mode[None]}

        def one(key: Tensor) -> Tensor:
            return mode + (root @ random.normal(key, mode.shape).to(root)[..., None])[..., 0]

        return {self.beta: vmap(one)(random.split(key, span))}

    def predict(self, sample: Params, problem: Problem, x: Tensor) -> Predictive:
        x = problem.standardise(x)
        phi = features_at(problem, self.params, self.beta, x)
        shrink = 1.0
        if self.mean_field:
            variance = torch.einsum("kde,nd->nke", self.root, phi).square().sum(-1)
            shrink = torch.rsqrt(1 + math.pi / 8 * variance)
        return vmap(lambda beta: problem.component(self.params, shrink * (phi @ beta.mT)))(sample[self.beta])

    def weights_of(self, sample: Params) -> None:
        return None

    def parameters(self, key: Tensor, problem: Problem) -> Params:
        return self.params | {name: value[0] for name, value in self.sample(key, problem, 1).items()}


@METHODS.register
@dataclass(frozen=True)
class SNGP(Method):
    """Spectral-normalised hidden layers under a Gaussian process of random features with a Laplace covariance.

    Attributes:
        lr: peak learning rate of the one-cycle schedule.
        bound: greatest spectral norm of a hidden layer, c.
        features: random features, D.
        length_scale: of the kernel of the hidden units, l.
        amplitude: standard deviation of the outputs under the prior, a; the paper's is 1.
        prior_scale: factor of the scale of the hidden layers' prior.
        predictive: "sampled" or, of classes, "mean-field".
    """

    name = "sngp"
    citation = "Liu et al. 2020, arXiv 2006.10108"
    tags = ("laplace", "other-target")
    lr: float = 3e-3
    bound: float = 3.0
    features: int = 256
    length_scale: float = 3.0
    amplitude: float = 1.0
    prior_scale: float = 1.0
    predictive: str = "sampled"
    early_stopping: bool = True

    @classmethod
    def space(cls) -> Space:
        return {
            "lr": RATE,
            "bound": LogUniform(0.5, 20.0),
            "length_scale": LogUniform(0.5, 20.0),
            "amplitude": LogUniform(0.1, 10.0),
            "prior_scale": PRIOR_SCALE,
        }

    def check(self) -> None:
        positive(self, "lr", "bound", "features", "length_scale", "amplitude", "prior_scale")
        one_of(self, "predictive", PREDICTIVES)

    def prepare(self, problem: Problem) -> Problem:
        if self.predictive == "mean-field" and not isinstance(problem.likelihood, Categorical):
            raise UserError('sngp.predictive="mean-field" is for classifications; take "sampled".')
        return problem.with_network(with_random_features(problem.network, self.features))

    def target(self, problem: Problem) -> Problem:
        return problem.scaled(self.prior_scale)

    def init(self, key: Tensor, problem: Problem) -> Fit:
        params, (name, layer) = problem.init_params(key), last_layer(problem.network)
        own = layer.drawn(random.fold_in(key, 1), self.length_scale)
        features = {parameter_name(name, place): value for place, value in own.items()}
        singular = {}
        for number, (hidden, like) in enumerate(inputs_of(problem, params | features).items()):
            v = random.normal(random.fold_in(random.fold_in(key, 2), number), like.shape).to(like)
            singular[hidden] = v / norm(v)
        for _ in range(FIRST_ITERATIONS):
            _, singular = self._normalised(problem, params, singular)
        return Fit(adam_init(params), features, singular)

    def update(self, key: Tensor, state: Fit, problem: Problem) -> tuple[Fit, Info]:
        batch, beta = problem.minibatch(key), beta_of(problem)

        def energy(params: Params) -> Tensor:
            nll = problem.mean_nll(params | state.features, batch)
            return nll - self._log_prior(params, beta, problem) / problem.n

        fit, info = adam_step(energy, state.fit, problem, self.lr)
        params, singular = self._normalised(problem, fit.params, state.singular)
        return Fit(fit._replace(params=params), state.features, singular), info

    def _log_prior(self, params: Params, beta: str, problem: Problem) -> Tensor:
        """log p of the hidden weights, of the likelihood's own parameters and of beta, 0-dim."""
        hidden = {name: value for name, value in params.items() if name not in (beta, LOG_NOISE)}
        amplitude = torch.as_tensor(self.amplitude).to(params[beta])
        of_beta = normal_log_density(params[beta], torch.zeros_like(params[beta]), amplitude).sum()
        found = of_beta + problem.likelihood.log_prior(params)
        return found + problem.prior.log_prob(hidden) if hidden else found

    def _normalised(self, problem: Problem, params: Params, singular: Params) -> tuple[Params, Params]:
        """Parameters with hidden weights within the bound, and the inputs of the power iteration, one further."""
        params, moved = dict(params), {}
        for layer, v in singular.items():
            weight = parameter_name(layer, "weight")
            sigma, moved[layer] = power_iteration(problem.network.get_submodule(layer), params[weight], v)
            params[weight] = bounded(params[weight], sigma, self.bound)
        return params, moved

    def finish(self, key: Tensor, state: Fit, problem: Problem) -> Trained:
        del key
        params, beta = state.fit.params | state.features, beta_of(problem)
        root = covariance_root(precision(problem, params, beta, self.amplitude))
        return Trained(params, root.to(params[beta]))

    def posterior(self, state: Fit | Trained, draws: Any, problem: Problem) -> Posterior:
        del draws
        if isinstance(state, Fit):
            return Point(state.fit.params | state.features)
        return LastLayerGaussian(state.params, state.root, beta_of(problem), self.predictive == "mean-field")


def last_layer(network: nn.Module) -> tuple[str, RandomFeatureLinear]:
    """The layer of random features, with its name."""
    return next((name, m) for name, m in network.named_modules() if isinstance(m, RandomFeatureLinear))


def beta_of(problem: Problem) -> str:
    """Name of beta among the parameters."""
    return parameter_name(last_layer(problem.network)[0], "weight")


def inputs_of(problem: Problem, params: Params) -> dict[str, Tensor]:
    """An input [1, ...] of every hidden layer with a weight, by name."""
    seen: dict[str, Tensor] = {}
    layers = {name: m for name, m in problem.network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    hooks = [
        layer.register_forward_hook(lambda _, inputs, __, name=name: seen.__setitem__(name, inputs[0]))
        for name, layer in layers.items()
    ]
    try:
        problem.apply(params, problem.standardise(problem.table.x[:1]))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def features_at(problem: Problem, params: Params, beta: str, x: Tensor) -> Tensor:
    """phi(h(x)) [N, D] at standardised inputs: what the network puts out where beta is the identity."""
    count = params[beta].shape[1]
    return problem.apply(params | {beta: torch.eye(count).to(params[beta])}, x)


def precision(problem: Problem, params: Params, beta: str, amplitude: float | Tensor) -> Tensor:
    """Sigma_k^{-1} of every output, float64 [outputs, D, D]."""

    def total(batch: Batch) -> Tensor:
        phi = features_at(problem, params, beta, batch.x)
        root = problem.likelihood.fisher_root(params, phi @ params[beta].mT)
        information = batch.weight[:, None] * root.square().sum(-1)
        phi = phi.double()
        return torch.stack([(phi * f[:, None]).mT @ phi for f in information.double().unbind(1)])

    found = problem.over_data(total)
    return found + torch.eye(found.shape[-1]).to(found) / amplitude**2


def covariance_root(precision: Tensor) -> Tensor:
    """R_k with R_k R_k^T the inverse of each matrix, [outputs, D, D]; NaN for one that is not positive definite."""
    factor, failed = torch.linalg.cholesky_ex(precision)
    identity = torch.eye(precision.shape[-1]).to(precision).expand_as(precision)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    return torch.where(failed[:, None, None] == 0, inverse.mT, torch.nan).contiguous()
