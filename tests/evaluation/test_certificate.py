"""The certificate of chains: its numbers, each against arviz or by hand, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from helpers import CPU

from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.engine.train import train
from bnnbench.evaluation.certificate import certificate, log_joints
from bnnbench.evaluation.diagnostics import as_mapping
from bnnbench.methods.hmc import HMC
from bnnbench.model import CategoricalPredictive, GaussianPredictive
from bnnbench.tasks import TASKS

CHAINS, DRAWS, POINTS = 8, 500, 5


def predictive(seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = CHAINS * DRAWS, POINTS
    return GaussianPredictive(
        torch.randn(size, generator=generator).double(), torch.rand(size, generator=generator).double() + 0.5
    )


def joint(seed=1):
    return torch.randn(CHAINS * DRAWS, generator=torch.Generator().manual_seed(seed))


def numbers(p, log_joint, divergent=0.0):
    return as_mapping((certificate(p, log_joint, CHAINS, divergent),), "certificate")


def test_independent_draws_are_certified():
    found = numbers(predictive(), joint())
    assert found["certified"] == 1
    assert 0.7 * CHAINS * DRAWS < found["ess_median"] < 1.3 * CHAINS * DRAWS


def test_numbers_against_arviz():
    """R-hat of every quantity is the largest of all chains and of either half of them."""
    p, log_joint = predictive(3), joint(4)
    series = [p.mean[:, n] for n in range(POINTS)] + [p.scale[:, n].log() for n in range(POINTS)]
    parts = slice(0, 8), slice(0, 4), slice(4, 8)

    def rhat(values):
        values = values.double().reshape(CHAINS, DRAWS).numpy()
        return max(array_stats.rhat(values[part], method="rank") for part in parts)

    all_rhats = [rhat(values) for values in series]
    found = numbers(p, log_joint, 0.0004)
    assert found["rhat_all"] == pytest.approx(max(all_rhats))
    assert found["rhat_95"] == pytest.approx(np.quantile(all_rhats, 0.95))
    assert found["rhat_log_joint"] == pytest.approx(rhat(log_joint))
    assert found["trajectories_divergent"] == 0.0004


def test_two_starts_that_found_different_modes_are_refused():
    """Each half agrees with itself, at one point of five only."""
    p = predictive()
    p.mean[: CHAINS * DRAWS // 2, 0] += 1
    found = numbers(p, joint())
    assert found["certified"] == 0
    assert found["rhat_all"] > 1.05
    assert found["rhat_95"] > 1.01


def test_one_start_whose_chains_disagree_is_refused():
    """The two chains of the first half that differ are hidden by six that do not, were all taken together."""
    p = predictive()
    p.scale[: 2 * DRAWS] *= 1.2
    assert numbers(p, joint())["certified"] == 0


@pytest.mark.parametrize("divergent", [0.0011, 0.5])
def test_lost_trajectories_are_refused(divergent):
    assert numbers(predictive(), joint(), divergent)["certified"] == 0


def test_a_wandering_log_joint_is_refused():
    assert numbers(predictive(), joint() + torch.arange(CHAINS).repeat_interleave(DRAWS))["certified"] == 0


def test_classes():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(CHAINS * DRAWS, POINTS, 3, generator=generator).double()
    found = numbers(CategoricalPredictive(logits.log_softmax(-1)), joint())
    assert found["certified"] == 1
    logits[: CHAINS * DRAWS // 2, 0, 0] += 1
    assert numbers(CategoricalPredictive(logits.log_softmax(-1)), joint())["certified"] == 0


def test_log_joints():
    """log p(data, w) of every draw, in the order of the draws, written out for a network without hidden layers."""
    task = replace(TASKS.get("toy-homoscedastic"), name="line", source="toy-homoscedastic", hidden=())
    method = HMC(num_chains=2, samples=3, steps_multiplier=1)
    pack = stack([Cell(task, method, "fixed", 0, 0, task.budget("smoke"))], CPU)
    fitted, _ = train(pack, compiled=False)
    got, rows = log_joints(fitted)[0], pack.problem.rows
    params = {name: value[0].double() for name, value in fitted.posterior.params.items()}
    x = ((pack.problem.table.x - rows.x_shift[0]) / rows.x_scale[0])[rows.index[0]].double()
    y = ((pack.problem.table.y - rows.y_shift[0]) / rows.y_scale[0])[rows.index[0]].double()
    assert got.shape == (6,)
    for s in range(6):
        w, b, noise = (params[name][s] for name in ("layers.0.weight", "layers.0.bias", "log_noise"))
        normal = torch.distributions.Normal
        want = normal((x @ w.T + b)[:, 0], 1e-3 + noise.exp()).log_prob(y).sum()
        want += normal(0.0, (2 / x.shape[1]) ** 0.5).log_prob(w).sum() + normal(0.0, 1.0).log_prob(b).sum()
        want += normal(-1.0, 1.0).log_prob(noise)
        assert got[s].item() == pytest.approx(want.item(), rel=1e-4)
