"""Matrix products of large networks by oneDNN, where torch's own library runs at half of the processor's rate.

On processors that are not Intel's, MKL does without their widest instructions (measured on an AMD EPYC with AVX-512,
2,000 x 1200 by 1200 x 1200 in float32, two threads: MKL 180, oneDNN 400 GFLOP/s). Both round alike: in float32, in
another order of summation.
"""

from __future__ import annotations

import functools
import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LARGE = 2**16  # entries of a weight matrix from which a product outweighs the call


class _Linear(torch.autograd.Function):
    """F.linear(x, weight, bias), with the transforms that predictions and attacks take it through."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x.contiguous().to_mkldnn(), weight.contiguous(), bias).to_dense()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (g,), (x, weight) = gradients, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = g.reshape(-1, g.shape[-1])
        return (
            _Linear.apply(g, weight.mT, None) if of_x else None,
            rows.mT @ x.reshape(-1, x.shape[-1]) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (dx, dweight, dbias), (x, weight) = tangents, ctx.saved_tensors
        parts = [
            None if dx is None else _Linear.apply(dx, weight, None),
            None if dweight is None else _Linear.apply(x, dweight, None),
            dbias,
        ]
        return sum(part for part in parts if part is not None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
        def at(value: Tensor | None, dim: int | None, i: int) -> Tensor | None:
            return value if value is None or dim is None else value.select(dim, i)

        if in_dims[1] is None and in_dims[2] is None:
            return _Linear.apply(x.movedim(in_dims[0], 0), weight, bias), 0
        outs: list[Any] = [
            _Linear.apply(*(at(value, dim, i) for value, dim in zip((x, weight, bias), in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return outs[0][None] if len(outs) == 1 else torch.stack(outs), 0


class _ByOneDNN(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and not kwargs and _suits(*args[:2]):
            return _Linear.apply(*args, *[None] * (3 - len(args)))
        return func(*args, **(kwargs or {}))


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        weight.numel() >= LARGE and x.dim() >= 2 and x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    )


def fast_products() -> AbstractContextManager:
    """The linear layers called inside go through oneDNN where that is the faster library."""
    return _ByOneDNN() if _is_amd() and torch.backends.mkldnn.is_available() else nullcontext()


@functools.cache
def _is_amd() -> bool:
    cpu = Path("/proc/cpuinfo")
    return "AuthenticAMD" in platform.processor() + (cpu.read_text(encoding="utf-8") if cpu.exists() else "")
