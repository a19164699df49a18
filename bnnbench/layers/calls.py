"""How a converted network is called: which arguments are the network's, which one is the key, and what comes out."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from bnnbench.errors import UserError
from bnnbench.random import is_key

Inputs = tuple[Any, ...]


def places(network: nn.Module) -> int:
    """How many inputs the network's forward pass takes by position."""
    kinds = [parameter.kind for parameter in inspect.signature(network.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return sys.maxsize
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def told_apart(inputs: Inputs, key: Any, room: int) -> tuple[Inputs, Tensor | None]:
    """The network's inputs and the key, which goes by its name; by position only where the network has no room for it.

    Args:
        inputs: what was given by position. key: what was given by that name. room: see `places`.

    Raises:
        UserError: a key is none, or something by position may be meant as one.
    """
    last = inputs[-1] if len(inputs) > 1 else None
    if key is None and _single_key(last):
        if len(inputs) <= room:
            raise UserError(
                "The int32 tensor of shape [2] by position may be a key or an input of the network; give a key as "
                "`key=...`, an input by its own name."
            )
        inputs, key = inputs[:-1], last
    for number in filter(_whole, inputs[1:]):
        raise UserError(
            f"The number {number} by position is no key, and may be no input; give a key as "
            f"`key=bnnbench.random.key({number})`, an input of the network by its own name."
        )
    if key is not None and not _single_key(key):
        given = f"a tensor {list(key.shape)} of {key.dtype}" if isinstance(key, Tensor) else repr(key)
        raise UserError(
            f"A key is `bnnbench.random.key(seed)`, not {given}; an input of the network that is called `key` goes by "
            "position."
        )
    return inputs, key


def number_of(inputs: Inputs, samples: Any) -> tuple[Inputs, int]:
    """The inputs without the number among them, and the number of draws: that one, or the one given by name.

    Raises:
        UserError: there is none, or more than one, or it is no number above 0.
    """
    numbers = [one for one in inputs[1:] if _whole(one)]
    if samples is None and len(numbers) == 1:
        samples, inputs = numbers[0], (inputs[0], *(one for one in inputs[1:] if not _whole(one)))
    if not isinstance(samples, Integral) or samples < 1:
        raise UserError(f"A prediction takes one draw or more, not {samples}; give their number as `samples=20`.")
    return inputs, int(samples)


def stacked(outputs: Sequence[Any]) -> Any:
    """Outputs of equal structure as one, whose tensors have them along a new leading dimension.

    Structures are tuples (named ones too), lists, dictionaries and dataclasses. What is no tensor and the same in all
    stays as it is.

    Raises:
        UserError: tensors differ in shape, or other things differ.
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        shapes = {tuple(output.shape) for output in outputs}
        if len(shapes) > 1:
            raise UserError(
                f"The network's outputs have a shape that differs from draw to draw, {sorted(shapes)[:2]}, and cannot "
                "be stacked; call it once for each draw."
            )
        return torch.stack(list(outputs))
    if isinstance(first, Mapping):
        parts = {name: stacked([output[name] for output in outputs]) for name in first}
        return type(first)(**parts) if dataclasses.is_dataclass(first) else type(first)(parts)  # type: ignore[call-arg]
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return dataclasses.replace(
            first, **{name: stacked([getattr(output, name) for output in outputs]) for name in names}
        )
    if isinstance(first, tuple | list):
        parts = [stacked(column) for column in zip(*outputs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if any(output is not first and output != first for output in outputs):
        raise UserError(
            f"The network's outputs hold a {type(first).__name__} that differs from draw to draw and cannot be "
            "stacked; return a tensor."
        )
    return first


def _single_key(value: object) -> bool:
    return is_key(value) and value.dim() == 1  # type: ignore[attr-defined]


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
