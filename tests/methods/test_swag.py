"""SWAG: its Gaussian against the closed formula from given draws, and the iterates it is made of."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import BUDGET, make_cells, make_pack, make_problem, normal
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.engine.predict import posterior_of, predict
from bnnbench.engine.train import train
from bnnbench.errors import UserError
from bnnbench.methods import configure
from bnnbench.methods.optimise import adam_init, phase_end, selection_end
from bnnbench.methods.swag import SWAG

GENERATOR = np.random.default_rng(0)
K, RANK, SAMPLES = 6, 3, 20_000
DRAWS = {"a": GENERATOR.normal(size=(K, 2, 2)), "b": GENERATOR.normal(2, 3, size=(K, 3))}
FLAT = np.concatenate([value.reshape(K, -1) for value in DRAWS.values()], 1)
PROBLEM = make_problem(torch.zeros(1, 1).double(), torch.zeros(1).double())
TENSORS = {name: torch.from_numpy(value) for name, value in DRAWS.items()}
STATE = adam_init({name: value[-1] for name, value in TENSORS.items()})


def formula(flat, rank, scale=1.0):
    """Maddox et al. 2019, section 3.2: (diag(mean of w^2 - mean^2) + D D^T / (R - 1)) / 2."""
    mean = flat.mean(0)
    deviations = (flat[-rank:] - mean).T
    return mean, scale * 0.5 * (np.diag((flat**2).mean(0) - mean**2) + deviations @ deviations.T / (rank - 1))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_weights_have_the_distribution_of_the_formula(scale):
    """Mean and covariance of 20,000 samples of 7 weights; 6 sigma, 35 comparisons, once in 10^7. The diagonal with
    K - 1 instead of K, or deviations from another mean, are further off."""
    posterior = SWAG(rank=RANK, samples=K, scale=scale).posterior(STATE, TENSORS, PROBLEM)
    found = posterior.sample(random.key(0), PROBLEM, SAMPLES)
    flat = torch.cat([value.reshape(SAMPLES, -1) for value in found.values()], 1).numpy()
    mean, cov = formula(FLAT, RANK, scale)
    sd = np.sqrt(np.diag(cov))
    z = (flat - mean) / sd
    assert np.abs(z.mean(0)).max() < 6 / math.sqrt(SAMPLES)
    assert np.abs(z.T @ z / SAMPLES - cov / np.outer(sd, sd)).max() < 6 * math.sqrt(2 / SAMPLES)
    means, sds = posterior.moments()
    assert_close(torch.cat([v.reshape(-1) for v in means.values()]), torch.from_numpy(mean))
    assert_close(torch.cat([v.reshape(-1) for v in sds.values()]), torch.from_numpy(sd))


def test_fewer_draws_than_the_rank():
    """A short run keeps fewer iterates than the rank: all of them are deviations."""
    posterior = SWAG(rank=20, samples=50).posterior(STATE, TENSORS, PROBLEM)
    _, cov = formula(FLAT, K)
    sds = posterior.moments()[1]
    assert_close(torch.cat([v.reshape(-1) for v in sds.values()]), torch.from_numpy(np.sqrt(np.diag(cov))))
    found = posterior.sample(random.key(0), PROBLEM, SAMPLES)
    flat = torch.cat([value.reshape(SAMPLES, -1) for value in found.values()], 1)
    error = (torch.cov(flat.T).numpy() - cov) / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    assert np.abs(error).max() < 6 * math.sqrt(2 / SAMPLES)


def test_one_draw_and_none():
    """One iterate has no spread; while training, the state itself is the only component."""
    one = {name: value[:1] for name, value in TENSORS.items()}
    found = SWAG().posterior(STATE, one, PROBLEM).sample(random.key(0), PROBLEM, 3)
    assert_close(found["b"], one["b"].expand(3, 3))
    found = SWAG().posterior(STATE, None, PROBLEM).sample(random.key(0), PROBLEM, 3)
    assert_close(found["b"], STATE.params["b"][None])


@pytest.mark.parametrize(("rank", "samples"), [("1", "50"), ("51", "50"), ("4", "3")])
def test_rank_out_of_range(rank, samples):
    with pytest.raises(UserError, match=rf"swag.rank must lie between 2 and swag.samples \({samples}\), not {rank}"):
        configure(SWAG, {"rank": rank, "samples": samples})
    configure(SWAG, {"rank": "3", "samples": "3"})


def test_iterates_after_the_fit_have_a_constant_step():
    """A one-cycle over the first 75 % of the steps, which ends near 0, then `swa_lr`; draws are kept from there only.
    The first step of Adam has the length of its rate in every weight."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem, method = make_problem(x, x[:, 0], steps=200), SWAG(lr=0.5, swa_lr=0.02, samples=10)
    state, rates = method.init(random.key(0), problem), []
    for t in range(200):
        now = replace(problem, t=torch.tensor(float(t), dtype=torch.float64))
        new, info = method.update(random.key(t), state, now)
        rates.append(float(info["step_size"]))
        if t == 0:
            for name, value in new.params.items():
                assert_close(
                    (value - state.params[name]).abs().max(), torch.tensor(rates[0]).double(), rtol=1e-3, atol=0
                )
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    assert rates.index(max(rates)) == pytest.approx(0.25 * 150, abs=1)  # the peak of the cycle
    assert rates[149] < 0.5 / 1000
    assert rates[150:] == pytest.approx([0.02] * 50)
    kept = list(method.schedule(200))
    assert len(kept) == 10
    assert kept[0] >= 150
    assert kept[-1] == 199


