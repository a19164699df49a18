"""`bnnbench check` catches what is broken and passes what is not."""

from dataclasses import dataclass, replace

import pytest
import torch
from helpers import PACKED

from bnnbench.checks.checks import checks, linear_regression, no_data, packed_equals_alone, scaling, vague_regression
from bnnbench.methods import METHODS
from bnnbench.methods.bbp import BBPGaussian, BBPMixture, entropy
from bnnbench.methods.csgmcmc import CyclicalSGMCMC
from bnnbench.methods.ivon import IVON
from bnnbench.methods.map import MAP
from bnnbench.methods.optimise import one_cycle
from bnnbench.methods.sgld import SGLD
from bnnbench.methods.vbll import VBLL
from bnnbench.model.predictive import normal_log_density


class KLByBatch(BBPGaussian):
    """KL divided by the batch size in place of the number of data."""

    def update(self, key, state, problem):
        return BBPGaussian.update(replace(self, beta=problem.n / problem.batch_size), key, state, problem)


class ReversedKL(BBPGaussian):
    """KL(p || q): cross-entropy less entropy comes to log(sigma / s) + (s^2 + mean^2) / (2 sigma^2) - 1/2."""

    def cross_entropy(self, problem, mean, sigma, sample):
        s = problem.prior.scale_of(mean)
        return torch.log(sigma / s) + (s**2 + mean**2) / (2 * sigma**2) - 0.5 + entropy(sigma)


class SummedMixture(BBPMixture):
    """The mixture of two joint densities of a whole tensor, summed before mixing."""

    def cross_entropy(self, problem, mean, sigma, sample):
        prior, zero = problem.prior, torch.zeros_like(sample)
        scale, weight = prior.scale_of(sample), torch.as_tensor(prior.weight)
        wide = weight.log() + normal_log_density(sample, zero, scale).sum()
        narrow = torch.log1p(-weight) + normal_log_density(sample, zero, prior.ratio * scale).sum()
        return -torch.logaddexp(wide, narrow) * torch.ones_like(sample) / sample.numel()


class ColdNoise(SGLD):
    """Injected noise scaled by 0.1."""

    def scaled_temperature(self, problem):
        return 0.01 * super().scaled_temperature(problem)


class MeanGradient(SGLD):
    """The gradient of the mean where that of the sum belongs: the noise of a posterior of one datum."""

    def scaled_temperature(self, problem):
        return super().scaled_temperature(problem) * problem.n


class Cooled(CyclicalSGMCMC):
    """No noise in the first part of a cycle: what is left of it cannot warm the chain up again."""

    def scaled_temperature(self, problem):
        return torch.where(self.phase(problem) < 0.6, 0.0, super().scaled_temperature(problem))


class SpreadAlone(IVON):
    """The weight decay is part of the spread, and not of the step of the means."""

    def update(self, key, state, problem):
        new, info = super().update(key, state, problem)
        rate, mean = one_cycle(problem.t, problem.steps, self.lr), {}
        for name, m in state.mean.items():
            delta = self.decay(problem, name, m)
            mean[name] = new.mean[name] + rate * (self.hess_init + delta) * delta * m / new.precision[name]
        return new._replace(mean=mean), info


class NoDecay(IVON):
    """No weight decay at all."""

    def decay(self, problem, name, value):
        return 1e-6 * super().decay(problem, name, value)


class NoKL(VBLL):
    """The likelihood's part of the bound alone."""

    def divergence(self, mean, factor, log_sd):
        return 0 * super().divergence(mean, factor, log_sd)


@pytest.mark.slow
def test_a_chain_that_is_cooled_on_its_way_is_caught():
    """By the regression that the data leave open alone."""
    assert vague_regression_of(Cooled(lr=0.01)) is False
    assert vague_regression_of(CyclicalSGMCMC()) is True


def vague_regression_of(method):
    mean, temperature = vague_regression(method)
    assert mean.passed
    return temperature.passed


SLOW = {"marks": pytest.mark.slow}


@pytest.mark.parametrize(
    ("broken", "part", "line"),
    [
        pytest.param(KLByBatch(), linear_regression, "linear regression: spread", **SLOW),
        pytest.param(ReversedKL(), linear_regression, "linear regression: spread", **SLOW),
        pytest.param(SummedMixture(), linear_regression, "linear regression, own prior: spread", **SLOW),
        (ColdNoise(), linear_regression, "linear regression: temperature"),
        pytest.param(MeanGradient(), linear_regression, "linear regression: temperature", **SLOW),
        pytest.param(KLByBatch(), scaling, "n = 512, batch 32: spread", **SLOW),
        pytest.param(SpreadAlone(clip=1e6), vague_regression, "vague linear regression: mean", **SLOW),
        pytest.param(NoDecay(), no_data, "no data: the prior's spread", **SLOW),
        pytest.param(NoKL(), linear_regression, "linear regression: spread", **SLOW),
    ],
    ids=[
        "kl-by-batch",
        "reversed-kl",
        "summed-mixture",
        "noise-by-ten",
        "mean-gradient",
        "kl-by-batch-scaling",
        "decay-of-spread-alone",
        "no-decay",
        "no-kl",
    ],
)
def test_broken_variants_are_caught(broken, part, line):
    verdicts = {verdict.name: verdict for verdict in part(broken)}
    assert verdicts[line].passed is False, verdicts


@pytest.mark.parametrize(
    "name", ["sgld", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bbp-gaussian", "bbp-mixture"))]
)
def test_what_they_are_variants_of_passes(name):
    """16 seeds, some ten comparisons at 1e-4 each: a false alarm in 1,000."""
    verdicts = list(linear_regression(METHODS.get(name)()))
    assert all(verdict.passed for verdict in verdicts), verdicts


class Leaky(MAP):
    """Draws from a generator of its own: the second cell of a pack is not what it is alone."""

    def init(self, key, problem):
        fit = super().init(key, problem)
        scatter = torch.linspace(0, 1, len(MEMORY) + 1, dtype=torch.float64)[-1]
        MEMORY.append(0)
        return fit._replace(
            params={name: value + 0 * scatter + 0.1 * len(MEMORY) for name, value in fit.params.items()}
        )


MEMORY: list[int] = []


def test_a_method_with_memory_is_caught():
    (verdict,) = packed_equals_alone(Leaky())
    assert verdict.passed is False


@dataclass(frozen=True)
class Biased(SGLD):
    """Samples a prior of twice the width."""

    def target(self, problem):
        return problem

    def update(self, key, state, problem):
        return super().update(key, state, problem.scaled(2.0))


@pytest.mark.slow
def test_a_wrong_prior_is_caught_without_data():
    verdicts = list(no_data(Biased()))
    assert [verdict.passed for verdict in verdicts] == [True, False], verdicts


@pytest.mark.slow
@pytest.mark.parametrize("name", [method.name for method in PACKED if "regression" in method.supports])
def test_every_method_passes(name):
    """Per method up to 12 lines of at most 4 comparisons at 1e-4: a false alarm in 200 runs of a method at most."""
    verdicts = list(checks(METHODS.get(name)()))
    assert not [verdict for verdict in verdicts if verdict.passed is False]
