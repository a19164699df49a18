"""Fully connected network with ReLU activations."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """x -> W_L relu(... relu(W_1 x + b_1) ...) + b_L.

    Args:
        inputs: number of input columns.
        hidden: widths of the hidden layers.
        outputs: number of outputs; what they mean is the likelihood's business.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        widths = [inputs, *hidden, outputs]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        for layer in list(self.layers)[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)
