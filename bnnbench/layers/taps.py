"""Taps: networks whose linear and convolutional layers show their inputs and let their pre-activations be moved.

The gradient g with respect to an offset of zero is the gradient with respect to the pre-activation, and the layer's
weights have the gradient g a^T, a being the layer's input: all that curvature needs, for every example. A convolution
is a linear layer that is applied to the patch a_t of every location t of its output: its gradient is sum_t g_t a_t^T.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from bnnbench.errors import UserError


class _Scope(NamedTuple):
    offsets: Mapping[str, Tensor]
    inputs: dict[str, Tensor]


_stack: list[_Scope] = []


@contextmanager
def tapped(offsets: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Let the layers named in `offsets` add theirs inside, and write their inputs to what is yielded.

    Offsets and inputs are [B, out] and [B, in] of a linear layer, [B, T, out] and [B, T, in k k] of a convolution with
    T locations (an offset may have one location for all). The inputs belong to the functional transform that they were
    made in: return them from it (`has_aux`).
    """
    scope = _Scope(offsets, {})
    _stack.append(scope)
    try:
        yield scope.inputs
    finally:
        _stack.pop()


def _scope_of(name: str, single: bool) -> _Scope | None:
    """The innermost `tapped` block if it names the layer, whose call must be its first and of one vector an example."""
    if not _stack or name not in _stack[-1].offsets:
        return None
    if not single or name in _stack[-1].inputs:
        raise UserError(
            f"The layer {name!r} is called more than once for an example, which curvature does not support."
        )
    return _stack[-1]


class TappedLinear(nn.Linear):
    """A linear layer that looks for its own name in the innermost `tapped` block; without one it is a plain layer."""

    tap: str

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        scope = _scope_of(self.tap, input.dim() == 2)
        if scope is None:
            return output
        scope.inputs[self.tap] = input
        return output + scope.offsets[self.tap]


class TappedConv2d(nn.Conv2d):
    """The same for a convolution."""

    tap: str

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        scope = _scope_of(self.tap, input.dim() == 4)
        if scope is None:
            return output
        scope.inputs[self.tap] = self._patches(input)
        return (output.flatten(2) + scope.offsets[self.tap].mT).reshape(output.shape)

    def _patches(self, input: Tensor) -> Tensor:
        """[B, T, in k k], a patch in the order of the weight's numbers."""
        padding = self._reversed_padding_repeated_twice  # of every side: "same" may pad two sides unequally
        return F.unfold(F.pad(input, padding), self.kernel_size, dilation=self.dilation, stride=self.stride).mT


TAPPED = {nn.Linear: TappedLinear, nn.Conv2d: TappedConv2d}


def with_taps(network: nn.Module) -> nn.Module:
    """A copy of a plain network with tapped layers, which share its parameters' names.

    Raises:
        UserError: parameters stand in a layer that is neither linear nor a plain convolution.
    """
    converted = copy.deepcopy(network)
    for name, layer in converted.named_modules():
        if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"):
            raise UserError(
                f"The convolution {name!r} has groups={layer.groups} and padding_mode={layer.padding_mode!r}; "
                "curvature supports groups=1 and padding_mode='zeros' alone."
            )
        if type(layer) in TAPPED:
            layer.__class__ = TAPPED[type(layer)]
            layer.tap = name  # type: ignore[assignment]
        elif any(True for _ in layer.parameters(recurse=False)):
            raise UserError(
                f"The layer {name!r} ({type(layer).__name__}) holds parameters that curvature does not support; "
                "only nn.Linear and nn.Conv2d may."
            )
    return converted


def tap_names(network: nn.Module) -> list[str]:
    """Names of the tapped layers, first to last."""
    return [name for name, layer in network.named_modules() if isinstance(layer, tuple(TAPPED.values()))]
