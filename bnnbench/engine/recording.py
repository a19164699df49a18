"""Weights and activations of a network's layers along training: their means, standard deviations and quantiles.

Seen at every validation check, on the first of the validation rows and with one weight sample. Layers that hold
parameters are recorded; activations are a layer's outputs before any nonlinearity that stands outside of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.engine.pack import Pack
from bnnbench.engine.step import over_replicas
from bnnbench.layers import keyed
from bnnbench.methods import Method
from bnnbench.model import Params, Problem
from bnnbench.model.likelihoods import LOG_NOISE
from bnnbench.model.posteriors import Posterior

ROWS = 256
SORTED = 2**16  # activations of a layer whose quantiles are taken, at most
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Layers that hold parameters of their own, by name."""
    return {name: layer for name, layer in network.named_modules() if any(True for _ in layer.parameters(False))}


def recorded(pack: Pack, posterior: Posterior, key: Tensor, x: Tensor) -> dict[str, np.ndarray]:
    """Columns `weight_mean/LAYER`, `activation_q05/LAYER` ... of all replicas [R]; empty without a network's weights.

    Args:
        key: of the weight sample, [R, 2]. x: inputs [R, N, ...] in original units, of which the first are used.
    """

    def one(method: Method, problem: Problem, key: Tensor, posterior: Posterior, x: Tensor) -> dict[str, Tensor]:
        weights = posterior.parameters(key, problem)
        return {} if weights is None else summary(problem, weights, x)

    with torch.no_grad():
        found = over_replicas(pack, one, key, posterior, x[:, :ROWS])
    return {name: value.cpu().numpy() for name, value in found.items()}


def summary(problem: Problem, weights: Params, x: Tensor) -> dict[str, Tensor]:
    """Statistics of one network at inputs in original units, 0-dim."""
    outputs: dict[str, Any] = {}
    owners = {name.rpartition(".")[0] for name in weights if name != LOG_NOISE}  # multipliers have no weight sample
    layers = {name: layer for name, layer in layers_of(problem.network).items() if name in owners}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: outputs.__setitem__(name, out))
        for name, layer in layers.items()
    ]
    try:
        # Dropout is left out; noisy layers are plain under a weight sample.
        with keyed(random.key(0, x.device), rate=0.0, shared=True):
            problem.apply(weights, problem.standardise(x))
    finally:
        for hook in hooks:
            hook.remove()
    columns = {}
    for name in layers:
        own = [v.reshape(-1) for k, v in weights.items() if k.rpartition(".")[0] == name and k != LOG_NOISE]
        columns |= _moments("weight", name, torch.cat(own))
        columns |= _moments("activation", name, outputs[name])
        ordered = outputs[name].reshape(-1)[:SORTED].sort().values
        for q, level in QUANTILES.items():
            columns[f"activation_{q}/{name}"] = ordered[round(level * (len(ordered) - 1))]
    return columns


def _moments(what: str, layer: str, values: Tensor) -> dict[str, Tensor]:
    return {f"{what}_mean/{layer}": values.mean(), f"{what}_std/{layer}": values.std(correction=0)}
