"""Keyed initialisation of any network: PyTorch's default, drawn from a key instead of the global generator."""

import math

from torch import Tensor, nn

from bnnbench import random

Params = dict[str, Tensor]  # parameters by name


def fan_in(weight: Tensor) -> int:
    """Inputs feeding one output unit of a weight of shape [out, in, ...]."""
    return math.prod(weight.shape[1:])


def initialise(network: nn.Module, key: Tensor) -> Params:
    """Parameters by name, weights and biases of each layer from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    One draw serves all layers: small draws are bound by their dispatch. Parameters of layers without a weight
    matrix (LayerNorm and the like), or that say `starts_at_zero`, keep the module's own values.
    """
    bounds: dict[str, float] = {}
    for prefix, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() >= 2 and not getattr(module, "starts_at_zero", False):
            for name, _ in module.named_parameters(recurse=False):
                bounds[f"{prefix}.{name}" if prefix else name] = 1 / math.sqrt(fan_in(weight))
    sizes = {name: network.get_parameter(name).numel() for name in bounds}
    noise = random.uniform(key, (sum(sizes.values()),)) * 2 - 1
    params, start = {}, 0
    for name, value in network.named_parameters():
        if name not in bounds:
            params[name] = value.detach().clone().to(key.device)
            continue
        params[name] = (bounds[name] * noise[start : start + sizes[name]]).reshape(value.shape).to(value.dtype)
        start += sizes[name]
    return params
