"""Any method of a module with parameters from elsewhere, as `torch.func.functional_call` does for `forward`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class _Named(nn.Module):
    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *arguments: Any) -> Any:
        return getattr(self.module, self.name)(*arguments)


def call_method(module: nn.Module, name: str, params: Mapping[str, Tensor], *arguments: Any) -> Any:
    """`module.name(*arguments)` with these parameters in the place of its own; what they lack, it keeps."""
    named = {f"module.{key}": value for key, value in params.items()}
    return functional_call(_Named(module, name), named, arguments)
