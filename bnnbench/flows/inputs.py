"""What a flow is given: vectors, contexts, data to start from, numbers of draws; checked once, at its face."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from bnnbench import random
from bnnbench.errors import UserError


def check_vectors(x: Any, dim: int, own: torch.dtype | None) -> None:
    """x [..., dim] of the flow's precision: others would be broadcast by some layers, to numbers that mean nothing."""
    if not isinstance(x, Tensor):
        raise UserError(
            f"This flow takes a tensor [..., {dim}], not a {type(x).__name__}; `torch.as_tensor` makes one."
        )
    if x.shape[-1:] != (dim,):
        raise UserError(f"This flow takes vectors [..., {dim}], not {list(x.shape)}.")
    if own is not None and x.dtype != own:
        raise UserError(f"This flow is of {own} and cannot take {x.dtype}: convert one by `.to`.")


def check_context(context: Any, wanted: int, x: Tensor) -> None:
    """A context of every vector of x, or one for all; none where the flow takes none."""
    takes = f"a context [..., {wanted}]" if wanted else "no context"
    if context is None and not wanted:
        return
    if not isinstance(context, Tensor):
        raise UserError(f"This flow takes {takes}, not {'none' if context is None else f'a {type(context).__name__}'}.")
    if not wanted or context.shape[-1:] != (wanted,):
        raise UserError(f"This flow takes {takes}, not {list(context.shape)}.")
    if context.dtype != x.dtype:
        raise UserError(f"This flow is of {x.dtype} and cannot take a context of {context.dtype}: convert it by `.to`.")
    rows, given = x.shape[:-1], context.shape[:-1]
    fits = len(given) <= len(rows) and all(a in (1, b) for a, b in zip(reversed(given), reversed(rows), strict=False))
    if not fits:
        raise UserError(f"A context is one for all vectors or one for each: {list(context.shape)} is neither for "
                        f"{list(x.shape)}.")  # fmt: skip


def check_data(x: Any) -> None:
    """Data that something can start from: rows [N, dim] of finite numbers."""
    if not isinstance(x, Tensor):
        raise UserError(f"A flow starts from a tensor [N, dim], not a {type(x).__name__}.")
    if x.dim() != 2 or not len(x):
        raise UserError(f"A flow starts from rows of data [N, dim], not from {list(x.shape)}.")
    if not x.isfinite().all():
        raise UserError("A flow starts from finite data, but some of these are NaN or infinite.")


def check_draws(key: Any, n: Any) -> None:
    """A key, and how many draws are wanted."""
    if not random.is_key(key):
        given = f"a tensor {list(key.shape)} of {key.dtype}" if isinstance(key, Tensor) else repr(key)
        raise UserError(f"Draws take a key, `bnnbench.random.key(seed)`, not {given}.")
    check_whole("The number of draws", n, 0)


def check_whole(what: str, value: Any, least: int) -> None:
    """A dimension, or another number of things."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise UserError(f"{what} is a whole number of {least} or more, not {value!r}.")


def check_positive(what: str, value: Any, most: float = sys.float_info.max) -> None:
    """A bound, or another number above 0: a finite one, if infinity is not allowed as the most."""
    if not isinstance(value, Real) or not 0 < float(value) <= most:
        raise UserError(f"{what} is a {'finite ' * math.isfinite(most)}number above 0, not {value!r}.")


def check_widths(hidden: Any) -> None:
    """Widths of hidden layers."""
    if not isinstance(hidden, Sequence) or not all(isinstance(width, int) and width > 0 for width in hidden):
        raise UserError(f"Widths of hidden layers are numbers above 0, as in hidden=(64, 64), not {hidden!r}.")
