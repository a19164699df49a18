"""Networks that give the parameters of scalar transforms: a plain one, and the masked one of autoregressive flows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.flows.inputs import check_widths
from bnnbench.nets import initialise
from bnnbench.registry import nearest

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


class _Layer(nn.Module):
    """h -> h W' + b of rows h [B, inputs], W multiplied by a mask where there is one."""

    mask: Tensor | None

    def __init__(self, inputs: int, outputs: int, mask: Tensor | None, starts_at_zero: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
        self.starts_at_zero = starts_at_zero
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        # W' laid out afresh, for the product that gives its gradient is several times faster so where inputs are few
        weight = self.masked.mT.contiguous()
        return (h * weight if len(weight) == 1 else h @ weight) + self.bias

    @property
    def masked(self) -> Tensor:
        """W as it is multiplied."""
        return self.weight if self.mask is None else self.weight * self.mask


class Conditioner(nn.Module):
    """x [..., inputs] -> P parameters [..., outputs], by a fully connected network of [x, context].

    Its output layer starts at 0, hence a flow at the identity. Each parameter lies contiguous in memory over the
    examples (see `feature_first`).

    Args:
        parameters: P.
        activation: "relu" or "tanh".
        masks: one [outputs, inputs] for each layer, applied to its weight matrix; None for a plain network.

    Raises:
        UserError: there is no such activation, or a hidden layer has no unit.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        parameters: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        activation: str = "relu",
        masks: Sequence[Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if activation not in list(ACTIVATIONS):
            raise UserError(f"There is no activation {activation!r}{nearest(str(activation), ACTIVATIONS)}")
        check_widths(hidden)
        self.outputs, self.parameters_each, self.activation = outputs, parameters, ACTIVATIONS[activation]
        self.context = context
        widths = list(itertools.pairwise([inputs + context, *hidden, outputs * parameters]))
        self.layers = nn.ModuleList(
            _Layer(i, o, None if masks is None else masks[k], k == len(hidden)) for k, (i, o) in enumerate(widths)
        )
        self.load_state_dict(initialise(self, random.key(seed)), strict=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        lead = x.shape[:-1]
        if self.context:
            assert context is not None
            x = torch.cat([x, context.expand(*lead, context.shape[-1])], -1)
        h = x.reshape(-1, x.shape[-1])
        *hidden, last = self.layers
        for k, layer in enumerate(hidden):
            h = layer(self.activation(h) if k else h)
        # the last hidden units are turned before they are bent: a compiler keeps them then once, and no copy of signs
        h = self.activation(h.mT) if hidden else h.mT
        assert isinstance(last, _Layer)
        each = (self.parameters_each, self.outputs)
        # a bias of another shape than the product's is added where theta is used, not by a product onto copies of it
        theta = (last.masked @ h).reshape(*each, *lead) + last.bias.reshape(*each, *[1] * len(lead))
        return tuple(one.movedim(0, -1) for one in theta.unbind(0))


class MADE(Conditioner):
    """The masked network of Germain et al. (2015, arXiv 1502.03509): parameters of x_i depend on those before it alone.

    Args:
        order: the place of each dimension in the order of the autoregression, a permutation of 0 ... dim - 1.
    """

    def __init__(
        self,
        order: Sequence[int],
        parameters: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        seed: int = 0,
    ) -> None:
        check_widths(hidden)
        dim = len(order)
        places = torch.tensor(order) + 1
        degrees = [torch.cat([places, torch.zeros(context, dtype=torch.long)])]  # a context may reach everything
        degrees += [1 + torch.arange(width) * (dim - 1) // width if dim > 1 else torch.zeros(width) for width in hidden]
        masks = [after[:, None] >= before for before, after in itertools.pairwise(degrees)]
        masks.append((places[:, None] > degrees[-1]).repeat(parameters, 1))
        masks = [mask.to(torch.get_default_dtype()) for mask in masks]
        super().__init__(dim, dim, parameters, hidden, context, masks=masks, seed=seed)
