"""Batch normalisation in eval mode, as what it is there: a fixed affine map of every channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

FIXABLE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class FixedNorm(_BatchNorm):
    """x -> (x - m) / sqrt(v + eps) * w + b of its running statistics m and v, in every mode."""

    def forward(self, input: Tensor) -> Tensor:
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def train(self, mode: bool = True) -> FixedNorm:
        del mode
        return super().train(False)


def fix_norms(network: nn.Module) -> None:
    """Make the batch normalisations of a network fixed maps, whose parameters do not train."""
    for layer in network.modules():
        if type(layer) in FIXABLE:
            layer.__class__ = FixedNorm
            layer.requires_grad_(False)
