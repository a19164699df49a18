"""What a flow makes of noise and of data, in numbers few enough to be stored."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bnnbench import random
from bnnbench.flows import Flow
from bnnbench.methods.flow import FlowFit, density
from bnnbench.model.autoencoder import Autoencoder
from bnnbench.run.engine import PREDICT
from bnnbench.run.train import Trained
from bnnbench.store.records import Series
from bnnbench.tasks import Points

POINTS, PATHS, LAYERS, IMAGES = 800, 300, 7, 8
LINES, REACH, BENDS = 21, 3.0, 41  # of the grid in the noise: lines a direction, half its side, points a line
STRIDE = 3  # of the grid on which densities are scored
LEAST = -20.0  # log-density below which all is one to the eye


def flow_pictures(trained: Trained, r: int, points: Points) -> dict[str, Series]:
    """Series by name, of one replica that `FlowFit` trained; nothing of other methods."""
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
        problem = density(pack.problem)
        rows = problem.rows
        shift, scale = (
            (torch.zeros(2), torch.ones(2)) if problem.drawn else (rows.x_shift[r].cpu(), rows.x_scale[r].cpu())
        )
        x = (torch.as_tensor(points.x[:POINTS], dtype=shift.dtype) - shift) / scale
        drawn = _plane(network, key, x, lambda own: shift + scale * own)
        assert pack.data.grid is not None
        assert pack.data.truth is not None
        grid, (log_p, _) = pack.data.grid, pack.data.truth
        log_q = network((torch.as_tensor(grid, dtype=shift.dtype) - shift) / scale) - scale.log().sum()
        return drawn | {"flow_density": _density(log_q, grid, log_p)}


def _plane(flow: Flow, key: Tensor, x: Tensor, data: Callable[[Tensor], Tensor]) -> dict[str, Series]:
    """Draws with their noise, data with theirs, the grid of the noise, and ways through the layers.

    Args:
        x: points in the flow's units. data: from those to the data's.
    """
    noise, lines = random.normal(key, (POINTS, 2)), _grid_lines()
    path = flow.path(noise)
    chosen = sorted(set(np.linspace(0, len(path) - 1, LAYERS).astype(int).tolist()))
    ways = torch.cat([path[i][:PATHS] for i in chosen])
    return {
        "flow_data": _pairs(x=data(x), z=flow.bijection(x)[0]),
        "flow_samples": _pairs(x=data(path[-1]), z=noise),
        "flow_warp": {"line": np.repeat(np.arange(2 * LINES), BENDS)}
        | _pairs(x=data(flow.bijection.inverse(lines)[0])),
        "flow_path": {"layer": np.repeat(chosen, PATHS), "point": np.tile(np.arange(PATHS), len(chosen))}
        | _pairs(x=ways),
    }


def _grid_lines() -> Tensor:
    """Points [2 LINES BENDS, 2] along vertical lines, one after the other, then along horizontal ones."""
    at, along = torch.linspace(-REACH, REACH, LINES), torch.linspace(-REACH, REACH, BENDS)
    vertical = torch.cartesian_prod(at, along)
    return torch.cat([vertical, vertical.flip(-1)])


def _density(log_q: Tensor, grid: np.ndarray, log_p: np.ndarray) -> Series:
    """Both log-densities on every STRIDE-th point of a square grid along either axis."""
    side = round(len(grid) ** 0.5)
    some = np.arange(len(grid)).reshape(side, side)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(-1)
    both = {"log_q": log_q.numpy()[some], "log_p": log_p[some]}
    return _pairs(x=torch.as_tensor(grid[some])) | {k: np.round(v.clip(min=LEAST), 2) for k, v in both.items()}


def _images(network: Autoencoder, key: Tensor, points: Points) -> Series:
    """Test images, what the mean of q(z | x) makes of them, and draws, as pixels one after the other."""
    x = torch.as_tensor(points.x[:IMAGES])
    z, _ = network.posterior(x, x.new_zeros(network.latent))
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
