"""Flows as methods: what they fit, in which direction, and that a stored one comes back."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_cells, make_pack, make_problem, small

import bnnbench
from bnnbench import random
from bnnbench.flows import Inverse
from bnnbench.methods import METHODS
from bnnbench.model import DensityProblem, EnergyProblem
from bnnbench.model.density_problem import LogDensity, Unfitted
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS

FLOWS = [method.name for method in METHODS if "flow" in method.tags]
KINDS = ("density", "variational")
LIKE = {"budget": "smoke", "quiet": True}


RHO = 0.9
ROOT = torch.tensor([[1.0, 0.0, 0.0], [RHO, math.sqrt(1 - RHO**2), 0.0], [0.0, 0.0, 1.0]])
NORMAL = torch.distributions.MultivariateNormal(torch.zeros(3), scale_tril=ROOT)


def correlated(steps, sampled=False):
    """A normal with correlation RHO, by draws or by its log-density."""
    x = torch.zeros(5, 3)
    own = vars(make_problem(x, x[:, 0], LogDensity(), batch_size=128, steps=steps)) | {
        "network": Unfitted(3, sampled=sampled)
    }
    if sampled:
        return EnergyProblem(**own, log_density=lambda z: -0.5 * torch.linalg.solve(ROOT, z.mT).square().sum(0))
    return DensityProblem(**own, draw=lambda key, n: random.normal(key, (n, 3)) @ ROOT.mT)


def fitted(method, problem):
    """The prepared problem at its end, and the parameters before and after all of its steps."""
    own = method.prepare(problem)
    first = state = method.init(random.key(0), own)
    for t in range(problem.steps):
        state, _ = method.update(random.key(t), state, replace(own, t=torch.tensor(float(t))))
    return replace(own, t=torch.tensor(float(problem.steps))), first.params, state.params


@pytest.mark.parametrize(
    ("method", "sampled"),
    [(m, sampled) for m in FLOWS for sampled in (False, True) if KINDS[sampled] in METHODS.get(m).supports],
)
def test_a_fit_lowers_its_loss(method, sampled):
    problem, first, last = fitted(small(method), correlated(100, sampled))
    assert problem.loss(random.key(1), last) < problem.loss(random.key(1), first)


@pytest.mark.parametrize(("method", "above"), [("flow-gaussian", -0.5 * math.log(1 - RHO**2)), ("flow-maf", 0.0)])
def test_a_correlated_normal_is_recovered(method, above):
    """Its entropy is the least nll; independent dimensions miss it by -log(1 - rho^2) / 2."""
    problem, _, params = fitted(small(method), correlated(400))
    x = problem.draws(random.key(99), 20_000)
    nll = -float(problem.log_weights(params, x, problem.latent_noise(random.key(0), 1)).detach().mean())
    assert abs(nll - (float(NORMAL.entropy()) + above)) < 0.05


@pytest.mark.parametrize(("width", "pace"), [(16, 1), (64, 1), (256, 4)])
def test_wide_networks_learn_more_slowly(width, pace):
    """Adam's first step is the rate itself, whatever the gradient; only an output layer, which starts at 0, has one."""
    problem, lr = correlated(1), 1e-3
    method = METHODS.get("flow-maf")(width=width, lr=lr)
    _, before, after = fitted(method, problem)
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert moved == pytest.approx(lr / 25 / pace, rel=1e-2)


def test_a_flow_refuses_a_regression():
    with pytest.raises(TypeError, match="needs a density to fit"):
        make_pack(make_cells("flow-maf", "heteroscedastic"))


@pytest.mark.parametrize("method", ["flow-planar", "flow-radial"])
def test_the_direction_of_the_fit_is_the_closed_one(method):
    flow = METHODS.get(method)()
    assert isinstance(flow.flow(2, 0, sampled=True).bijection, Inverse)
    assert not isinstance(flow.flow(2, 0, sampled=False).bijection, Inverse)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("flows") / "flows.db"
    bnnbench.run(["flow-glow", "flow-maf", "flow-planar"], ["moons"], db=path, **LIKE)
    bnnbench.run(["flow-iaf", "flow-planar"], ["energy-2"], db=path, **LIKE)
    return path


@pytest.mark.parametrize(
    ("method", "task"),
    [("flow-glow", "moons"), ("flow-maf", "moons"), ("flow-iaf", "energy-2"), ("flow-planar", "energy-2")],
)
def test_a_loaded_flow_is_the_one_that_was_scored(db, method, task):
    with ResultStore(db, read_only=True) as store:
        found = store.attempts(task=task, method=method).iloc[-1]
        kept = store.artifact(found.fingerprint, "predictive")
    test = TASKS.get(task).splits("fixed")[0].test
    x = TASKS.get(task).data().x[test]
    posterior = bnnbench.load(db, found.fingerprint)
    np.testing.assert_array_equal(posterior.mixture(x).log_weights.numpy(), kept["test/log_weights"])
    np.testing.assert_allclose(posterior.predict(x)["log_density"], kept["test/log_weights"][0], rtol=1e-6)


def test_the_report_of_flows_has_its_tables_and_figures(db, tmp_path):
    bnnbench.report(db=db, out=tmp_path / "report")
    page = (tmp_path / "report" / "density-fixed.md").read_text()
    assert "density: divergence of the flow from the truth" in page
    figures = {path.stem for path in (tmp_path / "report" / "figures").glob("*.svg")}
    assert {"density-fixed-maps-moons", "density-fixed-energies", "density-fixed-densities"} <= figures


def test_settings_out_of_range_are_named():
    with pytest.raises(bnnbench.errors.UserError, match=r"flow-maf\.layers must be positive"):
        METHODS.get("flow-maf")(layers=0).check()
    with pytest.raises(bnnbench.errors.UserError, match=r"1500 bins of a spline, .* leave no room; take fewer"):
        METHODS.get("flow-spline-ar")(bins=1500).check()


@pytest.mark.parametrize(("method", "name"), [("flow-gaussian", "layers"), ("flow-planar", "width")])
def test_settings_without_effect_are_refused(method, name):
    METHODS.get(method)().check()
    with pytest.raises(bnnbench.errors.UserError, match=f"{method} has no {name}"):
        METHODS.get(method)(**{name: 7}).check()


def test_small_settings_are_small():
    assert small("flow-maf").layers == 2
