"""The certified posteriors against NUTS of another library, on the model written anew in its language (`nuts_peer.py`).

Nothing of bnnbench is used there but the data.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from helpers import make_problem

import bnnbench
from bnnbench.model.problem import Batch
from bnnbench.tasks import TASKS

pytestmark = pytest.mark.skipif(importlib.util.find_spec("blackjax") is None, reason="BlackJAX is not installed")
NAMES = ["fidelity-toy-homoscedastic", "fidelity-toy-heteroscedastic", "fidelity-yacht"]


def rows_of(task, root):
    """What the peer is given: standardised rows, and the form of the model; and the target's shift and scale."""
    data, split = task.data(root), task.splits(task.rules[0], root)[0]
    x, y = np.asarray(data.x, float), np.asarray(data.y, float).ravel()
    shift, unit = y[split.train].mean(), y[split.train].std()
    centred = (x - x[split.train].mean(0)) / x[split.train].std(0)
    shared = task.noise == "homoscedastic"
    widths = [x.shape[1], *task.hidden, 1 if shared else 2]
    rows = {"x": centred[split.train], "y": (y[split.train] - shift) / unit, "test": centred[split.test]}
    return rows | {"floor": task.noise_floor, "shared": shared, "widths": widths}, shift, unit


def asked(what, given, folder):
    """The peer's answer."""
    np.savez(folder / "in.npz", **given)
    program = Path(__file__).with_name("nuts_peer.py")
    subprocess.run([sys.executable, str(program), what, str(folder / "in.npz"), str(folder / "out.npz")], check=True)
    return dict(np.load(folder / "out.npz"))


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_that_of_bnnbench(name, data_root, tmp_path):
    """Differences of the log joint between random networks."""
    task = TASKS.get(name)
    given, _, _ = rows_of(task, data_root)
    found = asked("density", given, tmp_path)
    x, y = (torch.tensor(given[part], dtype=torch.float64) for part in ("x", "y"))
    problem, batch = make_problem(x, y, task.likelihood("fixed"), hidden=task.hidden), Batch(x, y, torch.ones(len(x)))
    ours = [-float(problem.n * problem.energy(as_ours(found, seed), batch)) for seed in range(4)]
    theirs = [float(found[f"{seed}/log_joint"]) for seed in range(4)]
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), rtol=1e-4)


def as_ours(found, seed):
    """The same parameters under bnnbench's names, weights and not standardised weights."""
    params = {"log_noise": torch.tensor(float(found[f"{seed}/noise"]), dtype=torch.float64)}
    for i in range(sum(name.startswith(f"{seed}/weight") for name in found)):
        weight = found[f"{seed}/weight{i}"].astype(float)
        params[f"layers.{i}.weight"] = torch.tensor(weight.T * (2 / len(weight)) ** 0.5)
        params[f"layers.{i}.bias"] = torch.tensor(found[f"{seed}/bias{i}"].astype(float))
    return params


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES[:2])  # of yacht it takes hours
def test_nuts_finds_the_certified_posterior(name, data_root, tmp_path):
    """Centre and spread of predicted means and log scales, in standard deviations of the posterior, within the Monte
    Carlo error of the 200 components that are shipped; in the mean over test rows, which are far from independent."""
    given, shift, unit = rows_of(TASKS.get(name), data_root)
    found = asked("draws", given, tmp_path)
    assert found["divergent"].mean() < 1e-3
    with np.load(Path(bnnbench.__file__).parent / "posteriors" / f"{name}.npz") as shipped:
        gold = (shipped["test/mean"] - shift) / unit, np.log(shipped["test/scale"] / unit)
    error = len(gold[0]) ** -0.5
    for drawn, known in zip((found["means"], found["log_scales"]), gold, strict=True):
        assert np.quantile(array_stats.rhat(drawn, chain_axis=0, draw_axis=1), 0.95) < 1.05
        drawn = drawn.reshape(-1, drawn.shape[-1])
        spread = drawn.std(0)
        assert np.sqrt(np.mean(((drawn.mean(0) - known.mean(0)) / spread) ** 2)) < 3 * error
        assert np.sqrt(np.mean(np.log(known.std(0) / spread) ** 2)) < 3 * error / 2**0.5
