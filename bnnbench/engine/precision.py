"""Precision of the matrix products of training steps.

All is computed in float32. Large networks are bound by their products, and some hardware multiplies faster what is
rounded first: to 10 bits behind the binary point (TF32, NVIDIA GPUs from Ampere on) or to 7 (bfloat16, processors with
AMX or AVX-512 BF16), with sums in float32. On request the updates of large networks do so, of methods that declare it:
rounding then is one more noise of a minibatch's gradient. Curvature, predictions and Metropolis tests, which it would
make wrong, keep all digits. PyTorch rounds the convolutions of a GPU by default, and all products where a session asks
for it, so that float32 is set, too.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from bnnbench.arguments import text_of
from bnnbench.engine.cell import Cell
from bnnbench.engine.packing import is_large_cell
from bnnbench.errors import UserError

FLOAT32 = "float32"
OF_DEVICE = {"cuda": "tf32", "cpu": "bf16"}
_NAMES = {FLOAT32: ("highest", "ieee", "ieee"), "tf32": ("high", "tf32", "tf32"), "bf16": ("medium", "tf32", "bf16")}
_backends: Any = torch.backends
_CUDA = _backends.cuda.matmul, _backends.cudnn.conv, _backends.cudnn.rnn
_CPU = _backends.mkldnn.matmul, _backends.mkldnn.conv, _backends.mkldnn.rnn
OPERATIONS = *_CUDA, *_CPU  # each with a setting of its own
_one_at_a_time = threading.RLock()  # the precision is the process's, not a thread's


def precision_of(asked: Any, device: torch.device, here: bool = True) -> str:
    """The precision that is asked for.

    Args:
        here: whether it is this machine that computes.

    Raises:
        UserError: no such precision, one of other devices, or one that changes nothing on this machine.
    """
    name, own = text_of(asked, "--precision"), OF_DEVICE[device.type]
    if name not in (FLOAT32, own):
        raise UserError(f"--precision must be {FLOAT32} or {own} on device {device.type}, not {name!r}.")
    if here and name != FLOAT32 and not is_rounded(name, device):
        raise UserError(f"--precision {name} changes no product on this machine; leave it out.")
    return name


@functools.cache
def is_rounded(precision: str, device: torch.device) -> bool:
    """Whether products on this device differ by it: hardware without it computes in float32 and does not say so."""
    x = torch.linspace(0, 1, 2**16, dtype=torch.float32, device=device).reshape(256, 256)
    with computing_in(FLOAT32):
        exact = x @ x
    with computing_in(precision):
        return not torch.equal(x @ x, exact)


def precision_for(cell: Cell, asked: str) -> str:
    """The precision of a cell's updates: float32 unless its network is large and its method can do with less."""
    if asked == FLOAT32 or not cell.method.takes_rounded_products:
        return FLOAT32
    try:
        return asked if is_large_cell(cell) else FLOAT32
    except Exception:  # what cannot be sized says why when it is trained
        return FLOAT32


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Multiply and convolve in this precision; other threads that want to compute wait."""
    products, cuda, cpu = _NAMES[precision]
    with _one_at_a_time:
        before = *_older(), [operation.fp32_precision for operation in OPERATIONS]
        _set(products, precision != FLOAT32, [cuda] * len(_CUDA) + [cpu] * len(_CPU))
        try:
            yield
        finally:
            _set(*before)


def _older() -> tuple[str, bool]:
    """PyTorch's older settings; its defaults where the newer ones contradict them, and it refuses to tell."""
    with suppress(RuntimeError):
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    return "highest", True


def _set(products: str, convolutions: bool, operations: Sequence[str]) -> None:
    """The older settings, which code may still ask for, and those of each operation, which count."""
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions
    for operation, precision in zip(OPERATIONS, operations, strict=True):
        operation.fp32_precision = precision
