"""Taps: networks whose linear layers show their inputs and let their pre-activations be moved.

The gradient g with respect to an offset of zero is the gradient with respect to the pre-activation, and the layer's
weights have the gradient g a^T, a being the layer's input: all that curvature needs, for every example.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from bnnbench.errors import UserError


class _Scope(NamedTuple):
    offsets: Mapping[str, Tensor]
    inputs: dict[str, Tensor]


_stack: list[_Scope] = []


@contextmanager
def tapped(offsets: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Let the layers named in `offsets` add theirs [B, out] inside, and write their inputs [B, in] to what is yielded.

    The inputs belong to the functional transform that they were made in: return them from it (`has_aux`).
    """
    scope = _Scope(offsets, {})
    _stack.append(scope)
    try:
        yield scope.inputs
    finally:
        _stack.pop()


class TappedLinear(nn.Linear):
    """A linear layer that looks for its own name in the innermost `tapped` block; without one it is a plain layer."""

    tap: str

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        if not _stack or self.tap not in _stack[-1].offsets:
            return output
        if input.dim() != 2 or self.tap in _stack[-1].inputs:
            raise UserError(
                f"The layer {self.tap!r} is called more than once for an example, which curvature does not support."
            )
        _stack[-1].inputs[self.tap] = input
        return output + _stack[-1].offsets[self.tap]


def with_taps(network: nn.Module) -> nn.Module:
    """A copy of a plain network with tapped linear layers, which share its parameters' names.

    Raises:
        UserError: parameters stand in a layer that is not linear.
    """
    converted = copy.deepcopy(network)
    for name, layer in converted.named_modules():
        if type(layer) is nn.Linear:
            layer.__class__ = TappedLinear
            layer.tap = name  # type: ignore[assignment]
        elif any(True for _ in layer.parameters(recurse=False)):
            raise UserError(
                f"The layer {name!r} ({type(layer).__name__}) holds parameters that curvature does not support; "
                "only linear layers may."
            )
    return converted


def tap_names(network: nn.Module) -> list[str]:
    """Names of the tapped layers, first to last."""
    return [name for name, layer in network.named_modules() if isinstance(layer, TappedLinear)]