class Spy(SWAG):
    """Keeps the whole state of every step."""

    def schedule(self, steps):
        return range(steps)

    def collect(self, state):
        return state


def validation(fit, state):
    """Mean log-likelihood of each replica's validation rows, by torch's normal."""
    scores, posterior = [], posterior_of(fit.pack, state, None)
    for r, split in enumerate(fit.pack.splits):
        x = torch.tensor(fit.pack.data.x[split.validation])
        mixture = predict(fit.pack, posterior, fit.pack.keys, x.expand(3, *x.shape), 1)
        component = normal(mixture.mean[r, 0], mixture.scale[r, 0])
        scores.append(component.log_prob(torch.tensor(fit.pack.data.y[split.validation])).mean())
    return torch.stack(scores)


@pytest.mark.parametrize(("burn_in", "end"), [(0.75, 150), (0.63, 126)])  # at a validation check, and between two
def test_the_iterates_go_on_from_the_best_state_of_the_fit(burn_in, end):
    """Brute force over the validation checks of the fit; from its best state, the first step of a new Adam has the
    length of its rate in every weight. What comes later is never chosen from, though a check may find it better."""
    cells = make_cells(Spy(0.1, burn_in=burn_in, swa_lr=1e-3), budget=replace(BUDGET, steps=200, validation_checks=10))
    fit, history = train(make_pack(cells), False)
    at = [*range(20, end, 20), end]
    best = torch.stack([validation(fit, tree_map(lambda leaf, t=t: leaf[:, t - 1], fit.draws)) for t in at]).argmax(0)
    kept = torch.tensor(at)[best]
    assert history.step_kept.tolist() == kept.tolist()
    assert (kept < end).any(), "the problem is to be one that overfits"
    for value in fit.draws.params.values():
        for r in range(3):
            step = (value[r, end] - value[r, kept[r] - 1]).abs()
            assert_close(step, torch.full_like(step, 1e-3), rtol=1e-3, atol=0)
    for name, value in fit.state.params.items():
        assert_close(value, fit.draws.params[name][:, -1], rtol=0, atol=0)
    assert history.curves["step"].tolist() == sorted({*range(20, 201, 20), end})


def test_without_early_stopping_the_iterates_go_on_from_the_last_state():
    cells = make_cells(Spy(0.1, swa_lr=1e-3, early_stopping=False), budget=replace(BUDGET, steps=40))
    fit, history = train(make_pack(cells), False)
    assert history.step_kept is None
    for value in fit.draws.params.values():
        step = (value[:, 30] - value[:, 29]).abs()
        assert_close(step, torch.full_like(step, 1e-3), rtol=1e-3, atol=0)


@pytest.mark.parametrize("steps", [1, 20, 200, 3000, 10_000, 17_200])
def test_the_fit_ends_at_one_step_in_any_precision(steps):
    """0.7 of 10,000 is 6,999.9998 where shares are kept in float32, as in a pack."""
    for burn_in in [i / 100 for i in range(1, 100)]:
        end = selection_end(SWAG(burn_in=burn_in).early_stopping_fraction, steps)
        assert abs(end - burn_in * steps) <= 0.5 or end == steps - 1
        if abs(burn_in * steps % 1 - 0.5) > 1e-3:
            assert int(phase_end(torch.tensor(burn_in, dtype=torch.float32), torch.tensor(float(steps)))) == end
        assert len(SWAG(burn_in=burn_in).schedule(steps)) > 0
