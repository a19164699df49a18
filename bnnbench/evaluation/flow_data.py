"""What a flow makes of noise and of data, in numbers few enough to be stored."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.data.arrays import Data
from bnnbench.engine.step import PREDICT
from bnnbench.engine.train import Trained
from bnnbench.flows import Flow
from bnnbench.methods.flow import FlowFit, density
from bnnbench.model import DensityProblem, DensityTruth, EnergyProblem, Rows
from bnnbench.model.autoencoder import Autoencoder
from bnnbench.records import Series
from bnnbench.tasks import TestSet

POINTS, IMAGES = 800, 8
STRIDE = 3  # of the grid on which densities are scored
LEAST = -20.0  # log-density below which all is one to the eye


def flow_pictures(trained: Trained, r: int, points: TestSet) -> dict[str, Series]:
    """Series by name, of one replica that `FlowFit` trained; nothing of other methods and dimensions."""
    pack = trained.pack
    if not isinstance(pack.method, FlowFit):
        return {}
    network = copy.deepcopy(pack.problem.network).cpu()
    network.load_state_dict({k: v[r].cpu() for k, v in trained.state.params.items()}, strict=False)
    key = random.fold_in(pack.keys[r].cpu(), PREDICT)
    with torch.no_grad():
        if isinstance(network, Autoencoder):
            return {"vae_images": _images(network, key, points)}
        assert isinstance(network, Flow)
        rows = Rows(*(value[r] for value in pack.problem.rows))
        problem = density(pack.problem_of(pack.problem.table, rows, pack.problem.t))
        if network.dim != 2:
            return {}
        drawn = _plane(network, key, problem, points)
        return drawn if pack.data.truth is None else drawn | {"flow_density": _density(network, problem, pack.data)}


def _units(problem: DensityProblem) -> tuple[Tensor, Tensor]:
    """Shift and scale [2] from the flow's units to the data's, in the flow's dtype."""
    dtype = problem.t.dtype
    return problem.rows.x_shift.to("cpu", dtype), problem.rows.x_scale.to("cpu", dtype)


def _plane(flow: Flow, key: Tensor, problem: DensityProblem, points: TestSet) -> dict[str, Series]:
    """Draws with their noise, and data with theirs."""
    shift, scale = _units(problem)
    noise = random.normal(key, (POINTS, 2)).to(scale)
    drawn: dict[str, Series] = {"flow_samples": _pairs(x=shift + scale * flow.bijection.inverse(noise)[0], z=noise)}
    if not isinstance(problem, EnergyProblem):  # which has no data
        x = torch.as_tensor(points.x[:POINTS], dtype=shift.dtype)
        drawn["flow_data"] = _pairs(x=x, z=flow.bijection((x - shift) / scale)[0])
    return drawn


def _density(flow: Flow, problem: DensityProblem, data: Data) -> Series:
    """Both log-densities on every STRIDE-th point of the task's square grid along either axis."""
    assert data.grid is not None
    assert isinstance(data.truth, DensityTruth)
    side = round(len(data.grid) ** 0.5)
    some = np.arange(len(data.grid)).reshape(side, side)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(-1)
    shift, scale = _units(problem)
    x = torch.as_tensor(data.grid[some], dtype=shift.dtype)
    log_q = flow((x - shift) / scale) - scale.log().sum()
    both = {"log_q": log_q.numpy(), "log_p": data.truth.log_density[some]}
    return _pairs(x=x) | {k: np.round(v.clip(min=LEAST), 2) for k, v in both.items()}


def _images(network: Autoencoder, key: Tensor, points: TestSet) -> Series:
    """Test images, each rebuilt from what `posterior` gives without noise, and draws, as pixels one after the other."""
    x = torch.as_tensor(points.x[:IMAGES])
    z, _ = network.posterior(x)
    drawn = random.normal(key, (IMAGES, network.latent))
    images = torch.cat([x, network.decoder(z).sigmoid(), network.decoder(drawn).sigmoid()])
    kind, image = np.repeat(np.arange(3), IMAGES), np.tile(np.arange(IMAGES), 3)
    return {
        "kind": np.repeat(kind, x.shape[1]),
        "image": np.repeat(image, x.shape[1]),
        "pixel": np.round(images.reshape(-1).numpy(), 2),
    }


def _pairs(**columns: Tensor) -> dict[str, np.ndarray]:
    """`x0` and `x1` of points x [N, 2], to a thousandth."""
    return {f"{name}{i}": np.round(value[:, i].numpy(), 3) for name, value in columns.items() for i in (0, 1)}
