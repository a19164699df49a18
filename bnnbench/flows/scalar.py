"""Monotone maps of single numbers with given parameters: what couplings and autoregressive flows are made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bnnbench.errors import UserError
from bnnbench.flows.inputs import check_positive

LOG_SCALE_BOUND = math.log(1e3)


class Scalar(ABC):
    """A monotone map of numbers [..., D], each with parameters of its own.

    At parameters 0 it is the identity, or nearly so.

    Attributes:
        parameters: P, the number of parameters of one map.
    """

    parameters: int

    @abstractmethod
    def forward(self, x: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """x [..., D] -> (y, log dy/dx) [..., D], given P parameters [..., D]."""

    @abstractmethod
    def inverse(self, y: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """y [..., D] -> (x, log dx/dy) [..., D]."""


@dataclass(frozen=True)
class Shift(Scalar):
    """y = x + t (NICE, Dinh et al. 2014, arXiv 1410.8516)."""

    parameters: ClassVar[int] = 1

    def forward(self, x: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return x + theta[0], torch.zeros_like(x)

    def inverse(self, y: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return y - theta[0], torch.zeros_like(y)


@dataclass(frozen=True)
class Affine(Scalar):
    """y = x exp(s) + t, |s| < bound (RealNVP, Dinh et al. 2017, arXiv 1605.08803).

    s = a / (1 + |a| / bound), for an unbounded scale lets training diverge.

    Raises:
        UserError: the bound is no number above 0, infinity for none.
    """

    bound: float = LOG_SCALE_BOUND
    parameters: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_positive("The bound of a log-scale", self.bound, most=math.inf)

    def forward(self, x: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(theta[1])
        return x * log_scale.exp() + theta[0], log_scale

    def inverse(self, y: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        log_scale = self._log_scale(theta[1])
        return (y - theta[0]) * (-log_scale).exp(), -log_scale

    def _log_scale(self, a: Tensor) -> Tensor:
        return a / (1 + a.abs() / self.bound)


@dataclass(frozen=True)
class Gate(Scalar):
    """y = g x + (1 - g) m, g = sigmoid(a + 2): the masked RealNVP of multiplicative flows (Louizos & Welling 2017,
    arXiv 1703.01961), which never leaves the range of its numbers.
    """

    start: float = 2.0
    parameters: ClassVar[int] = 2

    def forward(self, x: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        log_gate = F.logsigmoid(theta[1] + self.start)
        return theta[0] + (x - theta[0]) * log_gate.exp(), log_gate

    def inverse(self, y: Tensor, theta: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        log_gate = F.logsigmoid(theta[1] + self.start)
        return theta[0] + (y - theta[0]) * (-log_gate).exp(), -log_gate


def checked(scalar: object) -> Scalar:
    """The transform given to a layer, an affine one if none was."""
    if scalar is not None and not isinstance(scalar, Scalar):
        kind = f"the class {scalar.__name__}" if isinstance(scalar, type) else f"a {type(scalar).__name__}"
        raise UserError(f"A flow's layer takes a scalar transform, such as `Affine()`, not {kind}.")
    return scalar or Affine()
