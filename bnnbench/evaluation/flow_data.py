"""What a flow makes of noise and of data, in numbers few enough to be stored."""

from __future__ import annotations

import copy
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.data.arrays import Data
from bnnbench.engine.fit import Trained
from bnnbench.engine.predict import one_of
from bnnbench.engine.step import PREDICT
from bnnbench.evaluation.rounding import multiples
from bnnbench.flows import Flow
from bnnbench.model import AutoencoderProblem, DensityProblem, DensityTruth, Problem, Rows
from bnnbench.model.autoencoder import Autoencoder
from bnnbench.records import Series
from bnnbench.tasks import TestSet

Curves = dict[str, Series]

POINTS, IMAGES = 800, 8
STRIDE = 3  # of the grid on which densities are scored
LEAST = -15.0  # log-density below which all is one to the eye
POINT, NODE = 2.0**-8, 2.0**-10  # units of coordinates: of points, and of the grid, whose colours are to fit it
NATS, GREY = 2.0**-6, 2.0**-7  # units of log-densities, and of pixels


def flow_data(fitted: Trained, r: int, test_set: TestSet) -> Curves:
    """Series by name, of one replica's flow; nothing of what has no parameters of a flow."""
    pack = fitted.pack
    key = random.fold_in(pack.keys[r], PREDICT)
    params = one_of(fitted.posterior, r).parameters(key, pack.problem)
    if params is None:
        return {}
    network = copy.deepcopy(pack.problem.network).cpu()
    network.load_state_dict({name: value.cpu() for name, value in params.items()}, strict=False)
    rows = Rows(*(value[r] for value in pack.problem.rows))
    with torch.no_grad():
        return _pictures(
            pack.problem_of(pack.problem.table, rows, pack.problem.t), network, key.cpu(), test_set, pack.data
        )


@singledispatch
def _pictures(problem: Problem, network: nn.Module, key: Tensor, test_set: TestSet, data: Data) -> Curves:
    """What a kind of problem has to show."""
    return {}


@_pictures.register
def _of_images(problem: AutoencoderProblem, network: Autoencoder, key: Tensor, test_set: TestSet, data: Data) -> Curves:
    return {"vae_images": _images(network, key, test_set)}


@_pictures.register
def _of_density(problem: DensityProblem, network: Flow, key: Tensor, test_set: TestSet, data: Data) -> Curves:
    if network.dim != 2:
        return {}
    plane = _plane(network, key, problem, test_set)
    return plane if data.truth is None else plane | {"flow_density": _density(network, problem, data)}


def _units(problem: DensityProblem) -> tuple[Tensor, Tensor]:
    """Shift and scale [2] from the flow's units to the data's, in the flow's dtype."""
    dtype = problem.t.dtype
    return problem.rows.x_shift.to("cpu", dtype), problem.rows.x_scale.to("cpu", dtype)


def _plane(flow: Flow, key: Tensor, problem: DensityProblem, test_set: TestSet) -> Curves:
    """Draws with their noise, and data with theirs."""
    shift, scale = _units(problem)
    noise = random.normal(key, (POINTS, 2)).to(scale)
    draws = _pairs(x=shift + scale * flow.bijection.inverse(noise)[0], z=noise)
    found: Curves = {"flow_samples": multiples(draws, POINT)}
    if problem.draw is not None:  # an energy has no data
        x = torch.as_tensor(test_set.x[:POINTS], dtype=shift.dtype)
        found["flow_data"] = multiples(_pairs(x=x, z=flow.bijection((x - shift) / scale)[0]), POINT)
    return found


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
    return {**multiples(_pairs(x=x), NODE), **multiples({k: v.clip(min=LEAST) for k, v in both.items()}, NATS)}


def _images(network: Autoencoder, key: Tensor, test_set: TestSet) -> Series:
    """Test images, each rebuilt from what `posterior` gives without noise, and draws, as pixels one after the other."""
    x = torch.as_tensor(test_set.x[:IMAGES])
    z, _ = network.posterior(x)
    noise = random.normal(key, (IMAGES, network.latent))
    images = torch.cat([x, network.decoder(z).sigmoid(), network.decoder(noise).sigmoid()])
    kind, image = np.repeat(np.arange(3), IMAGES), np.tile(np.arange(IMAGES), 3)
    pixels = {"pixel": images.reshape(-1).numpy()}
    return {"kind": np.repeat(kind, x.shape[1]), "image": np.repeat(image, x.shape[1]), **multiples(pixels, GREY)}


def _pairs(**columns: Tensor) -> dict[str, np.ndarray]:
    """`x0` and `x1` of points x [N, 2]."""
    return {f"{name}{i}": value[:, i].numpy() for name, value in columns.items() for i in (0, 1)}
