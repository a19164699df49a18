"""What docs/adapters.md says was found in libraries is still so: its examples are run, and their numbers looked at.

A failure is good news, or a mistake of ours: take the paragraph out, or put it right.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


def printed(library, capsys):
    """Numbers that the page's example of a library prints, a row a line."""
    pytest.importorskip(library, exc_type=ImportError)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if f"from {library}" in block]
    torch.manual_seed(0)
    exec(compile(block, "adapters.md", "exec"), {})
    return [[float(number) for number in line.split()] for line in capsys.readouterr().out.splitlines()]


def test_bayesian_torch_takes_the_mean_over_weights(capsys):
    kls = {int(count): kl for count, kl in printed("bayesian_torch", capsys)}
    assert list(kls) == [1, 100, 10_000]
    sigma = torch.nn.functional.softplus(torch.tensor(-3.0))
    one = float(-sigma.log() + sigma**2 / 2 - 0.5)  # KL of a single weight, prior N(0, 1)
    assert list(kls.values()) == pytest.approx([one] * 3, abs=1e-5)


def test_torch_uncertainty_takes_the_mean_over_layers(capsys):
    kls = {int(depth): kl for depth, kl in printed("torch_uncertainty", capsys)}
    assert list(kls) == [1, 2, 4]
    assert kls[2] == pytest.approx(kls[1], rel=0.1)
    assert kls[4] == pytest.approx(kls[1], rel=0.1)


def test_sghmc_of_posteriors_is_hot_by_euler(capsys):
    """Variance of a normal target with curvature 1 at lr = 0.2, alpha = 1: that of its recursion, not 1."""
    posteriors = pytest.importorskip("posteriors", exc_type=ImportError)
    torch.manual_seed(0)
    lr, chains = 0.2, 20_000

    def log_density(weights, batch):
        return -0.5 * (weights["w"] ** 2).sum(), torch.zeros(())

    transform = posteriors.sgmcmc.sghmc.build(log_density, lr, alpha=1.0)
    state = transform.init({"w": torch.randn(chains)})
    for _ in range(150):
        state, _ = transform.update(state, None)
    step = torch.tensor([[1.0, lr], [-lr, 1 - lr]], dtype=torch.float64)
    noise, exact = torch.tensor([[0.0, 0.0], [0.0, 2 * lr]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    for _ in range(2000):
        exact = step @ exact @ step.T + noise
    assert float(exact[0, 0]) > 1.2
    assert float(state.params["w"].var()) == pytest.approx(float(exact[0, 0]), rel=0.06)
