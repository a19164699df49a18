"""Precision of the matrix products of training steps.

All is computed in float32. Large networks are bound by their products, and some hardware multiplies faster what is
rounded first: to 10 bits behind the binary point (TF32, NVIDIA GPUs from Ampere on) or to 7 (bfloat16, processors with
AMX or AVX-512 BF16), with sums in float32. On request the updates of methods on large networks do so. Rounding then is
one more noise of a minibatch's gradient; curvature, predictions and Metropolis tests, which would be wrong by it, keep
all digits. A float32 that a user's session or PyTorch itself rounds (its convolutions on a GPU do so by default) is
none, so that it is set, too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bnnbench.arguments import text_of
from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import is_large_cell
from bnnbench.errors import UserError

FLOAT32 = "float32"
OF_DEVICE = {"cuda": {"tf32": "high"}, "cpu": {"bf16": "medium"}}  # PyTorch's own names


def precision_of(asked: str, device: torch.device) -> str:
    """The precision that is asked for.

    Raises:
        UserError: no such precision, one of other devices, or one that changes nothing on this one.
    """
    name, own = text_of(asked, "--precision"), OF_DEVICE[device.type]
    if name == FLOAT32:
        return name
    if name not in own:
        raise UserError(f"--precision must be {FLOAT32} or {' or '.join(own)} on device {device.type}, not {name!r}.")
    if not is_rounded(name, device):
        raise UserError(f"--precision {name} changes no product on this device; leave it out.")
    return name


@functools.cache
def is_rounded(precision: str, device: torch.device) -> bool:
    """Whether products on this device differ by it: hardware without it computes in float32 and does not say so."""
    x = torch.linspace(0, 1, 2**16, device=device).reshape(256, 256)
    with products(FLOAT32):
        exact = x @ x
    with products(precision):
        return not torch.equal(x @ x, exact)


def precision_for(cell: Cell, asked: str) -> str:
    """The precision of a cell's updates: float32 unless its network is large and its method can do with less."""
    try:
        return asked if asked != FLOAT32 and cell.method.takes_rounded_products and is_large_cell(cell) else FLOAT32
    except Exception:  # what cannot be sized says why when it is trained
        return FLOAT32


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Compute the products of linear layers and of a GPU's convolutions in this precision."""
    names = {FLOAT32: "highest", **OF_DEVICE["cuda"], **OF_DEVICE["cpu"]}
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _set(names[precision], precision != FLOAT32)
    try:
        yield
    finally:
        _set(*before)


def _set(products: str, convolutions: bool) -> None:
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions
